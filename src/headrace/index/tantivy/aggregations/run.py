"""One level of aggregations at a time: in the engine's request if all below can go along, else by queries.

Three facts shape this. The engine answers a tree of its own aggregations in one pass over the documents; what
it does not have (`filters`, calendar months, top hits by several keys) is asked for each bucket with a query
that means that bucket. And what an empty bucket contains is what the same aggregations say of no document.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.index.query import values
from headrace.index.query.bounds import CURRENT, PER_BUCKET, hold
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.aggregations import pipelines
from headrace.index.tantivy.aggregations.request import Json, Spec, bad
from headrace.index.tantivy.snapshot import Snapshot
from headrace.index.tantivy.targets import Target, resolve

MOST_BUCKETS: Final = 65_536
"""As in Elasticsearch."""

MOST_QUERIES: Final = 20_000
"""Queries of one request, for parts that the engine cannot nest: some seconds of work at most."""

FetchHits = Callable[[list[int]], list[Json]]
"""`_seq`s → hits as the search answers them, in the same order."""

Reader = Callable[[Json], Json]
"""The engine's answer → Elasticsearch's."""

CONDITION: Final = object()
"""The key under which an unfinished bucket has the query that means it."""


def both(*queries: Query) -> Query:
    """The first query, and only documents that match the others too."""
    first, *others = queries
    conditions = [(Occur.Must, Query.const_score_query(other, 0.0)) for other in others]
    return Query.boolean_query([(Occur.Must, first), *conditions])


class Run:
    """One request on one snapshot: what its plans share, and the bounds of its work."""

    def __init__(
        self, snapshot: Snapshot, hits: FetchHits, now: int, make: Callable[[Run, Spec], Plan]
    ) -> None:
        self.snapshot = snapshot
        self.hits = hits
        self.now = now
        self._make = make
        self.nested = 0
        self._buckets = 0
        self._queries = 0

    def plans(self, specs: Iterable[Spec]) -> list[Plan]:
        return [self._make(self, spec) for spec in specs]

    def inside(self, specs: Iterable[Spec]) -> list[Plan]:
        """Plans of what is in each of the engine's buckets: they multiply, so none may be large itself."""
        self.nested += 1
        try:
            return self.plans(specs)
        finally:
            self.nested -= 1

    def answers(self, query: Query, plans: Sequence[Plan]) -> Json:
        """The answers of one level, by name."""
        asked = {plan.name: plan.ask(query) for plan in plans if plan.pushed}
        raw = self.engine(query, {name: request for name, (request, _) in asked.items()}) if asked else {}
        found = {name: reader(raw[name]) for name, (_, reader) in asked.items()}
        return {plan.name: found[plan.name] if plan.pushed else plan.answer(query) for plan in plans}

    def engine(self, query: Query, request: Json) -> Json:
        self.spend_query()
        try:
            return self.snapshot.aggregate(query, request)
        except RequestError as error:
            if "bucket limit was exceeded" in error.reason or "memory limit" in error.reason.lower():
                too_many_buckets(MOST_BUCKETS + 1)
            raise

    def count(self, query: Query) -> int:
        self.spend_query()
        return self.snapshot.count(query)

    def spend_query(self) -> None:
        self._queries += 1
        if self._queries > MOST_QUERIES:
            bad(
                f"these aggregations take more than {MOST_QUERIES} queries; put [filters], [filter],"
                " [top_hits]"
                " and [top_metrics] outside of the many buckets, or ask for fewer buckets",
                "too_many_buckets_exception",
            )

    def spend_buckets(self, count: int) -> None:
        self._buckets += count
        if self._buckets > min(MOST_BUCKETS, CURRENT.get().buckets):
            too_many_buckets(self._buckets)
        hold(PER_BUCKET * count)


def too_many_buckets(count: int) -> None:
    most = min(MOST_BUCKETS, CURRENT.get().buckets)
    raise RequestError(
        400,
        "too_many_buckets_exception",
        f"Trying to create too many buckets. Must be less than or equal to: [{most}] but was"
        f" [{count}];"
        " use a longer interval, a smaller size, or a narrower query",
    )


class Plan(ABC):
    """One aggregation of a request, ready to be answered for any query.

    pushed: it and all below can be a part of the engine's own request (`ask`); else `answer` does it
    """

    pushed: bool = True

    def __init__(self, run: Run, spec: Spec) -> None:
        self.run = run
        self.spec = spec
        self.name = spec.name
        self.options: Mapping[str, Any] = spec.options

    @abstractmethod
    def ask(self, query: Query) -> tuple[Json, Reader]:
        """The engine's request, and how its answer is read."""

    def answer(self, query: Query) -> Json:
        request, reader = self.ask(query)
        return reader(self.run.engine(query, {"x": request})["x"])

    def target(self, options: Mapping[str, Any] | None = None) -> Target:
        given = (self.options if options is None else options).get("field")
        if not isinstance(given, str) or not given:
            bad(f"aggregation [{self.name}] of type [{self.spec.kind}] needs a [field]")
        return resolve(self.run.snapshot, given)

    def said(self, answer: Json) -> Json:
        """The answer with the request's `meta`."""
        return answer if self.spec.meta is None else {"meta": self.spec.meta, **answer}


class Buckets(Plan):
    """An aggregation with others inside; a subclass says what its buckets are.

    many: the engine makes the buckets, as many as there are values
    """

    many: bool = False

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.inner = (run.inside if self.many else run.plans)(spec.inner)
        self._none: Json | None = None
        self._inside = 0

    def empty(self) -> Json:
        """What is inside an empty bucket."""
        if not self.inner:
            return {}
        if self._none is None:
            self._none = self.run.answers(Query.empty_query(), self.inner)
            self._inside = _buckets_in(self._none)
        self.run.spend_buckets(self._inside)
        hold(PER_BUCKET)
        return copy.deepcopy(self._none)

    def finished(self, answer: Json) -> Json:
        """The answer once all its buckets have their insides: pipelines, names as keys, `meta`."""
        buckets = answer["buckets"]
        self.run.spend_buckets(len(buckets))
        for bucket in buckets:
            bucket.pop(CONDITION, None)
            pipelines.beside(self.spec.siblings, bucket)
        answer["buckets"] = pipelines.over(self.spec.pipelines, buckets, self.options)
        if self.keyed():
            answer["buckets"] = {
                str(bucket.get("key_as_string", bucket.get("key"))): self.unnamed(bucket)
                for bucket in answer["buckets"]
            }
        return self.said(answer)

    def keyed(self) -> bool:
        return self.options.get("keyed") in (True, "true")

    def unnamed(self, bucket: Json) -> Json:
        return bucket


def _buckets_in(answer: Any) -> int:
    """All buckets of an answer, at every level."""
    if isinstance(answer, list):
        return sum(map(_buckets_in, answer))
    if not isinstance(answer, dict):
        return 0
    own = answer.get("buckets")
    return (len(own) if isinstance(own, list | dict) else 0) + sum(map(_buckets_in, answer.values()))


class EngineBuckets(Buckets):
    """Buckets that the engine makes; what it cannot nest in them is asked for each bucket."""

    many = True

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.within = [plan for plan in self.inner if plan.pushed]
        self.beyond = [plan for plan in self.inner if not plan.pushed]
        self.pushed = not self.beyond

    @abstractmethod
    def own(self, query: Query) -> tuple[Json, Reader]:
        """The request without what is inside, and how its buckets are read (each with its CONDITION)."""

    def ask(self, query: Query) -> tuple[Json, Reader]:
        request, reader = self.unfinished(query)
        return request, lambda raw: self.finished(reader(raw))

    def answer(self, query: Query) -> Json:
        request, reader = self.unfinished(query)
        found = reader(self.run.engine(query, {"x": request})["x"])
        for bucket in found["buckets"]:
            if bucket["doc_count"]:
                bucket.update(self.run.answers(both(query, bucket[CONDITION]()), self.beyond))
            else:
                bucket.update(self.empty())
        return self.finished(found)

    def unfinished(self, query: Query) -> tuple[Json, Reader]:
        """The engine's request, and how its buckets are read before `finished`."""
        asked = {plan.name: plan.ask(query) for plan in self.within}
        request, reader = self.own(query)
        if asked:
            request["aggs"] = {name: part for name, (part, _) in asked.items()}

        def read(raw: Json) -> Json:
            for bucket in raw["buckets"]:
                for name, (_, inside) in asked.items():
                    bucket[name] = inside(bucket[name])
            return reader(raw)

        return request, read


class QueryBuckets(Buckets):
    """Buckets that are queries, each asked by itself."""

    pushed = False

    @abstractmethod
    def parts(self, query: Query) -> list[tuple[Json, Query]]:
        """Each bucket's own keys, and the query that means it (not restricted to `query` yet)."""

    def ask(self, query: Query) -> tuple[Json, Reader]:
        raise NotImplementedError

    def answer(self, query: Query) -> Json:
        return self.finished(
            {"buckets": [self.bucket(keys, both(query, part)) for keys, part in self.parts(query)]}
        )

    def bucket(self, keys: Json, query: Query) -> Json:
        return {**keys, "doc_count": self.run.count(query), **self.run.answers(query, self.inner)}


def micros_of(key: Any) -> int | None:
    """Microseconds of a bucket's key where the engine means a date; None for any other text or value."""
    moment = engine.dynamic_date(key) if isinstance(key, str) else None
    return None if moment is None else values.to_micros(moment)


def millis(micros: int) -> int | float:
    """Milliseconds, whole where they are."""
    return micros // 1000 if micros % 1000 == 0 else micros / 1000
