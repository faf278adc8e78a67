"""What travels: RawBatch → Batch → committed. A position means "resume after me".

The unit of work is a batch, never a record. Every record of a partition has a *number*: 0 for the first
record of the log, counted by its source (for line formats: the line number less one, blank lines counted).
A frame carries that number in its hidden column `RECORD`, so that a row still knows where it came from
after filters, and its identity does not depend on how the input was cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

import msgspec
import polars as pl

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

RECORD: Final = "_record"
"""Hidden Int64 column of every frame: the number of the source record this row came from."""

RESERVED: Final = frozenset({RECORD, "_id", "_seq", "_source", "_dyn", "_dyn_text", "_pos", "_posdata"})
"""Top-level field names that belong to Headrace; a record that has one is rejected (`reserved_field`)."""


class Position(msgspec.Struct, frozen=True):
    """Where a partition's reader stands: *after* `record` records. Resume with record number `record`.

    `state` is opaque to all but the source that made it (byte offset, hashes, cursor…), and JSON.
    Beware of the off-by-one: a position never names the next record to read by its offset alone, it
    says how many are done.
    """

    record: int
    state: dict[str, Json] = {}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot go on, as a value: it becomes a dead letter, and costs no other record.

    `reason` is a code from a bounded set (a metric label); `detail` is for people: which field, what was
    found, what was expected. `original` is the record's own bytes as read, where they are known.
    """

    record: int
    stage: str
    reason: str
    detail: str
    original: bytes | None = None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Texts:
    """The JSON objects that a frame was decoded from: a line each, in the order of its rows.

    canonical: each is known to be written as the frame's row would be, nulls included. It saves work, and
    changes no result.
    """

    lines: bytes
    canonical: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """A raw batch as frames. Several only where records disagree on a field's type.

    Each record keeps the types it was written with, whatever its neighbours hold: records are grouped
    into frames of equal type, in any order, each with a `RECORD` column. `records` counts what was read,
    rejected ones included; blank lines are no records. `texts` is of JSON formats, one beside each frame:
    a record that no step changes keeps its text.
    """

    frames: tuple[pl.DataFrame, ...]
    rejections: tuple[Rejection, ...] = ()
    records: int = 0
    texts: tuple[Texts, ...] = ()


@dataclass(frozen=True, slots=True)
class Operations:
    """What a push asks for, one row per record that is more than "index this, under an id of your own".

    A record without a row is that. Rows are in record order, at most one per record; columns:

    RECORD:   Int64, the record's number
    `op`:     String, one of OPS
    `id`:     String, null where it is to be derived (`index`, `create`)
    `body`:   String, of `update`: the request's JSON object (`doc`, `doc_as_upsert`, `detect_noop`…)
    `if_seq`: Int64, null where nothing is required of the document's `_seq`
    `exact`:  Boolean, somebody waits for the outcome, whatever the operation

    The record itself, where there is one, is decoded as any other: of `index` and `create` the document, of
    `update` what is indexed where the document is missing (`upsert`, or `doc` with `doc_as_upsert`); it alone
    passes the transforms. A `delete`, and an `update` without one, leaves its record's line blank.
    """

    frame: pl.DataFrame

    @property
    def conditional(self) -> pl.DataFrame:
        """Those rows whose outcome depends on what the index holds, or is waited for."""
        free = (pl.col("op") == "index") | ((pl.col("op") == "create") & pl.col("id").is_null())
        return self.frame.filter(~free | pl.col("if_seq").is_not_null() | pl.col("exact"))


OPS: Final = ("index", "create", "update", "delete")


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one operation (PROTOCOL 19).

    record: its number; id: the document's; seq: its `_seq` after the operation
    result: created, updated, deleted, not_found, noop, or error
    status: the HTTP status Elasticsearch gives the item; kind and reason: of an error
    """

    record: int
    id: str
    result: str
    status: int
    seq: int = -1
    kind: str = ""
    reason: str = ""


class Decoder(Protocol):
    """Bytes (or rows) of one partition → frames. Synchronous, no I/O; runs in a worker thread."""

    def decode(self, raw: RawBatch) -> Decoded:
        """Decode the whole batch; only if that fails, split it to find the bad records."""
        ...

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        """The bytes of one record as read, for the dead letters; called only for rejected records."""
        ...


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Whole records of one partition as read, with the position after the last of them.

    partition:     name of the log, its incarnation included (PROTOCOL 9)
    first_record:  number of the first record (see the module's docstring)
    position:      resume after this batch; `position.record - first_record` numbers are used up
    payload:       undecoded bytes, or rows where the format is columnar already
    size:          bytes this batch holds in memory while it is in flight (the budget's unit)
    origin:        where people find it: a path, a topic; goes into messages and dead letters
    accepted_at:   unix time in seconds when the records reached us
    caught_up:     the source had nothing more to read after this batch (commit soon)
    trace:         the span it was read in, which later stages continue; set by the runtime, only for traces
    operations:    of pushes: what is asked for, per record; None where all are appended under derived ids
    again:         its first record was read before, when its file ended in the midst of it: what became of it
                   then, a document or a dead letter, is replaced by what it is now
    numbered:      `_seq` of its documents is their record number (pushes), so that a replay gives the same
    """

    partition: str
    first_record: int
    position: Position
    payload: bytes | pl.DataFrame
    decoder: Decoder
    size: int
    origin: str
    accepted_at: float
    caught_up: bool = False
    trace: object = field(default=None, compare=False, repr=False)
    operations: Operations | None = None
    numbered: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded and transformed rows of one raw batch, on their way to the index.

    `id` correlates log lines of one batch. `records` were read; `rejections` so far are in their
    original form; `dropped` were left out on purpose (`where`). What is left is in `frames`. `decoded` is
    what they were before the transforms, where its texts are known. `prepared` is the index's own: what it
    made of the frames ahead of their write (see `index.base.Preparing`).
    """

    id: str
    pipeline: str
    raw: RawBatch
    frames: tuple[pl.DataFrame, ...]
    records: int
    rejections: tuple[Rejection, ...] = ()
    dropped: int = 0
    decoded: Decoded | None = None
    prepared: object = field(default=None, compare=False, repr=False)

    @property
    def rows(self) -> int:
        return sum(frame.height for frame in self.frames)

    def with_rejections(self, more: tuple[Rejection, ...]) -> Batch:
        return replace(self, rejections=(*self.rejections, *more))


PartitionKey: TypeAlias = tuple[str, str]
"""(pipeline, partition)"""


class Ledger(msgspec.Struct, frozen=True):
    """Cumulative counts of one partition, kept inside its position document, exact by construction.

    read = indexed + rejected + dropped, always: anything else is an imbalance, and is reported.
    """

    read: int = 0
    indexed: int = 0
    rejected: int = 0
    dropped: int = 0

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            self.read + other.read,
            self.indexed + other.indexed,
            self.rejected + other.rejected,
            self.dropped + other.dropped,
        )

    @property
    def imbalance(self) -> int:
        return self.read - self.indexed - self.rejected - self.dropped


@dataclass(frozen=True, slots=True)
class Watermarks:
    """How far an index is. Equal in a plain directory; they differ with a live one.

    visible: committed and searchable (freshness tokens)
    durable: survives power loss (upstream acknowledgement, dead letters becoming real, the ledger)
    """

    visible: Mapping[PartitionKey, Position] = field(default_factory=dict)
    durable: Mapping[PartitionKey, Position] = field(default_factory=dict)
    ledgers: Mapping[PartitionKey, Ledger] = field(default_factory=dict)
