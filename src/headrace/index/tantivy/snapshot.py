"""One commit of an index as queries see it: a searcher, the schema, and the dynamic fields there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, TypeVar

import tantivy
from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy import unlisted
from headrace.index.tantivy.damage import is_told_of

T = TypeVar("T")

EXPANSIONS: Final = 10_000
"""Distinct values a pattern over a dynamic field may match; a declared keyword has no such limit."""


EVERYTHING: Final = Query.all_query()
"""The one that asks for all documents, known by its identity: queries cannot be looked into."""

PANIC: Final = "engine_panic"
DAMAGED: Final = "corrupt_index_exception"
"""Elasticsearch's name for an index whose files cannot be read."""


def in_engine(path: str) -> str:
    """A path in the dynamic pair as the engine reads names: a backslash escapes what comes after it."""
    return path.replace("\\", "\\\\")


def guarded(call: Callable[[], T]) -> T:
    """Run the engine, whose panics are no `Exception`s; what it refuses is a RequestError."""
    try:
        return call()
    except (RequestError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Exception as error:
        if is_told_of(error):
            reason = f"the index cannot be read: {error}; see headrace verify"
            raise RequestError(500, DAMAGED, reason) from error
        raise RequestError(400, "illegal_argument_exception", f"the engine refused: {error}") from error
    except BaseException as error:
        raise RequestError(500, PANIC, f"the engine panicked: {error}") from error


class Snapshot:
    """A searcher, which never changes, and what can be asked of it. Safe to share between threads."""

    def __init__(
        self,
        index: tantivy.Index,
        fields: engine.EngineSchema,
        searcher: tantivy.Searcher | None = None,
        only: Query | None = None,
        beside: frozenset[str] = frozenset(),
    ) -> None:
        """`only`: the documents seen; `beside`: declared fields whose values are all in the dynamic pair."""
        self.index = index
        self.searcher = searcher or index.searcher()
        self.only = only
        self.beside = beside
        self.schema = index.schema
        self.fields = fields
        self._single: dict[str, bool] = {}
        self._misfits: dict[str, bool] = {}
        self.kinds: dict[str, frozenset[Any]] = {}

    def visible(self, query: Query) -> Query:
        """The query, blind to position documents (PROTOCOL 3)."""
        if self.only is not None:
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, self.only)])
        return engine.exclude_positions(query, self.schema)

    def part(self, only: Query, beside: frozenset[str]) -> Snapshot:
        """The same commit, of these documents alone."""
        return Snapshot(self.index, self.fields, self.searcher, only, beside)

    def count(self, query: Query) -> int:
        """How many documents match. Of all of them in no time, else the engine looks at each that does."""
        if query is EVERYTHING and self.only is None:
            return self.searcher.num_docs - self._counted(engine.positions_query(self.schema))
        return self._counted(self.visible(query))

    def _counted(self, query: Query) -> int:
        result: Any = guarded(lambda: self.searcher.search(query, 1, count=True))
        return int(result.count)

    def document(self, address: tantivy.DocAddress) -> tantivy.Document:
        """What is stored of one document."""
        return guarded(lambda: self.searcher.doc(address))

    def aggregate(self, query: Query, request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = guarded(lambda: self.searcher.aggregate(self.visible(query), request))
        return found

    def single_valued(self, column: str) -> bool:
        """Whether no document has two values in this column; counted once per commit."""
        if column not in self._single:
            found = self.aggregate(Query.all_query(), {"n": {"value_count": {"field": column}}})["n"]["value"]
            self._single[column] = int(found) == self.count(Query.exists_query(column))
        return self._single[column]

    def has_misfits(self, path: str) -> bool:
        """Whether values of a declared field that did not fit it are in the dynamic pair; once per commit."""
        if path not in self._misfits:
            name = f"{engine.DYNAMIC}.{in_engine(path)}"
            self._misfits[path] = self.count(guarded(lambda: Query.exists_query(name))) > 0
        return self._misfits[path]

    @cached_property
    def dynamic_values(self) -> dict[str, list[Any]]:
        """Every path of the dynamic pair, with values of it where the sampled documents have some.

        The paths are complete: a segment's columns are listed with any document of it (`top_hits` with a
        pattern of field names), so one document of each segment is asked.
        """
        seqs = self._one_of_each_segment()
        try:
            found = self._columns(seqs) if seqs else {}
        except RequestError as error:
            if error.kind != PANIC:
                raise
            found = unlisted.dynamic_values(self, error.reason)
        return dict(sorted(found.items()))

    def _columns(self, seqs: list[int]) -> dict[str, list[Any]]:
        # The pattern has to match something in every segment, or the engine panics: `_seq` always does.
        top = {"size": len(seqs), "sort": [{engine.SEQ: "asc"}], "docvalue_fields": ["_*"]}
        sample = Query.term_set_query(self.schema, engine.SEQ, seqs)
        hits = self.aggregate(sample, {"top": {"top_hits": top}})["top"]["hits"]
        found: dict[str, list[Any]] = {}
        for hit in hits:
            for name, values in hit["docvalue_fields"].items():
                if name.startswith(f"{engine.DYNAMIC}."):
                    found.setdefault(name.removeprefix(f"{engine.DYNAMIC}."), []).extend(values)
        return found

    def _one_of_each_segment(self) -> list[int]:
        hits = guarded(lambda: self.searcher.search(self.visible(Query.all_query()), 1)).hits
        if not hits:
            return []
        seen: dict[int, int] = {}
        everything = self.searcher.num_docs
        limit = 64
        while len(seen) < self.searcher.num_segments:
            for _, address in self.searcher.search(self.visible(Query.all_query()), limit).hits:
                if address.segment_ord not in seen:
                    seen[address.segment_ord] = self.document(address).to_dict()[engine.SEQ][0]
            if limit >= everything:
                break
            limit = min(limit * 64, everything)
        return list(seen.values())

    def expand(self, path: str, regex: str) -> list[str]:
        """Texts of a dynamic field that match; too many are an error, never a part of them."""
        terms = {"field": f"{engine.DYNAMIC}.{in_engine(path)}", "include": regex, "size": EXPANSIONS + 1}
        found = self.aggregate(Query.all_query(), {"t": {"terms": terms}})["t"]["buckets"]
        if len(found) > EXPANSIONS:
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"the pattern matches more than {EXPANSIONS} values of the dynamic field [{path}]; "
                "declare the field as keyword or text, or narrow the pattern",
            )
        return [bucket["key"] for bucket in found if isinstance(bucket["key"], str)]
