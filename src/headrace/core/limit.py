"""How many calls a peer gets at once: one more after a good window, half as many after a time-out.

The rule by which TCP shares a line (additive increase, multiplicative decrease), so that a peer that
gets slow is relieved within a few calls and trusted again step by step. Threads only: a call takes a
slot, and waits for one no longer than its deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from headrace.core.clock import Clock
from headrace.core.errors import BreakerOpen, Retryable, TimedOut

SLOW_FACTOR: Final = 4.0
"""A window whose mean time is this many times the usual one is slow: the peer is queueing."""

SLOW_SECONDS: Final = 0.05
"""Below this no answer is slow, whatever is usual: on a fast network noise alone is a factor of four."""

FORGET: Final = 1.1
"""The usual time grows at most so much per window: a peer that stays slower is not held down for ever."""


class AdaptiveLimit:
    """Slots for concurrent calls, between 1 and `maximum`; begins at `maximum`, which is what was allowed."""

    def __init__(self, maximum: int, clock: Clock) -> None:
        self.maximum = maximum
        self._clock = clock
        self._limit = maximum
        self._busy = 0
        self._era = 0
        self._good = 0
        self._seconds = 0.0
        self._usual = float("inf")
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        return self._limit

    @contextmanager
    def slot(self, left: Callable[[], float]) -> Iterator[None]:
        """Take part in the concurrency. Raises TimedOut when none is free before no seconds are `left`."""
        era = self._enter(left)
        started = self._clock.monotonic()
        try:
            yield
        except BreakerOpen:
            raise  # nobody was asked
        except Retryable as error:
            if isinstance(error, TimedOut) or error.after is not None:
                self._overloaded(era)
            raise
        else:
            self._answered(era, self._clock.monotonic() - started)
        finally:
            self._leave()

    def _enter(self, left: Callable[[], float]) -> int:
        with self._free:
            while self._busy >= self._limit:
                seconds = left()
                if seconds <= 0:
                    raise TimedOut(f"no turn in time: {self._busy} calls are out, as many as the peer bears")
                self._free.wait(seconds)
            self._busy += 1
            return self._era

    def _leave(self) -> None:
        with self._free:
            self._busy -= 1
            self._free.notify_all()

    def _answered(self, era: int, seconds: float) -> None:
        with self._free:
            if era != self._era:  # sent before the last change: says nothing about the new limit
                return
            self._good += 1
            self._seconds += seconds
            if self._good >= self._limit:
                self._end_window(self._seconds / self._good)

    def _end_window(self, mean: float) -> None:
        slow = mean > SLOW_SECONDS and mean > SLOW_FACTOR * self._usual
        self._usual = min(mean, self._usual * FORGET)
        self._change(max(1, self._limit // 2) if slow else min(self.maximum, self._limit + 1))

    def _overloaded(self, era: int) -> None:
        """Halve, once for all calls that were out together."""
        with self._free:
            if era == self._era:
                self._change(max(1, self._limit // 2))

    def _change(self, limit: int) -> None:
        self._limit = limit
        self._era += 1
        self._good, self._seconds = 0, 0.0
        self._free.notify_all()
