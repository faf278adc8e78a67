"""Searches of one commit: every call on a view is answered by the same documents, however long it is held."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Final

import msgspec
import polars as pl
import tantivy
from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import Field, FieldType
from headrace.index.base import Hit, SearchRequest, SearchResult, SortKey, View
from headrace.index.query import tree, values
from headrace.index.query.bounds import PER_HIT, hold
from headrace.index.query.parse import parse_query
from headrace.index.query.source import filtered, values_at
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy import scored
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.highlight import Highlighter, highlighter
from headrace.index.tantivy.positions import read_positions, watermarks
from headrace.index.tantivy.snapshot import EVERYTHING, Snapshot, guarded
from headrace.index.tantivy.sorting import LARGEST_PAGE, Sorted, walk
from headrace.index.tantivy.targets import resolve
from headrace.model import Json, Watermarks

BY_SCORE: Final = "_score"
FRAME_BYTES: Final = 16 << 20
"""Of sources in one frame of a scan, from which on it is full; the documents may have 16 MiB each."""

FIRST_STEP: Final = 8
"""Documents read before it is known how large they are."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A search under way: its node and queries (`hits` is `all` narrowed by the post filter)."""

    request: SearchRequest
    node: tree.Node
    all: Query
    hits: Query
    marks: Highlighter | None


class TantivyView:
    """One commit of an index directory."""

    def __init__(self, snapshot: Snapshot, fields: Mapping[str, Field]) -> None:
        self.snapshot = snapshot
        self._fields = fields

    @property
    def fields(self) -> Mapping[str, Field]:
        return self._fields

    def search(self, request: SearchRequest) -> SearchResult:
        """Hits, total and aggregations. Raises RequestError."""
        _check_window(request)
        if request.now is None:
            request = replace(request, now=time.time_ns() // 1000)
        page = self._page(request)
        total, hits = self._hits(page)
        found = None
        if request.aggregations:
            # Imported by the first search that asks for some: a service is ready without them.
            from headrace.index.tantivy.aggregations import aggregate

            found = aggregate(
                self.snapshot,
                page.all,
                request.aggregations,
                lambda seqs: _answers(self.snapshot, seqs),
                request.now,
            )
        scores = [hit.score for hit in hits if hit.score is not None]
        return SearchResult(total, hits, max(scores) if scores and not request.start else None, found)

    def misfits(self, names: Collection[str]) -> list[str]:
        """Declared fields among these names with values that did not fit their type."""
        targets = []
        for name in names:
            with suppress(RequestError):  # the aggregation itself says what is wrong with the name
                targets.append(resolve(self.snapshot, name))
        paths = {target.path for target in targets if target.column not in (None, engine.ID, engine.SEQ)}
        return sorted(path for path in paths if self.snapshot.has_misfits(path))

    def apart(self, fields: Sequence[str]) -> list[View]:
        """A view for each combination of fields whose values are beside them."""
        present = {path: Query.exists_query(resolve(self.snapshot, path).dynamic) for path in fields}
        views: list[View] = []
        for chosen in product((False, True), repeat=len(fields)):
            beside = frozenset(path for path, is_beside in zip(fields, chosen, strict=True) if is_beside)
            clauses = [(Occur.Must, Query.all_query())] + [
                (Occur.Must if path in beside else Occur.MustNot, query) for path, query in present.items()
            ]
            only = Query.const_score_query(Query.boolean_query(clauses), 0.0)
            views.append(TantivyView(self.snapshot.part(only, beside), self._fields))
        return views

    def _page(self, request: SearchRequest) -> _Page:
        snapshot = self.snapshot
        node = parse_query(request.query)
        query = compile_query(snapshot, node, request.now)
        if request.min_score is not None:
            query = scored.at_least(snapshot, query, request.min_score)
        hits = query
        if request.post_filter is not None:
            condition = compile_query(snapshot, parse_query(request.post_filter), request.now)
            hits = scored.within(query, condition)
        marks = highlighter(snapshot, request.highlight, node) if request.highlight else None
        return _Page(request, node, query, hits, marks)

    def _hits(self, page: _Page) -> tuple[int, list[Hit]]:
        request = page.request
        if not request.sort and request.search_after is None:
            return self._best(page)
        total = self.snapshot.count(page.hits) if request.count else 0
        if not request.size:
            return total, []
        if _by_score(request):
            return total, self._scored(page)
        found = self._sorted(page)
        return total, self._with_scores(page, found) if request.scores else found

    def _best(self, page: _Page) -> tuple[int, list[Hit]]:
        """In the engine's own order: by score, ties in an order that lasts as long as the view."""
        request, snapshot = page.request, self.snapshot
        limit, count = max(request.size, 1), request.count
        total = 0
        if page.hits is EVERYTHING:
            # Nothing that only the engine could refuse; all are counted at once.
            total, count = snapshot.count(page.hits) if count else 0, False
            if not request.size:
                return total, []
        found: Any = guarded(
            lambda: snapshot.searcher.search(
                snapshot.visible(page.hits), limit, count=count, offset=request.start
            )
        )
        hits = [
            _hit(snapshot.document(address), request, page.marks, score, ())
            for score, address in found.hits[: request.size]
        ]
        return found.count or total, hits

    def _scored(self, page: _Page) -> list[Hit]:
        request = page.request
        found = scored.walk_scores(
            self.snapshot,
            page.hits,
            request.sort[1:],
            request.search_after,
            request.start + request.size,
            constant=scored.is_constant(page.node),
        )
        places = found[request.start : request.start + request.size]
        documents = _documents(self.snapshot, [place.seq for place in places], held=True)
        return [_hit(documents[place.seq], request, page.marks, place.score, place.keys) for place in places]

    def _with_scores(self, page: _Page, hits: Sequence[Hit]) -> list[Hit]:
        scores = scored.scores_of(self.snapshot, page.hits, [hit.seq for hit in hits])
        return [replace(hit, score=scores.get(hit.seq)) for hit in hits]

    def _sorted(self, page: _Page) -> list[Hit]:
        request, snapshot = page.request, self.snapshot
        wanted = request.start + request.size
        places = walk(snapshot, page.hits, request.sort, request.search_after, wanted)
        several = _SeveralValues(snapshot, request.sort)
        found: list[Hit] = []
        skipped = 0
        while len(found) < request.size:
            chunk = _take(places, wanted - skipped - len(found))
            if not chunk:
                break
            documents = _documents(snapshot, [place.seq for place in chunk], held=True)
            for place in chunk:
                document = documents[place.seq]
                if several.elsewhere(place, document):
                    continue
                if skipped < request.start:
                    skipped += 1
                    continue
                found.append(_hit(document, request, page.marks, None, place.keys))
        return found

    def get(self, ids: Sequence[str]) -> list[Hit | None]:
        """The documents of these ids in the order asked, None for one there is not."""
        return [self._one(self.snapshot, name) for name in ids]

    def _one(self, snapshot: Snapshot, name: str) -> Hit | None:
        query = snapshot.visible(Query.term_query(snapshot.schema, engine.ID, name))
        hits = guarded(lambda: snapshot.searcher.search(query, 1, count=False)).hits
        return _hit(snapshot.document(hits[0][1]), SearchRequest(), None, None, ()) if hits else None

    def count(self, query: Json) -> int:
        return self.snapshot.count(compile_query(self.snapshot, parse_query(query)))

    def scan(self, query: Json, batch: int) -> Iterator[pl.DataFrame]:
        """Frames with `_id`, `_seq`, `_source` of all matching documents, by `_seq`."""
        compiled = compile_query(self.snapshot, parse_query(query))
        return _frames(self.snapshot, compiled, min(max(batch, 1), LARGEST_PAGE))

    def watermarks(self) -> Watermarks:
        """How far each partition is in this commit."""
        return self._watermarks

    @cached_property
    def _watermarks(self) -> Watermarks:
        return watermarks(read_positions(self.snapshot.index, self.snapshot.searcher))


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
            inside = values_at(source, target.path_in_source)
            found = target.values([value for value in inside if value is not None])
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
    if request.collapse is not None:
        raise RequestError(400, "illegal_argument_exception", "[collapse] is for searches over HTTP")
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


def _by_score(request: SearchRequest) -> bool:
    """Whether hits go by descending score first; nothing else can be done with a score."""
    if not request.sort:
        raise RequestError(
            400,
            "illegal_argument_exception",
            "[search_after] needs a [sort], the one of the page before; by score: [sort: _score]",
        )
    first, *others = request.sort
    if any(key.field == BY_SCORE for key in others) or (first.field == BY_SCORE and not first.descending):
        raise RequestError(
            400, "illegal_argument_exception", "[_score] can be sorted by only as the first key, descending"
        )
    return first.field == BY_SCORE


def _take(places: Iterator[Sorted], count: int) -> list[Sorted]:
    found = []
    for _ in range(count):
        place = next(places, None)
        if place is None:
            break
        found.append(place)
    return found


def _documents(snapshot: Snapshot, seqs: Sequence[int], *, held: bool = False) -> dict[int, tantivy.Document]:
    """`_seq` → its stored fields; `held`: counted, since they are kept together with what is made of them."""
    if not seqs:
        return {}
    query = Query.term_set_query(snapshot.schema, engine.SEQ, list(seqs))
    hits = guarded(lambda: snapshot.searcher.search(query, len(seqs), count=False)).hits
    found = {}
    for _, address in hits:
        document = snapshot.document(address)
        if held:
            hold(len(_source(document)))
        found[int(document.get_first(engine.SEQ) or 0)] = document
    return found


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
    marked = sum(len(text) for texts in highlight.values() for text in texts)
    long = sum(len(key) for key in keys if isinstance(key, str))
    hold(PER_HIT + 2 * (len(source) + marked + long))  # once as found, once more as it is sent
    name, seq = str(document.get_first(engine.ID)), int(document.get_first(engine.SEQ) or 0)
    return Hit(name, seq, source, score, keys, highlight)


def _answers(snapshot: Snapshot, seqs: list[int]) -> list[dict[str, Any]]:
    """Hits inside `top_hits`, as they are answered."""
    documents = _documents(snapshot, seqs, held=True)
    hits = [_hit(documents[seq], SearchRequest(), None, None, ()) for seq in seqs]
    return [{"_id": hit.id, "_score": None, "_source": msgspec.Raw(hit.source)} for hit in hits]


def _frames(snapshot: Snapshot, query: Query, batch: int) -> Iterator[pl.DataFrame]:
    """Frames of `batch` documents, of fewer where these are large."""
    places = walk(snapshot, query, (), None, batch)
    rows: list[tuple[str, int, str]] = []
    size, step = 0, FIRST_STEP
    while chunk := _take(places, min(step, batch - len(rows))):
        documents = _documents(snapshot, [place.seq for place in chunk])
        for place in chunk:
            document = documents[place.seq]
            rows.append((str(document.get_first(engine.ID)), place.seq, _source(document).decode()))
            size += len(rows[-1][2])
        usual = max(size // len(rows), 1)
        if len(rows) == batch or size >= FRAME_BYTES:
            yield _frame(rows)
            rows, size = [], 0
        # As many at once as fill the frame, if they are like those before.
        step = max(1, (FRAME_BYTES - size) // usual)
    if rows:
        yield _frame(rows)


def _frame(rows: Sequence[tuple[str, int, str]]) -> pl.DataFrame:
    columns = {engine.ID: pl.String, engine.SEQ: pl.Int64, engine.SOURCE: pl.String}
    return pl.DataFrame(rows, schema=columns, orient="row")
