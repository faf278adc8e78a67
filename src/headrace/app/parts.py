"""The parts of an ingester, each made from its configuration by what all of them share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from anyio import CapacityLimiter

from headrace.core.channel import Budget
from headrace.core.clock import Clock
from headrace.core.dependency import Dependencies, Limits
from headrace.core.errors import ConfigError
from headrace.core.flags import Flags
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.core.registry import kind
from headrace.core.retry import RetryPolicy
from headrace.fields import hints_of
from headrace.index.base import Index, IndexContext
from headrace.ingest.base import Source, SourceContext
from headrace.layout import columns_file, dead_letter_file, index_directory
from headrace.model import RawBatch
from headrace.pipeline.capacities import INDEX_CHANNEL_BYTES, INDEX_CHANNEL_RECORDS
from headrace.pipeline.commit import IndexOwner
from headrace.pipeline.deadletter import DeadLetters
from headrace.pipeline.delivery import DiskReserve
from headrace.pipeline.guard import Guard
from headrace.pipeline.known import KnownColumns
from headrace.pipeline.plan import Plan, compile_steps
from headrace.pipeline.rollout import make_switch, uses
from headrace.pipeline.stages import PipelineRun
from headrace.pipeline.supervise import PipelineKeeper
from headrace.settings import IndexConfig, PipelineConfig, Settings
from headrace.settings.flagfile import read_flag_file

TRANSFORM_THREADS = 2
"""Batches decoded and transformed at once, over all pipelines: one per core of a small machine."""


def make_index(
    config: IndexConfig,
    settings: Settings,
    clock: Clock,
    folder: str | None = None,
    *,
    settled: bool = False,
    pushed: bool = True,
) -> Index:
    """The writing side of an index, not opened; its folder is called as it is, unless said otherwise.

    settled: another process settles what is in memory; pushed: only pushes feed it"""
    context = IndexContext(
        config.name,
        index_directory(settings.data_dir, folder or config.name),
        clock,
        live_bytes=int(settings.memory.live) if settled else 0,
        pushed=pushed,
    )
    index: Index = _create("index", config.kind, config.options, context)
    return index


def is_pushed(settings: Settings, index: str) -> bool:
    """Whether only pushes feed an index of the configuration: those of its pipelines, or to its name."""
    return all(each.source_kind == "http_push" for each in settings.pipelines.values() if each.index == index)


def make_source(
    config: PipelineConfig, settings: Settings, index: Index, clock: Clock, *, once: bool = False
) -> Source:
    """The source of a pipeline, not opened; `once` for a single pass over what there is."""
    hints = hints_of(index.fields)
    context = SourceContext(
        config.name, settings.base, clock, hints, config.batch_bytes, once, data_dir=settings.data_dir
    )
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


class Parts:
    """What owners and pipelines share: clock, budget, dead letters, breakers, threads, flags."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics,
        health: Health,
        clock: Clock,
        policy: RetryPolicy,
        settled: bool = False,
    ) -> None:
        self.settings = settings
        self.settled = settled
        self.metrics = metrics
        self.health = health
        self.clock = clock
        self.budget = Budget(settings.memory.in_flight)
        # Pipelines keep their own limits.
        self.dead_letters = DeadLetters(dead_letter_file(settings.data_dir), limit=sys.maxsize)
        self.disk = DiskReserve(settings.data_dir, settings.disk_reserve)
        self.dependencies = Dependencies(clock, metrics, health)
        self.flags = make_flags(settings, clock, metrics, health)
        self._threads = CapacityLimiter(TRANSFORM_THREADS)
        self._policy = policy
        # A breaker leaves its peer alone no longer than the policy would wait without one.
        self._limits = Limits(open_for=min(5.0, policy.maximum), open_at_most=policy.maximum)

    def guard(self, name: str) -> Guard:
        return Guard(self.dependencies.get(name, policy=self._policy, limits=self._limits))

    def owner(self, name: str, index: Index, feeding: Iterable[PipelineConfig]) -> IndexOwner:
        """The owner of an index that these pipelines feed."""
        feeding = tuple(feeding)
        return IndexOwner(
            name,
            index,
            pipelines=frozenset(p.name for p in feeding),
            guard=self.guard(f"index:{name}"),
            budget=self.budget,
            dead_letters=self.dead_letters,
            disk=self.disk,
            health=self.health,
            channel_records=max((p.channel_records for p in feeding), default=INDEX_CHANNEL_RECORDS),
            channel_bytes=max((p.channel_bytes for p in feeding), default=INDEX_CHANNEL_BYTES),
            commit_interval=min((p.commit_interval for p in feeding), default=self.settings.commit_interval),
        )

    def keeper(self, config: PipelineConfig, source: Source, owner: IndexOwner) -> PipelineKeeper:
        """What keeps a pipeline running into the index of `owner`."""
        settings, guard = self.settings, self.guard(f"source:{config.name}")
        columns = KnownColumns(columns_file(settings.data_dir, config.name))

        def compile_plan(sample: RawBatch | None) -> Plan:
            plan = compile_steps(
                config,
                settings,
                sample,
                fields=owner.index.fields,
                dynamic=owner.index.dynamic,
                clock=self.clock,
                dependencies=self.dependencies,
                flags=self.flags,
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
                budget=self.budget,
                channel_records=config.channel_records,
                channel_bytes=config.channel_bytes,
                dead_letter_limit=config.dead_letter_limit,
                threads=self._threads,
                pause=keeper.pause,
                switch=make_switch(config, self.flags, self.clock, keeper.rest),
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
            policy=self._policy,
            clock=self.clock,
            health=self.health,
            blame=blame,
        )
