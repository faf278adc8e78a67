"""What one search may cost: set by the server for each request, held where queries and aggregations are read.

Without a server (a search in a folder) the bounds are the largest there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from headrace.core.errors import RequestError
from headrace.index.query.tree import Ids, Terms


@dataclass(frozen=True, slots=True)
class Bounds:
    """clauses, aggregations: of all levels together; terms: of one query; depth: levels of queries"""

    clauses: int = 16_384
    depth: int = 40
    terms: int = 65_536
    aggregations: int = 1_000
    buckets: int = 65_536


class Held:
    """Bytes that one request holds until it is answered, as far as they are counted; `most` may be.

    What is only passed through (a scan) is not counted, nor what the engine holds while it works."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0

    def take(self, size: int) -> None:
        """Raises RequestError 400 where it becomes too much; what is held goes with the request."""
        self.size += size
        if self.size > self.most:
            told = (
                f"the search holds more than {self.most} bytes for its answer; ask for a smaller [size], for "
                "less of [_source], or for fewer buckets; read on with [search_after] or by /{index}/_scan"
            )
            _refuse(told, "memory", "circuit_breaking_exception")


HELD: Final[ContextVar[Held | None]] = ContextVar("headrace_search_held", default=None)

PER_HIT: Final = 1_000
PER_BUCKET: Final = 1_000
"""Bytes of a hit beside its texts, and of a bucket with a metric or two in it, as Python objects."""


def hold(size: int) -> None:
    """Count what is now held for the answer. Raises RequestError 400 beyond `server.search.memory`."""
    if (held := HELD.get()) is not None:
        held.take(size)


def holding() -> int:
    """What is held now, to come back to (`let_go`)."""
    return 0 if (held := HELD.get()) is None else held.size


def let_go(size: int) -> None:
    """All but `size` bytes are no longer needed."""
    if (held := HELD.get()) is not None:
        held.size = min(held.size, size)


CURRENT: Final[ContextVar[Bounds]] = ContextVar("headrace_search_bounds", default=Bounds())  # noqa: B039  frozen

OBJECTS: Final = 6
"""Objects of JSON that a clause is written with at most, roughly: itself, its field, options, a filter."""

WORDS: Final = 4
"""Runs of letters that make a clause in a query string: field, value, operator."""

_WORD: Final = re.compile(r"\w+")
_INNER: Final = ("aggs", "aggregations")


def check_size(query: Any) -> None:
    """A look at the JSON alone, before anything is made of it. Raises RequestError 400.

    Generous: what is within the bounds passes, what is far beyond them costs no time."""
    most = CURRENT.get().clauses
    objects, level = 0, [query]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                objects += 1
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
            elif isinstance(each, str) and len(each) > most:
                check_words(sum(1 for _ in islice(_WORD.finditer(each), WORDS * (most + 1))) // WORDS)
        if objects > OBJECTS * most:
            check_words(objects)
        level = inner


def check_words(count: int) -> None:
    """A word of a text is a clause, as Elasticsearch counts. Raises RequestError 400 for too many."""
    most = CURRENT.get().clauses
    if count > most:
        _refuse(_too_many(most), "clauses", "too_many_clauses")


def _too_many(most: int) -> str:
    return f"maxClauseCount is set to {most}, the query has more; a [terms] query is one"


def bounded(node: Any) -> Any:
    """The query, if it is within the bounds. Raises RequestError 400."""
    bounds = CURRENT.get()
    clauses, depth, level = 0, 0, [node]
    while level:
        depth += 1
        if depth > bounds.depth + 1:
            _refuse(f"the query is nested deeper than {bounds.depth} levels; flatten it", "depth")
        for each in level:
            if isinstance(each, Terms | Ids) and len(each.values) > bounds.terms:
                _refuse(
                    f"The number of terms [{len(each.values)}] used in the Terms Query request has exceeded "
                    f"the allowed maximum of [{bounds.terms}]",
                    "terms",
                )
        clauses += len(level)
        if clauses > bounds.clauses:
            check_words(clauses)
        level = [inner for each in level for inner in _within(each)]
    return node


def check_aggregations(request: Any) -> None:
    """Raises RequestError 400 for more than are allowed, all levels together."""
    most, count, level = CURRENT.get().aggregations, 0, [request]
    while level:
        bodies = [body for each in level if isinstance(each, Mapping) for body in each.values()]
        count += len(bodies)
        if count > most:
            _refuse(f"the request has more than {most} aggregations", "aggregations")
        level = [
            body[name] for body in bodies if isinstance(body, Mapping) for name in _INNER if name in body
        ]


def _within(node: Any) -> Iterator[Any]:
    """The queries inside a query, whatever its kind: its parts that are nodes, and lists of them."""
    for name in getattr(node, "__slots__", ()):
        value = getattr(node, name)
        for each in value if isinstance(value, tuple) else (value,):
            if hasattr(each, "__dataclass_fields__"):
                yield each


def _refuse(reason: str, option: str, kind: str = "illegal_argument_exception") -> None:
    raise RequestError(400, kind, f"{reason} (server.search.{option})")
