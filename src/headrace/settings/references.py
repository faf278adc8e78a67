"""References in values: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${file:/run/secrets/x}`.

`$${` is the text `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headrace.core.errors import ConfigError

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)


def holds_reference(text: str) -> bool:
    return "${" in text


def is_one_reference(text: str) -> bool:
    """Whether the text is a reference and nothing else, so that its value may be a number."""
    found = _REFERENCE.fullmatch(text)
    return found is not None and found[1] is not None


def resolve(text: str, environ: Mapping[str, str], base: Path) -> str:
    """The text with its references replaced, once: what they give is not searched again.

    Raises ConfigError, which names the reference and never what it gave.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "${"
        if not found[2]:
            raise ConfigError("a reference '${' is not closed by '}'; write $${ for the text itself")
        return _value(found[1], environ, base)

    return _REFERENCE.sub(value, text)


def _value(reference: str, environ: Mapping[str, str], base: Path) -> str:
    if reference.startswith("file:"):
        return _file(base / reference.removeprefix("file:"))
    found = _VARIABLE.fullmatch(reference)
    if found is None:
        raise ConfigError(
            f"not a reference: ${{{reference}}}, expected ${{VAR}}, ${{VAR:-default}}, ${{VAR:?message}} or "
            "${file:PATH}; write $${ for the text itself"
        )
    name, operator, rest = found.groups()
    given = environ.get(name)
    if operator == ":-":
        return given or rest
    if operator == ":?" and not given:
        raise ConfigError(f"environment variable {name} is not set: {rest or 'it is required'}")
    if given is None:
        raise ConfigError(f"environment variable {name} is not set; set it or write ${{{name}:-default}}")
    return given


def _file(path: Path) -> str:
    """What the file holds, without the line end that editors put at its end."""
    try:
        return path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text") from None
