"""Names with a date in them: `<logs-{now/d}>` is `logs-2026.11.24`, in UTC unless a zone is given.

The language is Elasticsearch's "date math in index names": `{expression{format|zone}}`, the expression
`now` with `+1d`, `-2h` and `/d` behind it, the format of Java's letters (`yyyy.MM.dd` if not given).
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NoReturn

from headrace.core.errors import RequestError

DEFAULT_FORMAT: Final = "yyyy.MM.dd"

_PART: Final = re.compile(r"\{([^{}|]+)(?:\{([^{}|]*)(?:\|([^{}|]*))?\})?\}")
_STEP: Final = re.compile(r"([+-])(\d{0,6})([yMwdhHms])|/([yMwdhHms])")
_ZONE: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")
_LETTERS: Final = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "uu": "%y", "MM": "%m", "dd": "%d", "HH": "%H",
    "mm": "%M", "ss": "%S", "DDD": "%j", "xxxx": "%G", "YYYY": "%G", "ww": "%V",
}  # fmt: skip
_STEPS: Final = {"w": "weeks", "d": "days", "h": "hours", "H": "hours", "m": "minutes", "s": "seconds"}
_CUTS: Final[dict[str, dict[str, Any]]] = {
    "y": {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0},
    "M": {"day": 1, "hour": 0, "minute": 0, "second": 0},
    "d": {"hour": 0, "minute": 0, "second": 0},
    "h": {"minute": 0, "second": 0},
    "m": {"second": 0},
    "s": {},
}


def dated(name: str, now: float) -> str:
    """The name with its dates filled in; one that is not in `<…>` as it is. Raises RequestError 400."""
    if not (name.startswith("<") and name.endswith(">")):
        return name
    inner = name[1:-1]
    filled = _PART.sub(lambda found: _filled(name, found, now), inner)
    if "{" in filled or "}" in filled or filled == inner:
        _fail(name, "expected <name-{now/d}> or <name-{now/d{yyyy.MM.dd|+01:00}}>")
    return filled


def _filled(name: str, found: re.Match[str], now: float) -> str:
    expression, pattern, zone = found.groups()
    moment = datetime.fromtimestamp(now, UTC).astimezone(_zone(name, zone))
    if not expression.startswith("now"):
        _fail(name, f"[{expression}] does not begin with [now]")
    try:
        return _moved(name, moment, expression[3:]).strftime(_pattern(name, pattern or DEFAULT_FORMAT))
    except (OverflowError, ValueError):
        _fail(name, f"[{expression}] is no date that there is")


def _moved(name: str, moment: datetime, steps: str) -> datetime:
    place = 0
    while place < len(steps):
        step = _STEP.match(steps, place)
        if step is None:
            _fail(name, f"[{steps[place:]}] is neither +1d, -1d nor /d (units: y M w d h m s)")
        sign, count, unit, cut = step.groups()
        place = step.end()
        moment = _cut(moment, cut) if cut else _plus(moment, int(f"{sign}{count or 1}"), unit)
    return moment


def _plus(moment: datetime, count: int, unit: str) -> datetime:
    if unit not in "yM":
        return moment + timedelta(**{_STEPS[unit]: count})
    months = moment.year * 12 + moment.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


def _cut(moment: datetime, unit: str) -> datetime:
    if unit == "w":
        return _cut(moment - timedelta(days=moment.weekday()), "d")
    return moment.replace(microsecond=0, **_CUTS[unit.replace("H", "h")])


def _pattern(name: str, given: str) -> str:
    written = ""
    for run in re.findall(r"([A-Za-z])(\1*)|([^A-Za-z])", given):
        letters, other = run[0] + run[1], run[2]
        if letters and letters not in _LETTERS:
            _fail(name, f"the format letters [{letters}] are not known (have: {' '.join(_LETTERS)})")
        written += _LETTERS[letters] if letters else other.replace("%", "%%")
    return written


def _zone(name: str, given: str | None) -> timezone:
    if given in (None, "", "Z", "UTC"):
        return UTC
    found = _ZONE.fullmatch(given or "")
    if found is None:
        _fail(name, f"the zone [{given}] is not understood; write an offset such as +01:00")
    sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)


def _fail(name: str, why: str) -> NoReturn:
    raise RequestError(400, "illegal_argument_exception", f"invalid dynamic name expression [{name}]: {why}")
