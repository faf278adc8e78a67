"""The searching side of an index: read-only, beside a writer that may live in another process.

Each call sees the newest commit at the time it begins: `meta.json` is looked at (a stat), and the engine
reloads when it changed. Everything a call does is done on one snapshot.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import tantivy
from tantivy import Query

from headrace.core.errors import RequestError, StoreError
from headrace.fields import Field, FieldType
from headrace.index.base import Hit, IndexStats, SearchRequest, SearchResult, SortKey
from headrace.index.query import parse_query, values
from headrace.index.query.source import filtered, values_at
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.aggregations import aggregate
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.highlight import Highlighter, highlighter
from headrace.index.tantivy.positions import read_positions, watermarks
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.sorting import LARGEST_PAGE, Sorted, walk
from headrace.index.tantivy.store import ENGINE, META, open_engine, read_description
from headrace.index.tantivy.targets import resolve
from headrace.model import Json, Watermarks

BY_SCORE: Final = "_score"
RELOAD_ATTEMPTS: Final = 5
"""A merge may delete a segment between the reading of `meta.json` and the opening of its files."""


def open_reader(directory: Path) -> TantivyReader:
    """The searching side of the index in `directory`. Raises StoreError."""
    return TantivyReader(directory)


class TantivyReader:
    """Searches one index directory. Raises StoreError when there is none, or it cannot be read."""

    def __init__(self, directory: Path) -> None:
        self._engine = Path(directory) / ENGINE
        self._description = read_description(Path(directory))
        self._schema = self._description.schema
        self._index = open_engine(Path(directory))
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._snapshot: Snapshot | None = None

    @property
    def name(self) -> str:
        return self._description.name

    @property
    def fields(self) -> Mapping[str, Field]:
        return self._description.fields

    def dynamic_fields(self) -> dict[str, str]:
        """Undeclared fields that documents have, with Elasticsearch's name of what they seem to hold."""
        return {path: _seems(sample) for path, sample in self.snapshot().dynamic_values.items()}

    def snapshot(self) -> Snapshot:
        """The newest commit."""
        with self._lock:
            try:
                stat = (self._engine / META).stat()
            except OSError as error:
                raise StoreError(f"the index in {self._engine.parent} is gone: {error.strerror}") from error
            state = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if self._snapshot is None or state != self._seen:
                self._reload()
                self._snapshot = Snapshot(self._index, self._schema)
                self._seen = state
            return self._snapshot

    def _reload(self) -> None:
        for attempt in range(1, RELOAD_ATTEMPTS + 1):
            try:
                self._index.reload()
            except Exception as error:
                if attempt == RELOAD_ATTEMPTS:
                    raise StoreError(f"cannot open the newest commit in {self._engine}: {error}") from error
            else:
                return

    def search(self, request: SearchRequest) -> SearchResult:
        """Hits, total and aggregations of one snapshot. Raises RequestError."""
        _check_window(request)
        snapshot = self.snapshot()
        node = parse_query(request.query)
        query = compile_query(snapshot, node)
        marks = highlighter(snapshot, request.highlight, node) if request.highlight else None
        by_score = _by_score(request)
        if by_score:
            total, hits = self._best(snapshot, query, request, marks)
        else:
            total = snapshot.count(query) if request.count else 0
            hits = self._sorted(snapshot, query, request, marks)
        found = None
        if request.aggregations:
            found = aggregate(snapshot, query, request.aggregations, lambda seqs: _answers(snapshot, seqs))
        scores = [hit.score for hit in hits if hit.score is not None]
        return SearchResult(total, hits, max(scores) if scores and not request.start else None, found)

    def _best(
        self, snapshot: Snapshot, query: Query, request: SearchRequest, marks: Highlighter | None
    ) -> tuple[int, list[Hit]]:
        limit = max(request.size, 1)
        found: Any = guarded(
            lambda: snapshot.searcher.search(
                snapshot.visible(query), limit, count=request.count, offset=request.start
            )
        )
        hits = [
            _hit(snapshot.searcher.doc(address), request, marks, score, (score,) if request.sort else ())
            for score, address in found.hits[: request.size]
        ]
        return found.count or 0, hits

    def _sorted(
        self, snapshot: Snapshot, query: Query, request: SearchRequest, marks: Highlighter | None
    ) -> list[Hit]:
        if not request.size:
            return []
        wanted = request.start + request.size
        places = walk(snapshot, query, request.sort, request.search_after, wanted)
        several = _SeveralValues(snapshot, request.sort)
        page: list[Hit] = []
        skipped = 0
        while len(page) < request.size:
            chunk = _take(places, wanted - skipped - len(page))
            if not chunk:
                break
            documents = _documents(snapshot, [place.seq for place in chunk])
            for place in chunk:
                document = documents[place.seq]
                if several.elsewhere(place, document):
                    continue
                if skipped < request.start:
                    skipped += 1
                    continue
                page.append(_hit(document, request, marks, None, place.keys))
        return page

    def get(self, ids: Sequence[str]) -> list[Hit | None]:
        """The documents of these ids in the order asked, None for one there is not."""
        snapshot = self.snapshot()
        return [self._one(snapshot, name) for name in ids]

    def _one(self, snapshot: Snapshot, name: str) -> Hit | None:
        query = snapshot.visible(Query.term_query(snapshot.schema, engine.ID, name))
        hits = guarded(lambda: snapshot.searcher.search(query, 1, count=False)).hits
        return _hit(snapshot.searcher.doc(hits[0][1]), SearchRequest(), None, None, ()) if hits else None

    def count(self, query: Json) -> int:
        snapshot = self.snapshot()
        return snapshot.count(compile_query(snapshot, parse_query(query)))

    def scan(self, query: Json, batch: int) -> Iterator[pl.DataFrame]:
        """Frames with `_id`, `_seq`, `_source` of all matching documents of one commit, by `_seq`."""
        snapshot = self.snapshot()
        compiled = compile_query(snapshot, parse_query(query))
        return _frames(snapshot, compiled, min(max(batch, 1), LARGEST_PAGE))

    def stats(self) -> IndexStats:
        snapshot = self.snapshot()
        size = 0
        for entry in os.scandir(self._engine):
            try:
                size += entry.stat().st_size
            except FileNotFoundError:
                continue  # merged away meanwhile
        return IndexStats(snapshot.count(Query.all_query()), size, snapshot.searcher.num_segments)

    def watermarks(self) -> Watermarks:
        """How far each partition is in the commit that searches see."""
        return watermarks(read_positions(self._index, self.snapshot().searcher))

    def close(self) -> None:
        """Release the files; the reader opens them again if it is asked once more."""
        with self._lock:
            self._snapshot = None
            self._seen = None


class _SeveralValues:
    """Tells a document's place by its sort value from those by its other values (arrays of texts)."""

    def __init__(self, snapshot: Snapshot, keys: Sequence[SortKey]) -> None:
        self._keys = [
            (place, resolve(snapshot, key.field), key)
            for place, key in enumerate(keys)
            if key.field not in (engine.SEQ, "_doc", "_shard_doc", engine.ID)
        ]

    def elsewhere(self, place: Sorted, document: tantivy.Document) -> bool:
        if not self._keys:
            return False
        source = msgspec.json.decode(_source(document))
        for at, target, key in self._keys:
            found = [value for value in values_at(source, target.path) if value is not None]
            if len(found) < 2 or at >= len(place.keys) or place.keys[at] is None:
                continue
            alike = _alike(found, place.keys[at], target.kind)
            if alike and place.keys[at] != (max(alike) if key.descending else min(alike)):
                return True
        return False


def _alike(found: Sequence[Any], key: Json, kind: FieldType) -> list[Any]:
    """The values of a document that compete with a sort key; none for dates, which are settled already."""
    if kind is FieldType.DATE:
        return []
    if isinstance(key, bool):
        return [value for value in found if isinstance(value, bool)]
    if isinstance(key, str):
        return [values.as_text(value) for value in found if isinstance(value, str | int | float)]
    return [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]


def _check_window(request: SearchRequest) -> None:
    if request.start < 0 or request.size < 0:
        raise RequestError(400, "illegal_argument_exception", "[from] and [size] cannot be negative")
    if request.start + request.size > LARGEST_PAGE:
        raise RequestError(
            400,
            "illegal_argument_exception",
            "Result window is too large, from + size must be less than or equal to: "
            f"[{LARGEST_PAGE}] but was [{request.start + request.size}]; "
            "use [search_after] with a sort to go on, or a scan to read everything",
        )
    if request.search_after is not None and request.start:
        raise RequestError(400, "illegal_argument_exception", "[from] must be 0 when [search_after] is used")
    if request.search_after is not None and _by_score(request):
        raise RequestError(
            400, "illegal_argument_exception", "[search_after] needs a [sort] by fields, not by [_score]"
        )


def _by_score(request: SearchRequest) -> bool:
    if not request.sort:
        return True
    first, *others = request.sort
    return (
        first.field == BY_SCORE
        and first.descending
        and all(key.field in ("_doc", "_shard_doc", engine.SEQ) and not key.descending for key in others)
    )


def _take(places: Iterator[Sorted], count: int) -> list[Sorted]:
    found = []
    for _ in range(count):
        place = next(places, None)
        if place is None:
            break
        found.append(place)
    return found


def _documents(snapshot: Snapshot, seqs: Sequence[int]) -> dict[int, tantivy.Document]:
    """`_seq` → its stored fields."""
    if not seqs:
        return {}
    query = Query.term_set_query(snapshot.schema, engine.SEQ, list(seqs))
    hits = guarded(lambda: snapshot.searcher.search(query, len(seqs), count=False)).hits
    documents = (snapshot.searcher.doc(address) for _, address in hits)
    return {int(document.get_first(engine.SEQ) or 0): document for document in documents}


def _source(document: tantivy.Document) -> bytes:
    return bytes(document.get_first(engine.SOURCE) or b"{}")


def _hit(
    document: tantivy.Document,
    request: SearchRequest,
    marks: Highlighter | None,
    score: float | None,
    keys: tuple[Json, ...],
) -> Hit:
    source = _source(document)
    highlight = marks.apply(msgspec.json.decode(source)) if marks else {}
    if isinstance(request.source, tuple):
        source = filtered(source, request.source)
    name, seq = str(document.get_first(engine.ID)), int(document.get_first(engine.SEQ) or 0)
    return Hit(name, seq, source, score, keys, highlight)


def _answers(snapshot: Snapshot, seqs: list[int]) -> list[dict[str, Any]]:
    """Hits inside `top_hits`, as they are answered."""
    documents = _documents(snapshot, seqs)
    hits = [_hit(documents[seq], SearchRequest(), None, None, ()) for seq in seqs]
    return [{"_id": hit.id, "_score": None, "_source": msgspec.Raw(hit.source)} for hit in hits]


def _frames(snapshot: Snapshot, query: Query, batch: int) -> Iterator[pl.DataFrame]:
    places = walk(snapshot, query, (), None, batch)
    while chunk := _take(places, batch):
        documents = _documents(snapshot, [place.seq for place in chunk])
        ordered = [documents[place.seq] for place in chunk]
        yield pl.DataFrame(
            {
                engine.ID: [document.get_first(engine.ID) for document in ordered],
                engine.SEQ: [place.seq for place in chunk],
                engine.SOURCE: [_source(document).decode() for document in ordered],
            },
            schema={engine.ID: pl.String, engine.SEQ: pl.Int64, engine.SOURCE: pl.String},
        )


def _seems(sample: Sequence[Any]) -> str:
    """The Elasticsearch type of a dynamic field's values."""
    if not sample:
        return "keyword"
    if all(isinstance(value, bool) for value in sample):
        return "boolean"
    if all(isinstance(value, int | float) for value in sample):
        return "long" if all(float(value).is_integer() for value in sample) else "double"
    if all(isinstance(value, str) and engine.dynamic_date(value) for value in sample):
        return "date"
    return "text"
