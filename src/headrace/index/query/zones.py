"""Time zones by name or offset, and the instants of a wall clock: none in a gap, two in an overlap.

All instants are whole microseconds since 1970, in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.core.errors import RequestError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?", re.ASCII)


def time_zone(given: object) -> tzinfo:
    """`UTC`, `+02:00`, `Europe/Berlin`. Raises RequestError for a zone there is not."""
    if given is None or given in ("UTC", "Z", "z", "GMT", "utc"):
        return UTC
    text = str(given)
    if match := _OFFSET.fullmatch(text):
        shift = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if shift <= timedelta(hours=18):
            return timezone(-shift if match[1] == "-" else shift) if shift else UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"unknown time zone [{text}]; use an IANA name that this system's time zone data has"
            " (Europe/Berlin), or an offset (+02:00)",
        ) from None


def is_fixed(zone: tzinfo) -> bool:
    """Whether the zone has one offset for all time."""
    return isinstance(zone, timezone)


def to_micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def to_datetime(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def offset_at(zone: tzinfo, micros: int) -> int:
    """Microseconds that the wall clock is ahead of UTC."""
    return (to_datetime(micros).astimezone(zone).utcoffset() or timedelta()) // MICROSECOND


def local(zone: tzinfo, micros: int) -> datetime:
    """The wall clock, without its zone."""
    return to_datetime(micros).astimezone(zone).replace(tzinfo=None)


def instants(zone: tzinfo, wall: datetime) -> list[int]:
    """When the wall clock showed this: once, twice (earlier first), or never."""
    found = {to_micros(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)}
    return sorted(moment for moment in found if local(zone, moment) == wall.replace(fold=0))


def first_instant(zone: tzinfo, wall: datetime) -> int:
    """The first instant at which the wall clock showed this, or had skipped it."""
    if found := instants(zone, wall):
        return found[0]
    early, late = sorted(to_micros(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    return transition(zone, early, late)


def shifted_instant(zone: tzinfo, wall: datetime) -> int:
    """As date arithmetic has it: the earlier of two; in a gap, later by the gap's length."""
    return to_micros(wall.replace(tzinfo=zone, fold=0))


def transition(zone: tzinfo, early: int, late: int) -> int:
    """The first instant after `early` with the offset that holds at `late`."""
    after = offset_at(zone, late)
    while late - early > 1:
        middle = (early + late) // 2
        if offset_at(zone, middle) == after:
            late = middle
        else:
            early = middle
    return late
