"""Buckets that are queries: `filter`, `filters`, `missing`, and `global`, which leaves the search's."""

from __future__ import annotations

from tantivy import Occur, Query

from headrace.index.query import tree
from headrace.index.query.parse import parse_query
from headrace.index.tantivy.aggregations import pipelines
from headrace.index.tantivy.aggregations.request import Json, Spec, bad
from headrace.index.tantivy.aggregations.run import QueryBuckets, Run, both
from headrace.index.tantivy.compiler import compile_query


class _Single(QueryBuckets):
    """One bucket, which is the answer itself."""

    def condition(self) -> Query:
        raise NotImplementedError

    def parts(self, query: Query) -> list[tuple[Json, Query]]:
        del query
        return [({}, self.condition())]

    def answer(self, query: Query) -> Json:
        self.run.spend_buckets(1)
        found = self.bucket({}, both(query, self.condition()))
        pipelines.beside(self.spec.siblings, found)
        return self.said(found)


class Filter(_Single):
    """The documents that one query matches."""

    def condition(self) -> Query:
        return compile_query(self.run.snapshot, parse_query(self.spec.options), self.run.now)


class Missing(_Single):
    """The documents without a value."""

    def condition(self) -> Query:
        present = compile_query(self.run.snapshot, tree.Exists(self.target().name))
        return Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, present)])


class Global(_Single):
    """All documents, whatever the search's query says."""

    def answer(self, query: Query) -> Json:
        del query
        self.run.spend_buckets(1)
        found = self.bucket({}, Query.all_query())
        pipelines.beside(self.spec.siblings, found)
        return self.said(found)


class Filters(QueryBuckets):
    """A bucket for each of several queries, by name or in order, and one for what none matches."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        known = ("filters", "other_bucket", "other_bucket_key", "keyed")
        given = self.options.get("filters")
        if not isinstance(given, dict | list) or any(option not in known for option in self.options):
            bad(
                f"aggregation [{self.name}] of type [filters] takes [filters], an object or a list of"
                " queries,"
                " [other_bucket] and [other_bucket_key], and nothing else"
            )
        self.named = isinstance(given, dict)
        pairs = given.items() if isinstance(given, dict) else [("", one) for one in given]
        self.filters = [
            (str(name), compile_query(run.snapshot, parse_query(one), run.now)) for name, one in pairs
        ]

    def parts(self, query: Query) -> list[tuple[Json, Query]]:
        del query
        found: list[tuple[Json, Query]] = [({"key": name}, one) for name, one in self.filters]
        label = self.options.get("other_bucket_key")
        if self.options.get("other_bucket") in (True, "true") or (
            label is not None and "other_bucket" not in self.options
        ):
            rest = [(Occur.Must, Query.all_query()), *((Occur.MustNot, one) for _, one in self.filters)]
            found.append(({"key": str(label or "_other_")}, Query.boolean_query(rest)))
        return found

    def keyed(self) -> bool:
        return self.named and self.options.get("keyed", True) in (True, "true")

    def unnamed(self, bucket: Json) -> Json:
        return {name: value for name, value in bucket.items() if name != "key"}

    def finished(self, answer: Json) -> Json:
        found = super().finished(answer)
        if not self.named:
            found["buckets"] = [self.unnamed(bucket) for bucket in found["buckets"]]
        return found
