"""Headrace from Python: `headrace.index(…)` builds an index, `headrace.open(…)` searches one.

Plain synchronous calls, safe inside a running event loop (a notebook): what is asynchronous inside runs in
a thread of its own. `headrace.aio` has the same names as coroutines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import anyio
import polars as pl
from anyio.from_thread import start_blocking_portal
from msgspec import convert, to_builtins

from headrace.app import Ingester, build_ingester, index_directory, run_directory
from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError
from headrace.core.health import Health
from headrace.core.lock import RoleLock
from headrace.core.metrics import Metrics
from headrace.core.registry import suggest
from headrace.fields import Field, parse_field
from headrace.index import tantivy
from headrace.index.tantivy import store
from headrace.infer import infer_fields
from headrace.ingest import files
from headrace.ingest._frame import FrameSource
from headrace.ingest.base import Source, SourceContext
from headrace.model import Json, Ledger
from headrace.pipeline import capacities
from headrace.settings import IndexConfig, PipelineConfig, Settings
from headrace.units import Duration, Size, decode

if TYPE_CHECKING:
    from headrace.result import Result

PIPELINE = "index"
"""Name of the one pipeline of a run without a configuration."""


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


Paths = str | Path | Sequence[str | Path]


def index(
    records: pl.DataFrame | Paths,
    *,
    into: str | Path,
    id: str | Sequence[str] | None = None,  # noqa: A002  the word users know
    name: str | None = None,
    fields: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> Index:
    """Index a frame or files into the folder `into`, and open it for searching.

    Exactly once: running it again with the same records adds nothing. Fields are inferred from the
    first 10,000 records unless `fields` declares them (`{"origin": "keyword"}`); an index that is there
    keeps its own. `id` names the field or fields that identify a record: later records replace earlier
    ones. `options` go to the files source (`{"format": "csv"}`). A pandas frame or an Arrow table is
    taken as it is.

    Raises ConfigError for options that cannot be used, Fatal if the records cannot be read or stored.
    """
    job = Job(records, into=into, id=id, name=name, fields=fields, options=options)
    job.run()
    return open(into, name=job.name)


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
        self.name = name or index_name(self.directory)
        self._id = id
        self._declared = {key: parse_field(value) for key, value in (fields or {}).items()}
        self._clock = SystemClock()
        self._source = self._make_source(records, dict(options or {}))
        self._ingester: Ingester | None = None
        self._before = Ledger()
        self._fields: dict[str, Field] = {}

    def run(self) -> Summary:
        """Index everything; interrupted, it commits what was read. Raises HeadraceError."""
        with start_blocking_portal() as portal:
            running = portal.start_task_soon(self._run)
            try:
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
        settings = convert({"paths": [str(path) for path in paths], **options}, files.Settings, dec_hook=decode)
        context = SourceContext(PIPELINE, Path.cwd(), self._clock, {}, capacities.BATCH_BYTES)
        return files.create(settings, context)

    async def _index_config(self) -> IndexConfig:
        directory = index_directory(self.directory, self.name)
        if store.exists(directory):
            known = store.read_description(directory)
            fields, key = {**known.fields, **self._declared}, self._id or list(known.id)
        else:
            fields, key = {**await self._inferred(), **self._declared}, self._id
        self._fields = fields
        written = {name: to_builtins(field) for name, field in fields.items()}
        return IndexConfig(self.name, "tantivy", tantivy.Settings(fields=written, id=key or None))

    async def _inferred(self) -> dict[str, Field]:
        raw = await self._source.sample()
        if raw is None:
            return {}
        frames = (await anyio.to_thread.run_sync(raw.decoder.decode, raw)).frames
        return infer_fields(max(frames, key=lambda frame: frame.height)) if frames else {}

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


def open(where: str | Path, *, name: str | None = None) -> Index:  # noqa: A001  as `gzip.open`, under our name
    """The index in the folder `where` (made by `index` or by the service), or at `http://host:port`.

    `name` chooses where there are several. Raises ConfigError if there is none.
    """
    if str(where).startswith(("http://", "https://")):
        from headrace.remote import RemoteReader

        return Index(RemoteReader(str(where), name))
    return Index(tantivy.open_reader(find_index(Path(where), name)))


def find_index(directory: Path, name: str | None = None) -> Path:
    """The folder of an index: `directory` itself, or the one index of that data_dir."""
    if (directory / "index.json").is_file():
        return directory
    found = {path.parent.name: path.parent for path in directory.glob("indexes/*/index.json")}
    if name is not None and name in found:
        return found[name]
    if name is not None:
        raise ConfigError(f"no index {name!r} in {directory}, {suggest(name, list(found))}")
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise ConfigError(f"no index in {directory}; make one with `headrace index FILES --into {directory}`")
    raise ConfigError(f"{directory} holds {len(found)} indexes, name one: {', '.join(sorted(found))}")


class Searchable(Protocol):
    """An index in a folder or behind HTTP: both answer Elasticsearch's search body."""

    def search(self, body: Mapping[str, Json]) -> Result: ...

    def document(self, name: str) -> Json:
        """The document with this id, or None."""
        ...

    def close(self) -> None: ...


class Index:
    """An index opened for searching; every call sees the newest commit. Close it, or use it as a context."""

    def __init__(self, reader: Searchable) -> None:
        self._reader = reader

    def search(
        self, query: str | Mapping[str, Json] | None = None, *, size: int = 10, sort: str = ""
    ) -> Result:
        """Hits of a query: the query string of the search box, or an Elasticsearch search body.

        A mapping is a whole body (`{"query": …, "aggs": …}`); `size` and `sort` ("field:desc,other")
        belong to query strings. Raises RequestError for what cannot be answered.
        """
        if isinstance(query, Mapping):
            return self._reader.search(query)
        body: dict[str, Json] = {"size": size}
        if query:
            body["query"] = {"query_string": {"query": query}}
        if sort:
            body["sort"] = [_sort_key(key) for key in sort.split(",")]
        return self._reader.search(body)

    def count(self, query: str | None = None) -> int:
        """How many documents match."""
        return self.search(query, size=0).total

    def get(self, id: str) -> Json:  # noqa: A002
        """The document with this id as it was stored, or None."""
        return self._reader.document(id)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sort_key(text: str) -> Json:
    name, _, order = text.strip().partition(":")
    return {name: {"order": order or "asc"}}
