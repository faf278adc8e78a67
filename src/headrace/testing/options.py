"""Whether a kind refuses options that it does not have."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.units import decode


def refused(kind: Any) -> bool:
    """Whether an unknown option beside each of the kind's examples is refused; True where it has no names."""
    for example in kind.examples:
        if not (isinstance(kind.Settings, type) and issubclass(kind.Settings, msgspec.Struct)):
            continue
        msgspec.convert(example, kind.Settings, dec_hook=decode)
        try:
            msgspec.convert({**example, "no_such_option": 1}, kind.Settings, dec_hook=decode)
        except msgspec.ValidationError as error:
            if "no_such_option" not in str(error):
                raise
        else:
            return False
    return True
