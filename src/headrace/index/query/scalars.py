"""Numbers written as text, and the refusal of a value that its field cannot hold."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from headrace.core.errors import RequestError

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

LONGEST: Final = 400
"""Characters of a number that fits a float; beyond some thousand Python refuses to read an integer."""


class Unfit(RequestError):
    """A request for what no value of the field's type can be; values that did not fit the type may be it."""


def refuse(field: str, kind: str, value: object, why: str = "") -> NoReturn:
    """Raise what Elasticsearch answers to a value its field cannot hold."""
    reason = f"failed to create query: field [{field}] of type [{kind}] cannot take the value [{value}]"
    raise Unfit(400, "query_shard_exception", f"{reason}: {why}" if why else reason)


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def number(text: str) -> int | float:
    """A number as written: an integer where it is one, infinite where no field could hold so many digits."""
    return int(text) if len(text) < LONGEST and re.fullmatch(r"[+-]?\d+", text) else float(text)
