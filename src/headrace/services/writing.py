"""The server's write path: catalogue, buffer, and what subscribes to it, opened and closed together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from headrace.buffer.acks import subscribe, subscriptions, unsubscribe
from headrace.buffer.wake import Waker
from headrace.buffer.writer import Bounds, Buffer
from headrace.catalogue.entry import GENERATION, Catalogue
from headrace.catalogue.store import Keeper
from headrace.core.clock import SystemClock
from headrace.core.errors import Retryable
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.core.state import explained
from headrace.layout import buffer_directory, catalogue_file, wake_path
from headrace.serve.bodies import Limits
from headrace.serve.editing import without_unfinished
from headrace.serve.indices import ServerIndices, configured
from headrace.serve.names import Applier, Target
from headrace.serve.push import Push
from headrace.settings import ServerSettings, Settings

INTAKE_RESERVE = 2
"""Intake stops at this many times the free space at which indexing does: what was accepted can drain."""


HOLD_SECONDS = 60.0
ROOM_POLL_SECONDS = 0.5


class WritePath:
    """What the server needs to take writes; `closed_for` says why it takes none."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health) -> None:
        self.closed_for = "opening"
        self._clock = SystemClock()
        self._health = health
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
            self._clock,
            wake=self._wake,
            reserve=INTAKE_RESERVE * settings.disk_reserve,
        )
        self._keeper = SubscribingKeeper(settings.data_dir)
        self.indices = ServerIndices(
            configured(settings), self._keeper, settings.data_dir, auto_create=settings.server.auto_create
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, metrics: Metrics, health: Health) -> AsyncIterator[WritePath]:
        """On a full disk it is entered all the same, and takes writes once there is room.

        Raises ConfigError, StoreError."""
        path = cls(settings, metrics, health)
        try:
            await path._try_to_open()
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await path.buffer.close()
            path._wake.close()
            path.indices.close()

    async def _try_to_open(self) -> None:
        try:
            await anyio.to_thread.run_sync(self._subscribe)
            await self.buffer.open()
        except Retryable as error:
            self.closed_for = f"waiting: {error}"
            self._health.set("buffer", State.DEGRADED, self.closed_for)
            return
        self.closed_for = ""
        self._health.set("buffer", State.READY)

    def _subscribe(self) -> None:
        """Raises Retryable."""
        folder = buffer_directory(self._settings.data_dir)
        with explained(folder):
            self._keeper.begin()
            for pipeline, target in self.pipelines().items():
                subscribe(folder, pipeline, target.log)

    def pipelines(self) -> dict[str, Target]:
        """The configuration's push pipelines."""
        return {
            feed.pipeline: Target(each.name, each.name, feed.log, feed.pipeline, each.key, feed.ack)
            for each in configured(self._settings).values()
            for feed in each.feeds
        }

    def feeds(self) -> dict[str, str]:
        """The index that each pipeline of the configuration feeds, pushed to or not."""
        return {name: config.index for name, config in self._settings.pipelines.items()}

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
            limits=limits_of(self._settings.server),
            pipelines=pipelines,
            formats=formats,
            others=others,
            refusing=refusing,
        )

    async def run(self) -> None:
        """Until cancelled: release what everybody has read."""
        while self.closed_for:
            await self._clock.sleep(ROOM_POLL_SECONDS)
            await self._try_to_open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.buffer.run)
            while True:
                await anyio.sleep(HOLD_SECONDS / 2)
                await anyio.to_thread.run_sync(self._keeper.let_go)

    def observe(self) -> None:
        """Set the gauges that are states, not events."""
        self._metrics.buffer_bytes.set(self.buffer.status().held_bytes)


def limits_of(server: ServerSettings) -> Limits:
    """Bounds of one write: bodies that cannot be cut have a smaller one of their own."""
    most = int(server.max_body)
    return Limits(body=most, whole=min(Limits().whole, most))


class SubscribingKeeper(Keeper):
    """Keeps the catalogue and the buffer's subscriptions in step.

    An entry's log holds its records from the moment the entry can be written to, and while a generation is
    made of it; what is dropped lets go of them. What was being made when a server ended is given up.
    """

    def __init__(self, data_dir: Path) -> None:
        super().__init__(catalogue_file(data_dir))
        self._data_dir = data_dir
        self._folder = buffer_directory(data_dir)
        self._decided: dict[str, float] = {}

    def begin(self) -> None:
        """Take up what the file says; what nobody finished is given up."""
        self.change(partial(without_unfinished, data_dir=self._data_dir))
        for subscriber in subscriptions(self._folder):
            if subscriber.startswith(GENERATION):
                unsubscribe(self._folder, subscriber)
        self._follow(self.catalogue, Catalogue())

    def change(self, edit: Callable[[Catalogue], Catalogue]) -> Catalogue:
        """See `Keeper.change`."""
        before = self.catalogue
        changed = super().change(edit)
        self._follow(changed, before)
        return changed

    def let_go(self) -> None:
        """End the holds of generations that were decided long enough ago for either to be running."""
        due = [name for name, at in self._decided.items() if time.monotonic() - at > HOLD_SECONDS]
        for name in due:
            del self._decided[name]
            unsubscribe(self._folder, name)

    def _follow(self, now: Catalogue, before: Catalogue) -> None:
        kept = {made.uuid for made in now.indexes.values()}
        for made in before.indexes.values():
            if made.uuid not in kept:
                unsubscribe(self._folder, made.pipeline)
            if made.building is not None:
                self._decided[f"{GENERATION}{made.uuid}"] = time.monotonic()
        for made in now.indexes.values():
            subscribe(self._folder, made.pipeline, made.log)
            if made.building is not None:
                self._decided.pop(f"{GENERATION}{made.uuid}", None)
                subscribe(self._folder, f"{GENERATION}{made.uuid}", made.log)
