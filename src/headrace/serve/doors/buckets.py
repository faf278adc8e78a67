"""A token bucket for each client: so many requests a second, and as many at once after a pause."""

from __future__ import annotations

from typing import Final

from headrace.core.clock import Clock

MOST_CLIENTS: Final = 10_000
"""Clients remembered; one that is forgotten begins with a full bucket, as one that paused does."""


class Buckets:
    """`rate` tokens a second for each name, up to one second's worth and at least one."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._size = max(1.0, rate)
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> float:
        """Take one token: 0, or the seconds until there is one."""
        now = self._clock.monotonic()
        level, then = self._levels.pop(name, (self._size, now))
        level = min(self._size, level + (now - then) * self._rate)
        taken = level >= 1.0
        # Put back at the end: the first of the dict is who has been away longest.
        self._levels[name] = (level - 1.0 if taken else level), now
        if len(self._levels) > MOST_CLIENTS:
            del self._levels[next(iter(self._levels))]
        return 0.0 if taken else (1.0 - level) / self._rate
