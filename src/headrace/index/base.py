"""The contract of an index: one owner writes; documents and positions are committed together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from headrace.core.clock import Clock
from headrace.fields import Field
from headrace.model import Batch, Json, Outcome, PartitionKey, Rejection, Watermarks


@dataclass(frozen=True, slots=True)
class IndexContext:
    """What an index is told: its name and the folder that is its own.

    live_bytes: memory that all indexes of this process may use for files which another process settles on
                disk; 0 where nobody does
    pushed:     only pushes feed it: whoever sends a record may wait for it to be found
    """

    name: str
    directory: Path
    clock: Clock
    live_bytes: int = 0
    pushed: bool = False


class Index(Protocol):
    """The writing side. Only its owner task calls it, one call at a time.

    `write` skips rows at or below the committed position of their (pipeline, partition), keeps the last
    operation per id, and returns the records it had to reject. After any failure it rolls back by itself
    and raises `Rewound` with the committed positions: everything written since the last commit has to be
    read again. `commit` takes no positions: it records those of all batches written since the last one,
    and their ledgers, in the same atomic commit as the documents.
    """

    @property
    def fields(self) -> Mapping[str, Field]:
        """Declared fields: hints for decoding, types for `validate`."""
        ...

    @property
    def dynamic(self) -> str: ...

    @property
    def worst_case_bytes(self) -> int:
        """The most memory its writer may hold, for `check`; what live indexes share is not in it."""
        ...

    async def open(self) -> Watermarks:
        """Take the lock, repair what a kill left behind, and say what is committed.

        Raises StoreError (in use, unknown format, mapping changed), Retryable.
        """
        ...

    async def write(self, batch: Batch) -> list[Rejection]: ...

    async def commit(self) -> Watermarks: ...

    async def close(self) -> None:
        """Release lock and memory without committing. Safe without `open`, and twice."""
        ...


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of a sort: a field (or `_score`, `_doc`, `_seq`), its order, where missing values go.

    unmapped: an index that can have no such field is sorted as if no document had it
    """

    field: str
    descending: bool = False
    missing_last: bool = True
    unmapped: bool = False


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as asked, in Elasticsearch's terms; `query` and `aggregations` still as its JSON.

    source: True (all), False (none), or (includes, excludes) patterns
    post_filter: narrows hits and total, not the aggregations
    min_score: leaves out what scores less, of hits, total and aggregations
    scores: wanted even where hits are sorted by fields
    collapse: a field: one hit of each of its values; done by who merges several indexes, not by one
    now: microseconds since 1970 that `now` in dates means, the same for all indexes; None is this moment
    """

    query: Json = None
    start: int = 0
    size: int = 10
    sort: Sequence[SortKey] = ()
    search_after: Sequence[Json] | None = None
    source: bool | tuple[tuple[str, ...], tuple[str, ...]] = True
    highlight: Mapping[str, Json] | None = None
    aggregations: Mapping[str, Json] | None = None
    count: bool = True
    post_filter: Json = None
    min_score: float | None = None
    scores: bool = False
    now: int | None = None
    collapse: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One found document; `source` is its JSON text, byte for byte as stored."""

    id: str
    seq: int
    source: bytes
    score: float | None = None
    sort: tuple[Json, ...] = ()
    highlight: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchResult:
    total: int
    hits: Sequence[Hit] = ()
    max_score: float | None = None
    aggregations: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """documents: searchable ones; size: bytes on disk; segments: how many pieces the engine keeps."""

    documents: int
    size: int
    segments: int


class View(Protocol):
    """One commit of an index, the same for as long as it is held. Thread-safe, synchronous.

    Raises RequestError for what cannot be answered: never a silently ignored part of a query.
    """

    @property
    def fields(self) -> Mapping[str, Field]: ...

    def search(self, request: SearchRequest) -> SearchResult: ...

    def get(self, ids: Sequence[str]) -> list[Hit | None]: ...

    def count(self, query: Json) -> int: ...

    def scan(self, query: Json, batch: int) -> Iterator[pl.DataFrame]:
        """Frames with `_id`, `_seq`, `_source` of all matching documents of one commit, by `_seq`."""
        ...

    def watermarks(self) -> Watermarks: ...


@runtime_checkable
class Divisible(Protocol):
    """A view that can tell documents apart by where a declared field's values are: in it, or beside it."""

    def misfits(self, names: Collection[str]) -> list[str]:
        """Those of the fields with values that did not fit their type, by name."""
        ...

    def apart(self, fields: Sequence[str]) -> list[View]:
        """Views that together have each document once; in each a field has all its values in one place."""
        ...


class Reader(View, Protocol):
    """The searching side; any number of processes beside the one writer.

    Every call sees the newest commit at the time it begins.
    """

    def view(self) -> View:
        """The newest commit, to be asked several times. Its files stay readable while it is held."""
        ...

    def stamp(self) -> object:
        """Another one with each commit, as a rule. Cheap: whoever waits for a commit looks at it often."""
        ...

    def stats(self) -> IndexStats: ...

    def close(self) -> None: ...


@runtime_checkable
class Preparing(Protocol):
    """An index that can do a part of a write ahead of its turn, while it commits or writes something else."""

    def prepare(self, batch: Batch) -> Batch:
        """The batch with `prepared` set, and without what `write` needs no more. Synchronous, CPU only; from
        any thread, once the index was open. Depends on the mapping alone, never on what was written."""
        ...


@runtime_checkable
class Maintainable(Protocol):
    """An index that can delete what is due and be checked offline."""

    async def retain(self) -> int:
        """Delete what the declared retention says is due, at the next commit; how many documents."""
        ...


@runtime_checkable
class Resting(Protocol):
    """An index whose writer holds threads and memory that it can give back while nothing is written."""

    @property
    def crowded(self) -> bool:
        """Whether others (soon) wait for what it holds."""
        ...

    async def rest(self) -> None:
        """Give them back, if everything is committed; the next write takes them again."""
        ...


@runtime_checkable
class Settling(Protocol):
    """An index whose commits are visible at once, and durable a little later."""

    @property
    def may_be_live(self) -> bool:
        """Whether its newest commits may ever be in memory only."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether it is so now: ask `settled` from time to time."""
        ...

    @property
    def catching_up(self) -> str:
        """Why the index is not searched yet, after a power loss; empty where it is."""
        ...

    async def settled(self) -> Watermarks:
        """Both watermarks now. Raises Rewound where what was visible is gone."""
        ...

    async def promise(self, key: PartitionKey, record: int) -> bool:
        """Before somebody is told that all below a visible record is: after a power loss the index is not
        searched until it has come that far again. False where it was lost in this moment.

        From any task. Raises Fatal where that cannot be noted."""
        ...


@runtime_checkable
class Applying(Protocol):
    """An index that can tell what became of operations (PROTOCOL 19); one that cannot takes only appends."""

    def outcomes(self) -> list[Outcome]:
        """Of the last `write`: one per row of `Operations.conditional`, in record order.

        None of records that were committed before: a replay's overlap is not told again."""
        ...
