"""How much may wait in the buffer, and what a request is told that finds it full."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.buffer.base import BufferFull
from headrace.buffer.holdings import Holdings
from headrace.core.errors import RequestError

FIRST_GUESS: Final = 5
LONGEST: Final = 60
SMOOTHING: Final = 0.3


@dataclass(frozen=True, slots=True)
class Bounds:
    """max_bytes: of all files somebody still needs; log_bytes: of one log's records; max_age: seconds the
    oldest record of a log may wait, None for ever; file_bytes: about the size of one file of the chain."""

    max_bytes: int
    log_bytes: int
    max_age: float | None
    file_bytes: int

    @property
    def one_file(self) -> int:
        """Never so large that the newest file alone, which cannot go, takes most of the room."""
        return max(1, min(self.file_bytes, self.max_bytes // 4))


class Drain:
    """How fast what is held gets less, in bytes a second."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._passed = 0
        self._at: float | None = None

    def passed(self, size: int, now: float) -> None:
        """So many bytes were passed by all since the last call."""
        self._passed += size
        if self._at is None:
            self._at = now
        elif now - self._at >= 1.0:
            rate = self._passed / (now - self._at)
            self._rate = rate if self._rate is None else self._rate + SMOOTHING * (rate - self._rate)
            self._passed, self._at = 0, now

    def seconds_for(self, size: int) -> int:
        """When so many bytes will have been passed: whole seconds, from 1 to LONGEST."""
        if self._rate is None:
            return FIRST_GUESS
        return LONGEST if self._rate <= 0 else max(1, min(LONGEST, math.ceil(size / self._rate)))


class Room:
    """Judges every request by the bounds; what is reserved is as good as taken."""

    def __init__(self, bounds: Bounds, holdings: Holdings, drain: Drain) -> None:
        self._bounds = bounds
        self._holdings = holdings
        self._drain = drain
        self.reserved = 0
        self.of_log: Counter[str] = Counter()

    def reserve(self, sizes: Mapping[str, int], size: int) -> None:
        self.reserved += size
        self.of_log.update(sizes)

    def free(self, sizes: Mapping[str, int], size: int) -> None:
        self.reserved -= size
        self.of_log.subtract(sizes)
        for log in sizes:
            if not self.of_log[log]:
                del self.of_log[log]

    def refusal(self, sizes: Mapping[str, int], size: int, now: float) -> RequestError | None:
        """What stands against `size` more bytes, `sizes` of them per log; None where there is room."""
        if size > self._bounds.max_bytes or max(sizes.values(), default=0) > self._bounds.log_bytes:
            return too_large(size, self._bounds)
        total = self._holdings.bytes + self.reserved + size
        if total > self._bounds.max_bytes:
            name, log = self._holdings.holder() or ("requests that are under way", "")
            return self._full(
                f"the buffer holds {self._holdings.bytes + self.reserved} bytes and {size} more would pass "
                f"its bound of {self._bounds.max_bytes} (buffer.max_bytes); its oldest file is held by "
                f"{name!r}"
                f"{f' (log {log!r})' if log else ''}",
                total - self._bounds.max_bytes,
            )
        for log, more in sizes.items():
            refusal = self._of_log(log, more, now)
            if refusal is not None:
                return refusal
        return None

    def no_disk(self, free: int, reserve: int, size: int) -> BufferFull:
        return self._full(
            f"the disk has {free} bytes free, and {reserve} are kept back to drain what is there "
            "(disk_reserve)",
            size + reserve - free,
        )

    def _of_log(self, log: str, more: int, now: float) -> BufferFull | None:
        if log not in self._holdings.least:
            return None  # nobody reads it: it holds nothing
        held = self._holdings.of(log)
        taken = held.bytes + self.of_log[log]
        if taken + more > self._bounds.log_bytes:
            return self._full(
                f"log {log!r} holds {taken} bytes and {more} more would pass its bound of "
                f"{self._bounds.log_bytes} (buffer.log_bytes); {self._holdings.slowest(log)!r} has yet to "
                "index them",
                taken + more - self._bounds.log_bytes,
            )
        age = 0.0 if held.oldest is None else now - held.oldest
        if self._bounds.max_age is not None and age > self._bounds.max_age:
            return self._full(
                f"the oldest record of log {log!r} waits for {age:.0f} s, longer than "
                f"{self._bounds.max_age:.0f} s (buffer.max_age); {self._holdings.slowest(log)!r} has yet "
                "to index it",
                max(held.bytes, 1),
            )
        return None

    def _full(self, reason: str, over: int) -> BufferFull:
        return BufferFull(
            f"{reason}; nothing of this request was accepted", retry_after=self._drain.seconds_for(over)
        )


def too_large(size: int, bounds: Bounds) -> RequestError:
    """Waiting does not help: it would not fit into an empty buffer either."""
    return RequestError(
        413,
        "content_too_long_exception",
        f"the request takes {size} bytes, and the buffer never holds more than {bounds.max_bytes} "
        f"(buffer.max_bytes), of one log {bounds.log_bytes} (buffer.log_bytes); send it in smaller pieces, "
        "nothing of this request was accepted",
    )
