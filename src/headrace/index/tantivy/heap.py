"""Memory of all the engine's writers in this process: few get what they ask for, many get less (PROTOCOL 28).

A hundred idle writers were 800 threads: so an idle one is closed (`rest`), and no more than `MOST` are open.
"""

from __future__ import annotations

import threading
from typing import Final
from weakref import WeakKeyDictionary

from headrace.core.errors import Retryable
from headrace.units import Size

TOTAL: Final = Size("800MB")
MOST: Final = 16
LEAST_PER_THREAD: Final = Size("16MB")
"""The engine refuses less than 15 MB for a thread."""

LATER_SECONDS: Final = 1.0


class Heap:
    """Shares by their holders, who may be forgotten without giving back. Thread-safe."""

    def __init__(self, total: int = TOTAL, most: int = MOST) -> None:
        self._total = total
        self._most = most
        self._lock = threading.Lock()
        self._shares: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    def take(self, holder: object, wanted: int, threads: int) -> tuple[int, int]:
        """Bytes and threads for one writer. Raises Retryable while too many are open."""
        with self._lock:
            self._shares.pop(holder, None)
            if len(self._shares) >= self._most:
                raise Retryable(
                    f"{self._most} indexes are written at once, the most of one process: waits until one of "
                    "them has nothing to write for a while",
                    after=LATER_SECONDS,
                )
            left = self._total - sum(self._shares.values())
            memory = min(wanted, max(left, LEAST_PER_THREAD))
            self._shares[holder] = memory
            return memory, max(1, min(threads, memory // LEAST_PER_THREAD))

    @property
    def crowded(self) -> bool:
        """Whether so many are open that idle ones should make room."""
        with self._lock:
            return len(self._shares) * 4 >= self._most * 3

    def give_back(self, holder: object) -> None:
        with self._lock:
            self._shares.pop(holder, None)


HEAP: Final = Heap()
