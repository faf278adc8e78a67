"""One indexing run without a configuration: a source, an inferred index, a pipeline until it has finished."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import polars as pl
from anyio.from_thread import start_blocking_portal
from msgspec import to_builtins

from headrace.app import Ingester, build_ingester, own_interrupts
from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError
from headrace.core.health import Health
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.core.metrics import Metrics
from headrace.core.registry import suggest
from headrace.fields import Field, hints_of, located, parse_field
from headrace.index import tantivy
from headrace.index.tantivy import store
from headrace.infer import infer_fields, without_declared
from headrace.ingest import files
from headrace.ingest._frame import FrameSource
from headrace.ingest.base import Source, SourceContext
from headrace.layout import index_directory, run_directory
from headrace.model import RECORD, Ledger
from headrace.pipeline import capacities
from headrace.settings import IndexConfig, PipelineConfig, Settings, SettingsError
from headrace.settings.convert import convert
from headrace.settings.names import check_index_name
from headrace.settings.origin import dotted
from headrace.units import Duration, Size

log = logging.getLogger(__name__)

PIPELINE = "index"
"""Name of the one pipeline of a run without a configuration."""

WAKE_SECONDS = 0.1
"""A signal may reach another thread than the one that waits, which hears of it only when it wakes."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What an indexing run did: records of this run, and the index as it is now.

    size: bytes on disk; seconds: wall time of the run; fields: as inferred or declared
    """

    read: int
    indexed: int
    rejected: int
    documents: int
    size: int
    seconds: float
    fields: Mapping[str, Field]

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.read / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: records committed by it, and what is left (bytes; rows of a frame) where known."""

    records: int
    left: int | None


class Job:
    """One indexing run without a configuration; `progress()` may be asked from another thread."""

    def __init__(
        self,
        records: object,
        *,
        into: str | Path,
        id: str | Sequence[str] | None = None,  # noqa: A002
        name: str | None = None,
        fields: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.directory = Path(into).absolute()
        if name is not None:
            check_index_name(name)
        self.name = name or index_name(self.directory)
        self._key = [id] if isinstance(id, str) else list(id or ())
        self._declared = {key: parse_field(value) for key, value in (fields or {}).items()}
        self._clock = SystemClock()
        self._source = self._make_source(records, dict(options or {}))
        self._ingester: Ingester | None = None
        self._before = Ledger()
        self._fields: dict[str, Field] = {}

    def run(self) -> Summary:
        """Index everything; interrupted, it commits what was read. Raises HeadraceError."""
        own_interrupts()
        with start_blocking_portal() as portal:
            running = portal.start_task_soon(self._run)
            try:
                while not running.done():
                    wait([running], timeout=WAKE_SECONDS)
                return running.result()
            except KeyboardInterrupt:
                portal.call(self._stop)
                running.result()
                raise

    def progress(self) -> Progress:
        if self._ingester is None:
            return Progress(0, None)
        return Progress(self._ledger().read - self._before.read, self._source.lag())

    def _stop(self) -> None:
        if self._ingester is not None:
            self._ingester.supervisor.stop()

    def _ledger(self) -> Ledger:
        assert self._ingester is not None
        total = Ledger()
        for ledger in self._ingester.owners[self.name].watermarks.ledgers.values():
            total += ledger
        return total

    async def _run(self) -> Summary:
        started = self._clock.monotonic()
        with RoleLock(run_directory(self.directory), "ingester"):
            config = await self._index_config()
            self._ingester = build_ingester(
                self._settings(config),
                metrics=Metrics(),
                health=Health(),
                sources={PIPELINE: self._source},
            )
            self._before = await self._committed_before()
            await self._ingester.run(until_finished=True)
            keeper = self._ingester.supervisor.keepers[0]
            if keeper.error is not None:
                raise keeper.error
        after = self._ledger()
        with closing(tantivy.open_reader(index_directory(self.directory, self.name))) as reader:
            stats = reader.stats()
        return Summary(
            read=after.read - self._before.read,
            indexed=after.indexed - self._before.indexed,
            rejected=after.rejected - self._before.rejected,
            documents=stats.documents,
            size=stats.size,
            seconds=self._clock.monotonic() - started,
            fields=self._fields,
        )

    async def _committed_before(self) -> Ledger:
        total = Ledger()
        directory = index_directory(self.directory, self.name)
        if store.exists(directory):
            with closing(tantivy.open_reader(directory)) as reader:
                for ledger in reader.watermarks().ledgers.values():
                    total += ledger
        return total

    def _make_source(self, records: object, options: dict[str, object]) -> Source:
        frame = _as_frame(records)
        if frame is not None:
            return FrameSource(frame, self._clock)
        paths = [records] if isinstance(records, str | Path) else list(records)  # type: ignore[call-overload]
        given = {"paths": [str(path) for path in paths], **options}
        try:
            settings = convert(files.Settings, given, (), {})
        except SettingsError as error:
            told = "; ".join(f"{dotted(one.path)}: {one.message}" for one in error.problems)
            raise ConfigError(f"options of the files source: {told}") from None
        context = SourceContext(
            PIPELINE,
            Path.cwd(),
            self._clock,
            hints_of(self._declared),
            capacities.BATCH_BYTES,
            data_dir=self.directory,
        )
        return files.create(settings, context)

    async def _index_config(self) -> IndexConfig:
        directory = index_directory(self.directory, self.name)
        is_new = not store.exists(directory)
        is_looked_at = is_new or self._key or self._declared
        frames, texts = await self._first_records() if is_looked_at else ((), ())
        self._check_names([frame.schema for frame in frames])
        if not is_new:
            known = store.read_description(directory)
            fields, key = {**known.fields, **self._declared}, self._key or list(known.id)
        else:
            inferred = without_declared(_inferred(frames, texts), self._declared)
            fields, key = {**inferred, **self._declared}, self._key
        self._fields = fields
        written = {name: to_builtins(field) for name, field in fields.items()}
        return IndexConfig(self.name, "tantivy", tantivy.Settings(fields=written, id=key or None))

    async def _first_records(self) -> tuple[Sequence[pl.DataFrame], Collection[str]]:
        """As frames, and the names of fields that are texts whatever they hold."""
        raw = await self._source.sample()
        if raw is None:
            return (), ()
        frames = (await anyio.to_thread.run_sync(raw.decoder.decode, raw)).frames
        return frames, getattr(raw.decoder, "texts", ())

    def _check_names(self, schemas: Sequence[pl.Schema]) -> None:
        """Raises ConfigError for an id that would reject every record, or a field that cannot be there.

        A frame has all its fields; of files, only the first records are known, so a field may come later.
        """
        if not schemas:
            return
        whole = isinstance(self._source, FrameSource)
        where = "a column of the frame" if whole else "a field of the first records"
        for option, name in [*(("id", name) for name in self._key), *(("field", name) for name in self._own)]:
            if any(located(schema, name) is not None for schema in schemas):
                continue
            known = dict.fromkeys(column for schema in schemas for column in schema if column != RECORD)
            said = f"{option} {name!r} is not {where}, {suggest(name, list(known))}"
            if whole or option == "id":
                raise ConfigError(said)
            event(log.warning, "index.field_not_seen", field=name, detail=said)

    @property
    def _own(self) -> list[str]:
        """Declared fields with values of their own; others have copies of those."""
        copies = {name for field in self._declared.values() for name in field.copies}
        return [name for name, field in self._declared.items() if field.of is None and name not in copies]

    def _settings(self, config: IndexConfig) -> Settings:
        pipeline = PipelineConfig(
            name=PIPELINE,
            source_kind="files",
            source_options=None,
            steps=(),
            index=self.name,
            commit_interval=Duration("1s"),
            batch_bytes=Size(capacities.BATCH_BYTES),
            channel_records=capacities.RAW_CHANNEL_RECORDS,
            channel_bytes=Size(capacities.RAW_CHANNEL_BYTES),
            dead_letter_limit=capacities.DEAD_LETTER_LIMIT,
        )
        return Settings(
            data_dir=self.directory,
            base=Path.cwd(),
            indexes={self.name: config},
            pipelines={PIPELINE: pipeline},
        )


def _inferred(frames: Sequence[pl.DataFrame], texts: Collection[str]) -> dict[str, Field]:
    return infer_fields(max(frames, key=lambda frame: frame.height), texts) if frames else {}


def _as_frame(records: object) -> pl.DataFrame | None:
    """A Polars frame as it is; whatever speaks Arrow (pandas, PyArrow, DuckDB…) without a copy."""
    if isinstance(records, pl.DataFrame):
        return records
    if isinstance(records, pl.LazyFrame):
        return records.collect()
    if hasattr(records, "__arrow_c_stream__"):
        return pl.DataFrame(records)
    return None


def index_name(directory: Path) -> str:
    """An index name made from a folder's: lower case, plain letters."""
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in directory.name.lower()).strip("-_+.")
    return plain or "records"
