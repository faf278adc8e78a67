"""The ingester: every component of a configuration, made and wired up. Wiring only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import polars as pl

from headrace.app.made import MadeIndexes
from headrace.app.parts import Parts, is_pushed, make_index, make_source
from headrace.core.clock import Clock, SystemClock
from headrace.core.dependency import Dependencies
from headrace.core.errors import ConfigError, Retryable
from headrace.core.flags import Flags
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy
from headrace.index.base import Index
from headrace.ingest.base import Source
from headrace.pipeline.cadence import DISK_POLL_SECONDS
from headrace.pipeline.commit import IndexOwner
from headrace.pipeline.deadletter import DeadLetters
from headrace.pipeline.supervise import Supervisor
from headrace.settings import Settings

FOREVER = RetryPolicy(initial=0.1, maximum=30.0, attempts=None)
"""A source or an index that is away is waited for, as long as it takes."""


def own_interrupts() -> None:
    """Let Ctrl-C reach nobody but us. Polars listens too, from its first query on, and would end whatever
    frame a worker thread is busy with: the run would break instead of committing what it has read."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        pl.DataFrame({"n": [1]}).select(pl.col("n") + 1)
        signal.signal(signal.SIGINT, handler)


@dataclass(frozen=True, slots=True)
class Ingester:
    """Everything the ingesting process runs, made but not started."""

    settings: Settings
    supervisor: Supervisor
    dead_letters: DeadLetters
    dependencies: Dependencies
    flags: Flags | None
    metrics: Metrics
    health: Health
    made: MadeIndexes

    @property
    def owners(self) -> Mapping[str, IndexOwner]:
        return self.supervisor.owners

    async def run(self, *, until_finished: bool = False) -> None:
        """Open the dead letters, then run every pipeline until drained (or finished)."""
        if self.flags is not None:
            await anyio.to_thread.run_sync(self.flags.look)
        await self._open_dead_letters()
        try:
            await self.supervisor.run(until_finished=until_finished)
        finally:
            self.dead_letters.close()

    async def _open_dead_letters(self) -> None:
        """A start on a full disk waits for room, and says so, until it is told to stop."""
        while not self.supervisor.stopping:
            try:
                await anyio.to_thread.run_sync(self.dead_letters.open, {}, ())  # each index judges its own
            except Retryable as error:
                self.health.set("dead_letters", State.DEGRADED, f"waiting: {error}")
                await anyio.sleep(DISK_POLL_SECONDS)
            else:
                self.health.set("dead_letters", State.READY)
                return


def build_ingester(
    settings: Settings,
    *,
    metrics: Metrics,
    health: Health,
    clock: Clock | None = None,
    sources: Mapping[str, Source] | None = None,
    indexes: Mapping[str, Index] | None = None,
    policy: RetryPolicy = FOREVER,
    once: bool = False,
    settled: bool = False,
) -> Ingester:
    """Make every component of the configuration and wire them up. Raises ConfigError.

    `sources` (by pipeline) and `indexes` (by name) stand in for configured ones: frames in memory, tests.
    `once` tells the sources that this is a single pass (`run(until_finished=True)`). `settled` says that a
    settler runs beside, so that indexes may keep their newest commits in memory.
    """
    sources, indexes = sources or {}, indexes or {}
    clock = clock or SystemClock()
    parts = Parts(settings, metrics=metrics, health=health, clock=clock, policy=policy, settled=settled)
    made = MadeIndexes(parts)
    owners: dict[str, IndexOwner] = {}
    for config in settings.indexes.values():
        feeding = [p for p in settings.pipelines.values() if p.index == config.name]
        pushed = is_pushed(settings, config.name)
        index = indexes.get(config.name) or make_index(
            config, settings, clock, settled=settled, pushed=pushed
        )
        owners[config.name] = parts.owner(config.name, index, [*feeding, *made.feeding(config.name)])
    keepers = []
    for pipeline in settings.pipelines.values():
        owner = owners[pipeline.index]
        try:
            source = sources.get(pipeline.name) or make_source(
                pipeline, settings, owner.index, clock, once=once
            )
        except ConfigError as error:
            raise settings.origin.blame(error.inside("pipelines", pipeline.name, "source")) from None
        keepers.append(parts.keeper(pipeline, source, owner))
    supervisor = Supervisor(
        owners, keepers, health=health, drain_timeout=settings.drain_timeout, beside=made.follow
    )
    return Ingester(
        settings, supervisor, parts.dead_letters, parts.dependencies, parts.flags, metrics, health, made
    )
