"""A whole ingester around scripted sources and faulty indexes, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from headrace.app import Ingester, build_ingester
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy
from headrace.ingest.base import Source
from headrace.settings import IndexConfig, MemorySettings, PipelineConfig, Settings, StepConfig
from headrace.testing import FaultyIndex
from headrace.units import Duration, Size

QUICK = RetryPolicy(initial=0.001, maximum=0.01, attempts=None)
"""Backs off as the service does, a thousand times faster."""


def configured(
    data_dir: Path,
    pipelines: Mapping[str, str],
    *,
    steps: tuple[StepConfig, ...] = (),
    channel_records: int = 100_000,
    channel_bytes: int = 1 << 23,
    commit_interval: str = "50ms",
    drain_timeout: str = "5s",
    in_flight: int = 1 << 27,
    dead_letter_limit: int = 1000,
) -> Settings:
    """Settings for pipelines (name → index) whose components a test brings itself."""
    data_dir.mkdir(parents=True, exist_ok=True)
    return Settings(
        data_dir=data_dir,
        base=data_dir,
        memory=MemorySettings(in_flight=Size(in_flight)),
        disk_reserve=Size(0),
        drain_timeout=Duration(drain_timeout),
        indexes={name: IndexConfig(name, "tantivy", None) for name in set(pipelines.values())},
        pipelines={
            name: PipelineConfig(
                name=name,
                source_kind="files",
                source_options=None,
                steps=steps,
                index=index,
                commit_interval=Duration(commit_interval),
                batch_bytes=Size(1 << 20),
                channel_records=channel_records,
                channel_bytes=Size(channel_bytes),
                dead_letter_limit=dead_letter_limit,
            )
            for name, index in pipelines.items()
        },
    )


def ingester(
    settings: Settings, sources: Mapping[str, Source], indexes: Mapping[str, FaultyIndex]
) -> Ingester:
    return build_ingester(
        settings, metrics=Metrics(), health=Health(), sources=sources, indexes=indexes, policy=QUICK
    )


@asynccontextmanager
async def running(flow: Ingester) -> AsyncIterator[Ingester]:
    """The ingester at work; drained at the end."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flow.run)
        try:
            yield flow
        finally:
            flow.supervisor.stop()


async def until(condition: Callable[[], bool], *, what: str = "") -> None:
    """Wait (5 s at most) until something is true."""
    with anyio.move_on_after(5):
        while not condition():  # noqa: ASYNC110  conditions of foreign objects raise no event
            await anyio.sleep(0.002)
    assert condition(), what or "waited in vain"
