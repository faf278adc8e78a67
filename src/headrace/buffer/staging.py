"""A large request on its way in: its pieces are on the disk, and exist for nobody until `finish`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, cast

from headrace.buffer.base import Appended, Entry
from headrace.buffer.bounds import Room
from headrace.buffer.rows import OVERHEAD_BYTES
from headrace.buffer.work import Add, Finish, Stage, Work
from headrace.core.errors import Retryable

Answer = Callable[[list[Appended]], bytes]


class Host(Protocol):
    """What a staged request needs of its buffer."""

    room: Room

    def require_room(self, sizes: Mapping[str, int], size: int) -> None: ...
    def submitted(self, work: Work) -> Awaitable[object]: ...
    def staging(self, stage: Stage, *, on: bool) -> None: ...


class StagedRequest:
    """See `base.Staged`; of one task."""

    def __init__(self, host: Host, size: int) -> None:
        self._host = host
        self._stage = Stage()
        self._left = size
        self._logs: Counter[str] = Counter()
        self._open = True
        host.require_room({}, size)
        host.room.reserve({}, size)
        host.staging(self._stage, on=True)

    async def add(self, entry: Entry) -> None:
        """See `base.Staged`. More than was reserved is taken only where there is room."""
        sizes = sizes_of([entry])
        size = sizes[entry.log]
        more = max(0, size - self._left)
        self._host.require_room(sizes, more)
        self._host.room.reserve(sizes, more)
        self._left += more
        self._logs.update(sizes)
        await self._host.submitted(Add(self._stage, entry))
        # What is written counts as bytes of its file from now on.
        if self._open:
            self._left -= size
            self._host.room.free({}, size)

    async def finish(self, *, key: str = "", answer: Answer | None = None) -> list[Appended]:
        """See `base.Staged`; `key` and `answer` as in `Buffer.append`."""
        if not self._open:
            raise Retryable("the request was abandoned before, nothing of it was accepted")
        try:
            return cast("list[Appended]", await self._host.submitted(Finish(self._stage, key, answer)))
        finally:
            self._end()

    async def abandon(self) -> None:
        """See `base.Staged`. What was written goes with its file."""
        self._end()

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._host.room.free(self._logs, self._left)
            self._host.staging(self._stage, on=False)


def sizes_of(entries: Sequence[Entry]) -> Counter[str]:
    """What entries take at most, per log: they may turn out not to compress."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.log] += len(entry.body) + len(entry.head) + OVERHEAD_BYTES
    return sizes
