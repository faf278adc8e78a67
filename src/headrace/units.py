"""How settings spell durations, sizes and secrets: `30s`, `64MB`, `***`.

Each is a small type that any component's options may use; `headrace.units.decode` makes them from what a
configuration file holds, and `describe` says to an editor what may be written.
"""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any, Final, Self

DURATION_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

SIZE_UNITS: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(us|ms|s|m|h|d)")
_DURATIONS: Final = re.compile(rf"{_DURATION.pattern}(?: ?{_DURATION.pattern})*")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?i?b)", re.IGNORECASE)


class Duration(float):
    """Seconds, written with their unit: `500ms`, `30s`, `5m`, `1h30m`; a bare number is refused."""

    __slots__ = ()

    def __new__(cls, value: str | float) -> Self:
        return super().__new__(cls, _seconds(value) if isinstance(value, str) else value)

    def __str__(self) -> str:
        """In the largest unit that gives a whole number; to the microsecond."""
        micros = round(self * 1_000_000)
        for unit in ("d", "h", "m", "s", "ms", "us"):
            factor = round(DURATION_UNITS[unit] * 1_000_000)
            if micros >= factor and micros % factor == 0:
                return f"{micros // factor}{unit}"
        return "0s"

    __repr__ = __str__


class Size(int):
    """Bytes: `64MB` (millions), `1GiB` (powers of 1024), or a bare number."""

    __slots__ = ()

    def __new__(cls, value: str | float) -> Self:
        return super().__new__(cls, _bytes(value) if isinstance(value, str) else value)

    def __str__(self) -> str:
        for unit, name in ((1 << 30, "GiB"), (10**9, "GB"), (1 << 20, "MiB"), (10**6, "MB"), (10**3, "kB")):
            if self >= unit and int(self) % unit == 0:
                return f"{int(self) // unit}{name}"
        return f"{int(self)}B"

    __repr__ = __str__


class Secret:
    """A value that is never printed, logged or written: only `reveal()` gives it.

    Empty is an error, not an open door.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value.strip():
            raise ValueError("a secret must not be empty")
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        """In constant time: secrets are compared with what a stranger sent."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret cannot be pickled or copied into a file")


def human(size: float) -> str:
    """A number of bytes for people: `1.5 GB`."""
    for name in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or name == "TB":
            return f"{size:.0f} {name}" if name == "B" else f"{size:.3g} {name}"
        size /= 1000
    raise AssertionError("unreachable")


def decode(kind: type, value: Any) -> Any:
    """Msgspec's `dec_hook`: what a file holds → Duration, Size, Secret or Path. Raises ValueError.

    The message never holds the value of a secret.
    """
    if kind is Duration:
        return _duration(value)
    if kind is Size:
        return _size(value)
    if issubclass(kind, Secret):
        return kind(_text(value, "a secret"))
    if issubclass(kind, Path):
        return kind(_text(value, "a path"))
    if isinstance(value, kind):
        return value
    raise NotImplementedError(f"no way to make a {kind.__name__} from a configuration")


def encode(value: Any) -> Any:
    """Msgspec's `enc_hook`: the other way; a secret stays `***`."""
    if isinstance(value, Duration | Size | Secret | Path):
        return str(value)
    raise NotImplementedError(f"no way to write a {type(value).__name__}")


def describe(kind: type) -> dict[str, Any]:
    """Msgspec's `schema_hook`: the JSON Schema of what may be written for a type."""
    if kind is Duration:
        return {"type": "string", "pattern": f"^({_DURATIONS.pattern}|0|\\$\\{{.*\\}})$", "examples": ["30s"]}
    if kind is Size:
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "examples": ["64MB"]}]}
    if issubclass(kind, Secret | Path):
        return {"type": "string", "minLength": 1}
    raise NotImplementedError(kind.__name__)


def _duration(value: Any) -> Duration:
    if isinstance(value, str) or (isinstance(value, int | float) and value == 0 and value is not False):
        return Duration(value)
    raise ValueError(f"expected a duration with its unit, such as 500ms, 30s or 5m, not {value!r}")


def _size(value: Any) -> Size:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"expected a size such as 64MB or 1GiB, not {value!r}")  # noqa: TRY004  msgspec reports ValueError
    if isinstance(value, int) and value < 0:
        raise ValueError(f"a size cannot be negative: {value}")
    return Size(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected {what} as text, got {type(value).__name__}: put it in quotes")  # noqa: TRY004  msgspec reports ValueError
    if not value:
        raise ValueError(f"{what} must not be empty")
    return value


def _seconds(text: str) -> float:
    if text.strip() == "0":
        return 0.0
    if not _DURATIONS.fullmatch(text.strip()):
        raise ValueError(f"not a duration: {text!r}, write a number and its unit, such as 500ms, 30s or 5m")
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in _DURATION.findall(text))


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found:
        return int(float(found[1]) * SIZE_UNITS[found[2].lower()])
    if text.strip().isdecimal():
        return int(text)
    raise ValueError(f"not a size: {text!r}, write a number and its unit, such as 64MB or 1GiB")
