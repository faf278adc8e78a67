"""The buckets of a date histogram: where the one begins that an instant is in, and where the next one does.

Days and longer begin at the first instant of their local day; hours and shorter keep to the offset of the
time, so that the hour that a clock shows twice is two buckets. Everything is in microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from headrace.core.errors import RequestError
from headrace.index.query.dates import plus, wall_floor
from headrace.index.query.zones import (
    EPOCH,
    MICROSECOND,
    first_instant,
    instants,
    is_fixed,
    local,
    offset_at,
    transition,
)

CALENDAR: Final = {
    "second": "s", "1s": "s", "minute": "m", "1m": "m", "hour": "h", "1h": "h", "day": "d", "1d": "d",
    "week": "w", "1w": "w", "month": "M", "1M": "M", "quarter": "q", "1q": "q", "year": "y", "1y": "y",
}  # fmt: skip
SHORT: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
DAY: Final = 86_400_000_000
FIXED: Final = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY, "micros": 1}
_LONGEST: Final = {"d": 26, "w": 8 * 24, "M": 32 * 24, "q": 93 * 24, "y": 367 * 24}
_LONGEST_OFFSET: Final = 3660 * DAY
_MONDAY: Final = 4 * DAY
"""The epoch was a Thursday, and weeks begin on Monday."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """One of a calendar unit or a fixed interval, in a zone, shifted by an offset."""

    unit: str | None
    interval: int = 0
    zone: tzinfo = UTC
    offset: int = 0

    def floor(self, micros: int) -> int:
        """Where the bucket of this instant begins."""
        return self._floor(micros - self.offset) + self.offset

    def following(self, start: int) -> int:
        """Where the bucket after the one that begins at `start` does."""
        step = self._longest()
        found = self.floor(start + step)
        while found <= start:
            step += self._longest()
            found = self.floor(start + step)
        while (earlier := self.floor(found - 1)) > start:
            found = earlier
        return found

    def fixed(self) -> tuple[int, int] | None:
        """Interval and shift from the epoch, where all buckets are equally long for all time."""
        if not is_fixed(self.zone) or self.unit in ("M", "q", "y"):
            return None
        length = self.interval or SHORT.get(str(self.unit), DAY)
        shift = self.offset - offset_at(self.zone, 0)
        if self.unit == "w":
            length, shift = 7 * DAY, shift + _MONDAY
        return length, shift % length

    def _longest(self) -> int:
        if self.unit is None:
            return self.interval
        return SHORT.get(self.unit) or _LONGEST[self.unit] * 3_600_000_000

    def _floor(self, micros: int) -> int:
        if self.unit is None:
            return self._interval_floor(micros)
        if self.unit in SHORT:
            return self._short_floor(micros)
        wall = wall_floor(local(self.zone, micros), self.unit)
        start = first_instant(self.zone, wall)
        # Where clocks go back over midnight, a day that has begun does not end again.
        later = plus(start, 3 if self.unit == "q" else 1, "M" if self.unit == "q" else self.unit, self.zone)
        begun = first_instant(self.zone, wall_floor(local(self.zone, later), self.unit))
        return begun if start < begun <= micros else start

    def _short_floor(self, micros: int) -> int:
        """Seconds, minutes and hours: rounded on the clock of that offset, never across its change."""
        length = SHORT[str(self.unit)]
        while True:
            shift = offset_at(self.zone, micros)
            start = micros - (micros + shift) % length
            if offset_at(self.zone, start) == shift:
                return start
            micros = transition(self.zone, start, micros) - 1

    def _interval_floor(self, micros: int) -> int:
        shift = offset_at(self.zone, micros)
        start = micros - (micros + shift) % self.interval
        if is_fixed(self.zone) or offset_at(self.zone, start) == shift:
            return start
        wall = EPOCH.replace(tzinfo=None) + (start + shift) * MICROSECOND
        found = instants(self.zone, wall)
        if not found:
            return first_instant(self.zone, wall)
        return max((moment for moment in found if moment <= micros), default=found[0])


def interval(given: object, what: str) -> int:
    """Microseconds of `90s`, `1.5h`. Raises RequestError."""
    match = re.fullmatch(r"([+-]?)(\d+)(ms|s|m|h|d|micros)", str(given), re.ASCII)
    if match is None:
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"[{what}] is a number with a unit (ms, s, m, h, d), found [{given}]",
        )
    length = int(match[2]) * FIXED[match[3]]
    return -length if match[1] == "-" else length


def rounding(calendar: object, fixed: object, zone: tzinfo, offset: object, *, name: str) -> Rounding:
    """The buckets of one of `calendar_interval` and `fixed_interval`. Raises RequestError."""
    shift = interval(offset, "offset") if offset not in (None, 0) else 0
    if abs(shift) > _LONGEST_OFFSET:
        raise RequestError(
            400, "illegal_argument_exception", f"[offset] of [{name}] is longer than 3660 days"
        )
    if calendar is not None:
        if not isinstance(calendar, str) or calendar not in CALENDAR:
            units = "minute, hour, day, week, month, quarter, year, or 1m, 1h, 1d, 1w, 1M, 1q, 1y"
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"[{name}]: the supplied interval [{calendar}] could not be parsed as a calendar interval;"
                f" have: {units}; for others use [fixed_interval]",
            )
        return Rounding(CALENDAR[calendar], 0, zone, shift)
    length = interval(fixed, "fixed_interval")
    if length <= 0:
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"[{name}]: [fixed_interval] must be more than 0, found [{fixed}]",
        )
    return Rounding(None, length, zone, shift)
