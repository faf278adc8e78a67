"""The index as the pipelines see it: the writer's calls in a thread of its own, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from headrace.core.errors import Fatal
from headrace.fields import Field
from headrace.index.base import IndexContext
from headrace.index.tantivy.heap import HEAP
from headrace.index.tantivy.options import AUTO, NEVER, Settings
from headrace.index.tantivy.room import DEFAULT_BASE
from headrace.index.tantivy.writer import Writer
from headrace.model import Batch, Outcome, PartitionKey, Rejection, Watermarks

T = TypeVar("T")

BESIDE_THE_HEAP: Final = 128 << 20
"""Bytes the engine was measured to hold beside its heap: queued documents, merges, one batch as lines."""


class TantivyIndex:
    """One index, written by its owner task. Heavy calls run in a worker thread and release the GIL."""

    def __init__(self, settings: Settings, context: IndexContext) -> None:
        base = live_base(settings, context)
        self.may_be_live = base is not None
        self._writer = Writer(
            context.name,
            context.directory,
            settings,
            context.clock,
            base=base,
            live_bytes=context.live_bytes,
        )
        self._settings = settings
        self._promising = anyio.Lock()
        # The engine refuses two threads on one writer and loses what the second adds.
        self._one = anyio.CapacityLimiter(1)

    @property
    def fields(self) -> Mapping[str, Field]:
        return self._writer.wanted.fields

    @property
    def dynamic(self) -> str:
        return self._writer.wanted.dynamic

    @property
    def worst_case_bytes(self) -> int:
        return int(self._settings.memory) + BESIDE_THE_HEAP

    async def open(self) -> Watermarks:
        return await self._in_thread(self._writer.open)

    def prepare(self, batch: Batch) -> Batch:
        return self._writer.prepare(batch)

    async def write(self, batch: Batch) -> list[Rejection]:
        return await self._in_thread(lambda: self._writer.write(batch))

    def outcomes(self) -> list[Outcome]:
        return self._writer.outcomes

    async def commit(self) -> Watermarks:
        return await self._in_thread(self._writer.commit)

    async def retain(self) -> int:
        return await self._in_thread(self._writer.retain)

    @property
    def is_live(self) -> bool:
        return self._writer.home.is_live

    @property
    def catching_up(self) -> str:
        return self._writer.home.catching_up

    async def settled(self) -> Watermarks:
        return await self._in_thread(self._writer.settled)

    async def promise(self, key: PartitionKey, record: int) -> bool:
        home = self._writer.home
        if home.is_promised(key, record):
            return True
        async with self._promising:
            try:
                return await anyio.to_thread.run_sync(home.promise, key, record)
            except OSError as error:
                raise Fatal(f"cannot note how far the index is searchable: {error.strerror}") from error

    @property
    def crowded(self) -> bool:
        return HEAP.crowded

    async def rest(self) -> None:
        await self._in_thread(self._writer.rest)

    async def close(self) -> None:
        # Also when cancelled: what is open must not outlive its owner.
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._writer.close)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._one)


def live_base(settings: Settings, context: IndexContext) -> Path | None:
    """Where this index's live folder is made; None where it has none."""
    if not context.live_bytes or settings.live == NEVER:
        return None
    if settings.live == AUTO:
        return DEFAULT_BASE if context.pushed else None
    return Path(settings.live)
