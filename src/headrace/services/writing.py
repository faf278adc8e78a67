"""The server's write path: catalogue, buffer, and what subscribes to it, opened and closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from headrace.buffer.acks import subscribe, unsubscribe
from headrace.buffer.wake import Waker
from headrace.buffer.writer import Bounds, Buffer
from headrace.catalogue.entry import Catalogue
from headrace.catalogue.store import Keeper
from headrace.core.clock import SystemClock
from headrace.core.metrics import Metrics
from headrace.layout import buffer_directory, catalogue_file, index_directory, wake_path
from headrace.serve.indices import ServerIndices, configured
from headrace.serve.names import Applier, Target
from headrace.serve.push import Push
from headrace.settings import Settings

INTAKE_RESERVE = 2
"""Intake stops at this many times the free space at which indexing does: what was accepted can drain."""


class WritePath:
    """What the server needs to take writes."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        folder = buffer_directory(settings.data_dir)
        given = settings.buffer
        self._wake = Waker(wake_path(settings.data_dir))
        self.buffer = Buffer(
            folder,
            Bounds(
                given.max_bytes,
                given.max_bytes if given.log_bytes is None else given.log_bytes,
                given.max_age,
                given.file_bytes,
            ),
            SystemClock(),
            wake=self._wake,
            reserve=INTAKE_RESERVE * settings.disk_reserve,
        )
        keeper = SubscribingKeeper(settings.data_dir)
        self.indices = ServerIndices(
            configured(settings), keeper, settings.data_dir, auto_create=settings.server.auto_create
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, metrics: Metrics) -> AsyncIterator[WritePath]:
        """Raises ConfigError, StoreError, Retryable."""
        path = cls(settings, metrics)
        try:
            await anyio.to_thread.run_sync(path._subscribe)
            await path.buffer.open()
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await path.buffer.close()
            path._wake.close()
            path.indices.close()

    def _subscribe(self) -> None:
        folder = buffer_directory(self._settings.data_dir)
        for pipeline, target in self.pipelines().items():
            subscribe(folder, pipeline, target.log)

    def pipelines(self) -> dict[str, Target]:
        """The configuration's push pipelines."""
        return {
            feed.pipeline: Target(each.name, each.name, feed.log, feed.pipeline, each.key, feed.ack)
            for each in configured(self._settings).values()
            for feed in each.feeds
        }

    def push(self, applier: Applier, refusing: Callable[[], str]) -> Push:
        pipelines = self.pipelines()
        others = {
            name: config.source_kind
            for name, config in self._settings.pipelines.items()
            if name not in pipelines
        }
        formats = {name: self._settings.pipelines[name].source_options.format for name in pipelines}
        return Push(
            self.indices,
            self.buffer,
            applier,
            pipelines=pipelines,
            formats=formats,
            others=others,
            refusing=refusing,
        )

    async def run(self) -> None:
        """Until cancelled: release what everybody has read."""
        await self.buffer.run()

    def observe(self) -> None:
        """Set the gauges that are states, not events."""
        self._metrics.buffer_bytes.set(self.buffer.status().held_bytes)


class SubscribingKeeper(Keeper):
    """Keeps the catalogue and the buffer's subscriptions in step.

    An entry's log holds its records from the moment the entry can be written to; what is dropped lets go of
    them, and its folder is named for deletion.
    """

    def __init__(self, data_dir: Path) -> None:
        super().__init__(catalogue_file(data_dir))
        self._data_dir = data_dir
        self._follow(self.catalogue, ())

    def change(self, edit: Callable[[Catalogue], Catalogue]) -> Catalogue:
        """See `Keeper.change`."""
        before = self.catalogue
        changed = super().change(lambda catalogue: self._with_dropped(catalogue, edit(catalogue)))
        kept = {made.uuid for made in changed.indexes.values()}
        self._follow(changed, [made.pipeline for made in before.indexes.values() if made.uuid not in kept])
        return changed

    def _with_dropped(self, before: Catalogue, after: Catalogue) -> Catalogue:
        if after == before:
            return before
        kept = {made.uuid for made in after.indexes.values()}
        gone = [
            made.uuid for made in before.indexes.values() if made.uuid not in kept and not made.configured
        ]
        left = [uuid for uuid in before.dropped if index_directory(self._data_dir, uuid).exists()]
        return msgspec.structs.replace(after, dropped=[*left, *gone])

    def _follow(self, catalogue: Catalogue, gone: Iterable[str]) -> None:
        folder = buffer_directory(self._data_dir)
        for pipeline in gone:
            unsubscribe(folder, pipeline)
        for made in catalogue.indexes.values():
            subscribe(folder, made.pipeline, made.log)
