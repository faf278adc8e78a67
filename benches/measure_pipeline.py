"""The pipeline, whole: files → validate → set → set → lookup → index, as the ingester's process runs it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from benches import memory
from benches.records import INDEX, PIPELINE, write_config
from headrace.app import build_ingester, make_index, make_source
from headrace.core.clock import SystemClock
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.fields import Field
from headrace.index.base import Index, Preparing
from headrace.ingest.base import Guarantee, Source
from headrace.layout import index_directory
from headrace.model import Batch, Position, RawBatch, Rejection, Watermarks
from headrace.services import SWITCH_INTERVAL
from headrace.settings import Settings, load


@dataclass
class Watch:
    """When reading began and the last commit ended, and what the index spent."""

    began: float = 0.0
    ended: float = 0.0
    writing: float = 0.0
    committing: float = 0.0
    commits: int = 0
    written: int = 0
    cpu_before: float = 0.0
    cpu: float = 0.0


class WatchedSource:
    """The source as it is; notes when it was opened."""

    def __init__(self, source: Source, watch: Watch) -> None:
        self._source = source
        self._watch = watch

    @property
    def guarantee(self) -> Guarantee:
        return self._source.guarantee

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        self._watch.began = time.perf_counter()
        self._watch.cpu_before = time.process_time()
        await self._source.open(resume_after)

    async def sample(self) -> RawBatch | None:
        return await self._source.sample()

    async def read(self) -> RawBatch:
        return await self._source.read()

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        await self._source.acknowledge(positions)

    def lag(self) -> int | None:
        return self._source.lag()

    async def close(self) -> None:
        await self._source.close()


class WatchedIndex:
    """The index as it is; notes how long its calls take."""

    def __init__(self, index: Index, watch: Watch) -> None:
        self._index = index
        self._watch = watch

    @property
    def fields(self) -> Mapping[str, Field]:
        return self._index.fields

    @property
    def dynamic(self) -> str:
        return self._index.dynamic

    @property
    def worst_case_bytes(self) -> int:
        return self._index.worst_case_bytes

    async def open(self) -> Watermarks:
        return await self._index.open()

    def prepare(self, batch: Batch) -> Batch:
        return self._index.prepare(batch) if isinstance(self._index, Preparing) else batch

    async def write(self, batch: Batch) -> list[Rejection]:
        started = time.perf_counter()
        rejected = await self._index.write(batch)
        self._watch.writing += time.perf_counter() - started
        self._watch.written += batch.rows - len(rejected)
        return rejected

    async def commit(self) -> Watermarks:
        started = time.perf_counter()
        marks = await self._index.commit()
        self._watch.ended = time.perf_counter()
        self._watch.committing += self._watch.ended - started
        self._watch.commits += 1
        self._watch.cpu = time.process_time() - self._watch.cpu_before
        return marks

    async def close(self) -> None:
        await self._index.close()


class NullIndex(WatchedIndex):
    """Everything but the engine: fields and positions of the real index, rows counted and forgotten."""

    def __init__(self, index: Index, watch: Watch) -> None:
        super().__init__(index, watch)
        self._positions: dict[tuple[str, str], Position] = {}

    async def open(self) -> Watermarks:
        return Watermarks()

    def prepare(self, batch: Batch) -> Batch:
        return batch

    async def write(self, batch: Batch) -> list[Rejection]:
        self._positions[batch.pipeline, batch.raw.partition] = batch.raw.position
        self._watch.written += batch.rows
        return []

    async def commit(self) -> Watermarks:
        self._watch.ended = time.perf_counter()
        self._watch.commits += 1
        self._watch.cpu = time.process_time() - self._watch.cpu_before
        return Watermarks(dict(self._positions), dict(self._positions))

    async def close(self) -> None: ...


def measure(
    folder: Path, source: Path, *, records: int, declared_id: bool = False, null: bool = False
) -> dict[str, Any]:
    """Run to the end of `source`. A second call with the same folder goes on with the same index."""
    config = write_config(folder, source, declared_id=declared_id)
    found = run(config, INDEX, PIPELINE, null=null)
    return {**found, "expected": records, "input_bytes": source.stat().st_size}


def run(config: Path, index: str, pipeline: str, *, null: bool = False) -> dict[str, Any]:
    """One pipeline of a configuration to the end of its source."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    watch = Watch()
    settings = load(config)
    started = time.perf_counter()
    anyio.run(_run, settings, index, pipeline, watch, NullIndex if null else WatchedIndex)
    wall = time.perf_counter() - started
    seconds = watch.ended - watch.began
    where = index_directory(Path(settings.data_dir), index)
    return {
        "records": watch.written,
        "documents": None if null else _documents(where),
        "disk_bytes": None if null else memory.on_disk(where),
        "seconds": seconds,
        "wall_seconds": wall,
        "rate": watch.written / seconds,
        "commits": watch.commits,
        "writing_share": watch.writing / seconds,
        "committing_share": watch.committing / seconds,
        "cpu_us": watch.cpu / watch.written * 1e6,
        "peak_mb": memory.peak_bytes() / 1e6,
    }


async def _run(
    settings: Settings, index_name: str, pipeline: str, watch: Watch, wrapper: type[WatchedIndex]
) -> None:
    clock = SystemClock()
    index = make_index(settings.indexes[index_name], settings, clock)
    chosen = settings.pipelines[pipeline]
    source = make_source(chosen, settings, index, clock)
    alone = replace(
        settings, pipelines={pipeline: chosen}, indexes={index_name: settings.indexes[index_name]}
    )
    ingester = build_ingester(
        alone,
        metrics=Metrics(),
        health=Health(),
        sources={pipeline: WatchedSource(source, watch)},
        indexes={index_name: wrapper(index, watch)},
    )
    await ingester.run(until_finished=True)


def _documents(directory: Path) -> int:
    """What a search for everything finds."""
    from headrace.index.tantivy import open_reader

    reader = open_reader(directory)
    try:
        return reader.count(None)
    finally:
        reader.close()
