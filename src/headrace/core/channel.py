"""Bounded hand-over between tasks: a channel holds so many records *and* bytes, a budget bounds the process.

Everything here is level-triggered: a woken task looks again at what it waits for, and takes it in the same
step. So a cancelled wait has taken nothing, and a wake-up cannot be lost: who leaves the line wakes the next.
To be used from the event loop's thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

T = TypeVar("T")


class Closed(Exception):
    """The channel is closed (and, for a getter, empty). An ending, not an error."""


class _Ticket:
    """One task's place in a line."""

    def __init__(self) -> None:
        self.event = anyio.Event()


class _Line:
    """Tasks waiting in order of arrival: only the first may go, as soon as `ready()` is true."""

    def __init__(self) -> None:
        self._waiting: deque[_Ticket] = deque()

    def wake(self) -> None:
        """Let the first look again; to be called after every change it may be waiting for."""
        if self._waiting:
            self._waiting[0].event.set()

    async def turn(self, ready: Callable[[], bool]) -> None:
        """Return when nobody is ahead and `ready()`; what follows without an `await` is undisturbed."""
        await checkpoint()
        if not self._waiting and ready():
            return
        ticket = _Ticket()
        self._waiting.append(ticket)
        try:
            while self._waiting[0] is not ticket or not ready():
                await ticket.event.wait()
                ticket.event = anyio.Event()
        finally:
            self._waiting.remove(ticket)
            self.wake()


class Budget:
    """How many bytes the process may hold in flight.

    Requests are granted in the order they came. One that is larger than the whole limit is granted
    alone, when everything else has been released: a large record is slow, never stuck.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError(f"a budget needs at least one byte, got {limit_bytes}")
        self._limit = limit_bytes
        self._in_flight = 0
        self._line = _Line()

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def reserve(self, size: int) -> None:
        """Wait for room and take it. Cancelled, it has taken nothing."""
        _natural(size)
        await self._line.turn(lambda: self._in_flight == 0 or self._in_flight + size <= self._limit)
        self._in_flight += size

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        self.resize(size, 0)

    def resize(self, old: int, new: int) -> None:
        """A reservation turned out to be of another size: never waits, may go over the limit.

        The bytes exist already, so refusing would only hide them; the next `reserve` waits instead.
        """
        _natural(old)
        _natural(new)
        if old > self._in_flight:
            raise ValueError(f"cannot give back {old} bytes of {self._in_flight} in flight")
        self._in_flight += new - old
        self._line.wake()


class Channel(Generic[T]):
    """A first-in first-out queue bounded in records and bytes.

    An item that is larger than a bound passes alone, when the channel is empty. An item without
    records counts as one, so that no number of empty batches is unbounded.
    """

    def __init__(self, name: str, *, max_records: int, max_bytes: int) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError(f"channel {name!r} needs room for at least one record and one byte")
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._items: deque[tuple[T, int, int]] = deque()
        self._records = 0
        self._size = 0
        self._closed = False
        self._putters = _Line()
        self._getters = _Line()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def records(self) -> int:
        return self._records

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def fill_ratio(self) -> float:
        """0 empty, 1 full by the bound that is nearer."""
        return min(1.0, max(self._records / self.max_records, self._size / self.max_bytes))

    async def put(self, item: T, *, records: int, size: int, alone: bool = False) -> None:
        """Wait for room (`alone`: until nothing else is in) and append. Raises Closed.

        Cancelled or closed, the item is not in.
        """
        _natural(size)
        _natural(records)
        records = max(1, records)
        await self._putters.turn(
            lambda: self._closed or not self._items or (not alone and self._has_room(records, size))
        )
        if self._closed:
            raise Closed(f"channel {self.name!r} is closed")
        self._items.append((item, records, size))
        self._records += records
        self._size += size
        self._getters.wake()
        self._putters.wake()

    async def get(self) -> T:
        """Wait for the oldest item and remove it. Cancelled, it is still in. Raises Closed once drained."""
        await self._getters.turn(lambda: self._closed or bool(self._items))
        return self._take()

    def get_nowait(self) -> T:
        """The oldest item now; raises anyio.WouldBlock if there is none, Closed once drained.

        Goes ahead of waiting getters: meant for the one task that reads the channel.
        """
        if not self._items and not self._closed:
            raise anyio.WouldBlock
        return self._take()

    def close(self) -> None:
        """Take nothing more; what is in can still be got. Safe twice."""
        self._closed = True
        self._putters.wake()
        self._getters.wake()

    def _has_room(self, records: int, size: int) -> bool:
        if not self._items:
            return True
        return self._records + records <= self.max_records and self._size + size <= self.max_bytes

    def _take(self) -> T:
        if not self._items:
            raise Closed(f"channel {self.name!r} is closed")
        item, records, size = self._items.popleft()
        self._records -= records
        self._size -= size
        self._putters.wake()
        self._getters.wake()
        return item


def _natural(number: int) -> None:
    if number < 0:
        raise ValueError(f"cannot hold {number} of anything")
