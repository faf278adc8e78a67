"""The index as the pipelines see it: the writer's calls in a thread of its own, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from headrace.fields import Field
from headrace.index.base import IndexContext
from headrace.index.tantivy.heap import HEAP
from headrace.index.tantivy.options import Settings
from headrace.index.tantivy.writer import Writer
from headrace.model import Batch, Outcome, Rejection, Watermarks

T = TypeVar("T")

BESIDE_THE_HEAP: Final = 128 << 20
"""Bytes the engine was measured to hold beside its heap: queued documents, merges, one batch as lines."""


class TantivyIndex:
    """One index, written by its owner task. Heavy calls run in a worker thread and release the GIL."""

    def __init__(self, settings: Settings, context: IndexContext) -> None:
        self._writer = Writer(context.name, context.directory, settings, context.clock)
        self._settings = settings
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

    async def write(self, batch: Batch) -> list[Rejection]:
        return await self._in_thread(lambda: self._writer.write(batch))

    def outcomes(self) -> list[Outcome]:
        return self._writer.outcomes

    async def commit(self) -> Watermarks:
        return await self._in_thread(self._writer.commit)

    async def retain(self) -> int:
        return await self._in_thread(self._writer.retain)

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
