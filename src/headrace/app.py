"""The composition root: settings → components → owners and pipelines. Wiring only."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import polars as pl
from anyio import CapacityLimiter

from headrace.core.channel import Budget
from headrace.core.clock import Clock, SystemClock
from headrace.core.dependency import Dependencies, Limits
from headrace.core.errors import ConfigError, Retryable
from headrace.core.flags import Flags
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.core.registry import kind
from headrace.core.retry import RetryPolicy
from headrace.index.base import Index, IndexContext
from headrace.ingest.base import Source, SourceContext
from headrace.layout import columns_file, dead_letter_file, index_directory
from headrace.model import RawBatch
from headrace.pipeline.capacities import INDEX_CHANNEL_BYTES, INDEX_CHANNEL_RECORDS
from headrace.pipeline.commit import DISK_POLL_SECONDS, IndexOwner
from headrace.pipeline.deadletter import DeadLetters
from headrace.pipeline.delivery import DiskReserve
from headrace.pipeline.guard import Guard
from headrace.pipeline.known import KnownColumns
from headrace.pipeline.plan import Plan, compile_steps
from headrace.pipeline.rollout import make_switch, uses
from headrace.pipeline.stages import PipelineRun
from headrace.pipeline.supervise import PipelineKeeper, Supervisor
from headrace.settings import IndexConfig, PipelineConfig, Settings
from headrace.settings.flagfile import read_flag_file

TRANSFORM_THREADS = 2
"""Batches decoded and transformed at once, over all pipelines: one per core of a small machine."""

FOREVER = RetryPolicy(initial=0.1, maximum=30.0, attempts=None)
"""A source or an index that is away is waited for, as long as it takes."""


def own_interrupts() -> None:
    """Let Ctrl-C reach nobody but us. Polars listens too, from its first query on, and would end whatever
    frame a worker thread is busy with: the run would break instead of committing what it has read."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        pl.DataFrame({"n": [1]}).select(pl.col("n") + 1)
        signal.signal(signal.SIGINT, handler)


def make_index(config: IndexConfig, settings: Settings, clock: Clock) -> Index:
    """The writing side of a configured index, not opened."""
    context = IndexContext(config.name, index_directory(settings.data_dir, config.name), clock)
    index: Index = _create("index", config.kind, config.options, context)
    return index


def make_source(config: PipelineConfig, settings: Settings, index: Index, clock: Clock) -> Source:
    """The source of a pipeline, not opened."""
    hints = {name: field.dtype for name, field in index.fields.items() if field.dtype is not None}
    context = SourceContext(config.name, settings.base, clock, hints, config.batch_bytes)
    source: Source = _create("ingest", config.source_kind, config.source_options, context)
    return source


def make_flags(settings: Settings, clock: Clock, metrics: Metrics, health: Health) -> Flags | None:
    """The feature flags of the configuration, not read; None where it names no file."""
    if settings.flags is None:
        return None
    return Flags(
        settings.flags, uses(settings), read=read_flag_file, clock=clock, metrics=metrics, health=health
    )


def _create(role: str, name: str, options: Any, context: object) -> Any:
    return kind(role, name).create(options, context)


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
) -> Ingester:
    """Make every component of the configuration and wire them up. Raises ConfigError.

    `sources` (by pipeline) and `indexes` (by name) stand in for configured ones: frames in memory, tests.
    """
    sources, indexes = sources or {}, indexes or {}
    clock = clock or SystemClock()
    budget = Budget(settings.memory.in_flight)
    dead_letters = DeadLetters(
        dead_letter_file(settings.data_dir), limit=sys.maxsize
    )  # pipelines keep their own
    disk = DiskReserve(settings.data_dir, settings.disk_reserve)

    dependencies = Dependencies(clock, metrics, health)
    # A breaker leaves its peer alone no longer than the policy would wait without one.
    limits = Limits(open_for=min(5.0, policy.maximum), open_at_most=policy.maximum)

    def guard(name: str) -> Guard:
        return Guard(dependencies.get(name, policy=policy, limits=limits))

    flags = make_flags(settings, clock, metrics, health)
    owners: dict[str, IndexOwner] = {}
    for config in settings.indexes.values():
        feeding = [p for p in settings.pipelines.values() if p.index == config.name]
        owners[config.name] = IndexOwner(
            config.name,
            indexes.get(config.name) or make_index(config, settings, clock),
            pipelines=frozenset(p.name for p in feeding),
            guard=guard(f"index:{config.name}"),
            budget=budget,
            dead_letters=dead_letters,
            disk=disk,
            health=health,
            channel_records=max((p.channel_records for p in feeding), default=INDEX_CHANNEL_RECORDS),
            channel_bytes=max((p.channel_bytes for p in feeding), default=INDEX_CHANNEL_BYTES),
            commit_interval=min((p.commit_interval for p in feeding), default=settings.commit_interval),
        )
    threads = CapacityLimiter(TRANSFORM_THREADS)
    keepers = []
    for pipeline in settings.pipelines.values():
        owner = owners[pipeline.index]
        source = sources.get(pipeline.name) or make_source(pipeline, settings, owner.index, clock)
        keepers.append(
            _keeper(
                pipeline,
                settings,
                source,
                owner,
                guard(f"source:{pipeline.name}"),
                budget,
                threads,
                dependencies,
                flags,
            )
        )
    supervisor = Supervisor(owners, keepers, health=health, drain_timeout=settings.drain_timeout)
    return Ingester(settings, supervisor, dead_letters, dependencies, flags, metrics, health)


def _keeper(
    config: PipelineConfig,
    settings: Settings,
    source: Source,
    owner: IndexOwner,
    guard: Guard,
    budget: Budget,
    threads: CapacityLimiter,
    dependencies: Dependencies,
    flags: Flags | None,
) -> PipelineKeeper:
    columns = KnownColumns(columns_file(settings.data_dir, config.name))

    def compile_plan(sample: RawBatch | None) -> Plan:
        plan = compile_steps(
            config,
            settings,
            sample,
            fields=owner.index.fields,
            dynamic=owner.index.dynamic,
            clock=guard.clock,
            dependencies=dependencies,
            flags=flags,
            known=columns.schemas(),
        )
        columns.remember(plan.bound)
        return plan

    def make_run(keeper: PipelineKeeper) -> PipelineRun:
        return PipelineRun(
            config.name,
            source,
            compile_plan,
            owner,
            guard=guard,
            budget=budget,
            channel_records=config.channel_records,
            channel_bytes=config.channel_bytes,
            dead_letter_limit=config.dead_letter_limit,
            threads=threads,
            pause=keeper.pause,
            switch=make_switch(config, flags, guard.clock, keeper.rest),
        )

    def blame(error: ConfigError) -> ConfigError:
        """The line of the file, for what only the opened source could know; steps say theirs already."""
        if error.where or settings.source_file is None:
            return error
        return settings.origin.blame(error.inside("pipelines", config.name, "source"))

    return PipelineKeeper(
        config.name,
        owner,
        make_run,
        policy=guard.policy,
        clock=guard.clock,
        health=owner.health,
        blame=blame,
    )
