"""Dates of a request as spans of microseconds: coarse dates (`2024-05`), date math (`now-1d/d`), epochs.

A date given coarsely, or rounded (`/M`), is the span of all its microseconds, so that `lte: 2024-05` includes
May, `lt: 2024-05` excludes it, and `gt: 2024-05` begins in June: Elasticsearch's rounding up and down.
"""

from __future__ import annotations

import math
import re
import time
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from headrace.fields import FieldType
from headrace.index.query.formats import Parts, formats, shown, zone_shift
from headrace.index.query.scalars import is_number, number, refuse
from headrace.index.query.tree import Scalar
from headrace.index.query.zones import local, shifted_instant, to_micros

DATES: Final = (-9_223_372_036_854_775, 9_223_372_036_854_775)
"""Microseconds the engine's nanoseconds can hold: 1677 to 2262."""

UNITS: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "H": 3_600_000_000}
_STEP: Final = re.compile(
    r"(?:/(?P<round>[yMwdhHms])|(?P<sign>[+-])(?P<count>\d*)(?P<unit>[yMwdhHms]))", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a request writes its dates: in which formats, in which zone, and when `now` is (microseconds)."""

    format: str | None = None
    zone: tzinfo = UTC
    now: int | None = None

    def moment(self) -> int:
        return time.time_ns() // 1000 if self.now is None else self.now


def as_date_span(
    field: str,
    value: Scalar,
    format: str | None = None,  # noqa: A002 (Elasticsearch's name)
    zone: tzinfo = UTC,
    now: int | None = None,
) -> tuple[int, int]:
    """First and last microsecond of a date as given. Raises RequestError where it is none."""
    return span(field, value, Reading(format, zone, now))


def as_date(
    field: str,
    value: Scalar,
    format: str | None = None,  # noqa: A002 (Elasticsearch's name)
    zone: tzinfo = UTC,
    now: int | None = None,
) -> int:
    """The microsecond a date begins at. Raises RequestError where it is none, or beyond what can be held."""
    first = as_date_span(field, value, format, zone, now)[0]
    if not DATES[0] <= first <= DATES[1]:
        refuse(field, FieldType.DATE, value, "dates are from 1677 to 2262")
    return first


def span(field: str, value: Scalar, reading: Reading) -> tuple[int, int]:
    """First and last microsecond of a date as given. Raises RequestError where it is none."""
    known = formats(reading.format)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        refuse(field, FieldType.DATE, value)
    try:
        if isinstance(value, str):
            return _text(field, value.strip(), reading)
        if reading.format is None or any(form.epoch for form in known):
            return _epoch(field, value, reading)
        return _plain(field, str(value), reading)
    except (OverflowError, ValueError) as error:
        refuse(field, FieldType.DATE, value, str(error))


def _text(field: str, text: str, reading: Reading) -> tuple[int, int]:
    if text.startswith("now"):
        return _math(field, text, reading.moment(), text[3:], reading.zone)
    date, separator, steps = text.partition("||")
    if not separator:
        return _plain(field, text, reading)
    return _math(field, text, _plain(field, date, reading)[0], steps, reading.zone)


def _plain(field: str, text: str, reading: Reading) -> tuple[int, int]:
    for form in formats(reading.format):
        if parts := form.read(text):
            return _span_of(parts, reading.zone)
    if is_number(text) and (reading.format is None or any(form.epoch for form in formats(reading.format))):
        return _epoch(field, number(text), reading)
    wanted = f"the format [{reading.format}]" if reading.format else "ISO 8601 or milliseconds since 1970"
    return refuse(field, FieldType.DATE, text, f"not a date; use {wanted}, or date math like now-1d/d")


def _epoch(field: str, value: float, reading: Reading) -> tuple[int, int]:
    scale = next((form.epoch for form in formats(reading.format) if form.epoch), 1_000)
    if not math.isfinite(value):
        refuse(field, FieldType.DATE, value)
    micros = value * scale if isinstance(value, int) else round(value * scale)
    return micros, micros


def _span_of(parts: Parts, zone: tzinfo) -> tuple[int, int]:
    shift = zone_shift(parts.get("zone"))
    if shift is not None:
        zone = timezone(shift)
    wall = datetime(  # noqa: DTZ001 (the wall clock of `zone`)
        int(parts["year"]),
        int(parts.get("month", 1)),
        int(parts.get("day", 1)),
        int(parts.get("hour", 0)),
        int(parts.get("minute", 0)),
        int(parts.get("second", 0)),
        int(parts.get("fraction", "0").ljust(6, "0")[:6]),
    )
    first = shifted_instant(zone, wall)
    if "second" in parts:
        return first, first  # a full second is one instant
    return first, shifted_instant(zone, wall + _width(wall, parts)) - 1


def _width(wall: datetime, parts: Parts) -> timedelta:
    """How long a date given this coarsely lasts on the wall clock."""
    if "minute" in parts:
        return timedelta(minutes=1)
    if "hour" in parts:
        return timedelta(hours=1)
    days = 1 if "day" in parts else monthrange(wall.year, wall.month)[1]
    if "month" not in parts:
        days = 366 if monthrange(wall.year, 2)[1] == 29 else 365
    return timedelta(days=days)


def _math(field: str, text: str, start: int, steps: str, zone: tzinfo) -> tuple[int, int]:
    """Date math, once rounding down and once rounding up."""
    down = up = start
    place = 0
    while place < len(steps):
        match = _STEP.match(steps, place)
        if match is None:
            why = f"date math has steps like +1M, -2d and /d; found [{steps[place:]}]"
            refuse(field, FieldType.DATE, text, why)
        if unit := match["round"]:
            down, up = floor(down, unit, zone), plus(floor(up, unit, zone), 1, unit, zone) - 1
        else:
            count = int(match["count"] or 1) * (-1 if match["sign"] == "-" else 1)
            down, up = plus(down, count, match["unit"], zone), plus(up, count, match["unit"], zone)
        place = match.end()
    return down, up


def plus(micros: int, count: int, unit: str, zone: tzinfo) -> int:
    """So many units later: days, weeks, months and years by the wall clock."""
    if unit in UNITS:
        return micros + count * UNITS[unit]
    wall = local(zone, micros)
    if unit in "dw":
        return shifted_instant(zone, wall + timedelta(days=count * (7 if unit == "w" else 1)))
    months = wall.year * 12 + wall.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    day = min(wall.day, monthrange(year, month + 1)[1])
    return shifted_instant(zone, wall.replace(year=year, month=month + 1, day=day))


def floor(micros: int, unit: str, zone: tzinfo) -> int:
    """The beginning of the unit on the wall clock."""
    return shifted_instant(zone, wall_floor(local(zone, micros), unit))


def wall_floor(wall: datetime, unit: str) -> datetime:
    """The beginning of a second, minute, hour, day, week, month, quarter (`q`) or year."""
    if unit in UNITS:
        fine = {"microsecond": 0, "second": wall.second, "minute": wall.minute}
        if unit != "s":
            fine["second"] = 0
        if unit in "hH":
            fine["minute"] = 0
        return wall.replace(second=fine["second"], minute=fine["minute"], microsecond=0)
    day = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case "d":
            return day
        case "w":
            return day - timedelta(days=day.weekday())
        case "M":
            return day.replace(day=1)
        case "q":
            return day.replace(day=1, month=day.month - (day.month - 1) % 3)
        case _:
            return day.replace(day=1, month=1)


def iso(micros: int) -> str:
    """A date in ISO 8601 and UTC: milliseconds, or microseconds where there are any."""
    return shown(micros, "strict_date_optional_time")


__all__ = [
    "DATES",
    "Reading",
    "as_date",
    "as_date_span",
    "floor",
    "iso",
    "plus",
    "span",
    "to_micros",
    "wall_floor",
]
