"""Date formats by Elasticsearch's names and Java's patterns, for reading and for printing.

A format reads the parts that a text names; what it leaves out (`2024-05`) decides how long a time it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from headrace.core.errors import RequestError
from headrace.index.query.zones import local, offset_at

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

OPTIONAL_TIME: Final = (
    "strict_date_optional_time",
    "date_optional_time",
    "strict_date_optional_time_nanos",
    "iso8601",
)
EPOCHS: Final = {"epoch_millis": 1_000, "epoch_second": 1_000_000}
_COLON: Final = "X" * 3
"""The offset with a colon, or Z."""

NAMED: Final = {
    "date_time": f"yyyy-MM-dd'T'HH:mm:ss.SSS{_COLON}",
    "date_time_no_millis": f"yyyy-MM-dd'T'HH:mm:ss{_COLON}",
    "date_hour_minute_second": "yyyy-MM-dd'T'HH:mm:ss",
    "date_hour_minute_second_millis": "yyyy-MM-dd'T'HH:mm:ss.SSS",
    "date_hour_minute_second_fraction": "yyyy-MM-dd'T'HH:mm:ss.SSS",
    "date_hour_minute": "yyyy-MM-dd'T'HH:mm",
    "date_hour": "yyyy-MM-dd'T'HH",
    "date": "yyyy-MM-dd",
    "year_month_day": "yyyy-MM-dd",
    "year_month": "yyyy-MM",
    "year": "yyyy",
    "basic_date": "yyyyMMdd",
    "basic_date_time": "yyyyMMdd'T'HHmmss.SSSXX",
    "basic_date_time_no_millis": "yyyyMMdd'T'HHmmssXX",
}
_ISO: Final = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d?)(-(?P<day>\d\d?)([Tt ]((?P<hour>\d\d)(:(?P<minute>\d\d)"
    r"(:(?P<second>\d\d)([.,](?P<fraction>\d{1,9}))?)?)?(?P<zone>[Zz]|[+-]\d\d:?(\d\d)?)?)?)?)?)?",
    re.ASCII,
)

Parts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: `read` gives a text's parts, or None where it is not of this format."""

    name: str
    read: Callable[[str], Parts | None]
    show: Callable[[int, tzinfo], str]
    epoch: int = 0


def formats(given: object) -> tuple[Format, ...]:
    """All formats of a `||`-joined list. Raises RequestError for one that is not known."""
    if given is not None and not isinstance(given, str):
        _unknown(str(given))
    return tuple(
        _format(name.strip()) for name in str(given or "strict_date_optional_time||epoch_millis").split("||")
    )


def shown(micros: int, given: object, zone: tzinfo = UTC) -> str:
    """A date as the first of the formats prints it."""
    return formats(given)[0].show(micros, zone)


@lru_cache(maxsize=256)
def _format(name: str) -> Format:
    if name in OPTIONAL_TIME:
        return Format(name, _read_iso, _show_iso)
    if name in EPOCHS:
        scale = EPOCHS[name]
        return Format(name, lambda _text: None, lambda micros, _zone: _show_epoch(micros, scale), scale)
    pattern = NAMED.get(name.removeprefix("strict_"), name)
    if pattern == name and re.fullmatch(r"[a-z]+(_[a-z]+)+|[a-z]{5,}", name):
        _unknown(name)
    return _of_pattern(name, pattern)


def _unknown(name: str) -> None:
    known = ", ".join([*OPTIONAL_TIME, *EPOCHS, *NAMED])
    raise RequestError(
        400,
        "illegal_argument_exception",
        f"unknown date format [{name}]; have: {known} (each date name with strict_ before it too),"
        " and patterns like yyyy-MM-dd HH:mm:ss",
    )


def _read_iso(text: str) -> Parts | None:
    match = _ISO.fullmatch(text)
    return None if match is None else {name: part for name, part in match.groupdict().items() if part}


def _show_iso(micros: int, zone: tzinfo) -> str:
    spec = "microseconds" if micros % 1000 else "milliseconds"
    return local(zone, micros).isoformat(timespec=spec) + _offset(zone, micros, _COLON)


def _show_epoch(micros: int, scale: int) -> str:
    return str(micros // scale) if micros % scale == 0 else repr(micros / scale)


def _offset(zone: tzinfo, micros: int, letters: str) -> str:
    seconds = offset_at(zone, micros) // 1_000_000
    if not seconds and letters[0] == "X":
        return "Z"
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
    if len(letters) == 1 and letters != "Z" and not minutes % 60:
        return f"{sign}{minutes // 60:02}"
    colon = ":" if letters in (_COLON, "xxx") else ""
    return f"{sign}{minutes // 60:02}{colon}{minutes % 60:02}"


_NAMES: Final = {"MMM": [name[:3] for name in MONTHS], "MMMM": list(MONTHS)}
_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "y": ("year", "%Y"), "u": ("year", "%Y"), "M": ("month", "%m"), "d": ("day", "%d"), "H": ("hour", "%H"),
    "h": ("hour12", "%I"), "m": ("minute", "%M"), "s": ("second", "%S"),
}  # fmt: skip


LONGEST: Final = 200
MOST_OPTIONAL: Final = 8
"""Parts in `[…]`: a text that fits none is tried with and without each, twice as long for every one more."""


def _of_pattern(name: str, pattern: str) -> Format:
    """A Java pattern: letters are parts, `'…'` is literal, `[…]` may be absent."""
    regex, shows = "", []
    if len(pattern) > LONGEST or pattern.count("[") > MOST_OPTIONAL:
        reason = (
            f"date format [{name[:LONGEST]}] has {len(pattern)} characters and {pattern.count('[')} optional "
            f"parts, at most {LONGEST} and {MOST_OPTIONAL}; name several formats with || between them"
        )
        raise RequestError(400, "illegal_argument_exception", reason)
    for letters in _tokens(pattern):
        part, show = _piece(name, letters)
        regex += part
        shows.append(show)
    if "(?P<year>" not in regex and "(?P<year2>" not in regex:
        _unknown(name)
    try:
        compiled = re.compile(regex, re.ASCII)
    except re.error:
        _unknown(name)

    def read(text: str) -> Parts | None:
        match = compiled.fullmatch(text)
        if match is None:
            return None
        return _plain({part: found for part, found in match.groupdict().items() if found})

    return Format(name, read, lambda micros, zone: "".join(show(micros, zone) for show in shows))


def _tokens(pattern: str) -> list[str]:
    return [match[0] for match in re.finditer(r"'(?:[^']|'')*'|([A-Za-z])\1*|.", pattern)]


Show = Callable[[int, tzinfo], str]


def _piece(name: str, text: str) -> tuple[str, Show]:
    if text in "[]":
        return ("(?:" if text == "[" else ")?"), lambda _micros, _zone: ""
    if not text[0].isalpha():
        literal = text[1:-1].replace("''", "'") or "'" if text[0] == "'" else text
        return re.escape(literal), lambda _micros, _zone: literal
    return _letters(name, text)


def _letters(name: str, token: str) -> tuple[str, Show]:
    letter, size = token[0], len(token)
    if token in _NAMES:
        choices = "|".join(_NAMES[token])
        return f"(?P<named>{choices})", lambda micros, zone: _NAMES[token][local(zone, micros).month - 1]
    if letter == "E":
        days = [day if size == 4 else day[:3] for day in DAYS]
        return f"(?:{'|'.join(days)})", lambda micros, zone: days[local(zone, micros).weekday()]
    if letter == "a":
        return "(?P<half>[AaPp][Mm])", lambda micros, zone: local(zone, micros).strftime("%p")
    if letter == "S":
        return rf"(?P<fraction>\d{{{size}}})", lambda micros, zone: _fraction(micros, zone, size)
    if letter in "XxZ":
        return r"(?P<zone>[Zz]|[+-]\d\d:?(?:\d\d)?)", lambda micros, zone: _offset(zone, micros, token)
    if token in ("yy", "uu"):
        return r"(?P<year2>\d\d)", lambda micros, zone: f"{local(zone, micros).year % 100:02}"
    if letter not in _FIELDS or (size > 2 and letter not in "yu"):
        _unknown(name)
    part, code = _FIELDS[letter]
    digits = r"\d{4}" if letter in "yu" else r"\d\d" if size == 2 else r"\d\d?"
    return f"(?P<{part}>{digits})", lambda micros, zone: _digits(micros, zone, code, size)


def _digits(micros: int, zone: tzinfo, code: str, size: int) -> str:
    wall = local(zone, micros)
    text = f"{wall.year:04}" if code == "%Y" else wall.strftime(code)
    return text.lstrip("0") or "0" if size == 1 and code != "%Y" else text


def _fraction(micros: int, zone: tzinfo, size: int) -> str:
    return f"{local(zone, micros).microsecond:06}".ljust(size, "0")[:size]


def _plain(found: dict[str, str]) -> Parts:
    """Month names, halves of a day and short years as the parts they mean."""
    if "named" in found:
        short = [month[:3] for month in MONTHS]
        found["month"] = str(short.index(found.pop("named")[:3]) + 1)
    if "year2" in found:
        found["year"] = f"20{found.pop('year2')}"
    if "hour12" in found:
        afternoon = found.pop("half", "am").lower() == "pm"
        found["hour"] = str(int(found.pop("hour12")) % 12 + (12 if afternoon else 0))
    return found


def zone_shift(text: str | None) -> timedelta | None:
    """The offset a text ends with; None without one."""
    if text is None:
        return None
    if text in "Zz":
        return timedelta()
    shift = timedelta(hours=int(text[1:3]), minutes=int(text[3:].removeprefix(":") or 0))
    return -shift if text[0] == "-" else shift
