"""What goes into the buffer and comes out of it: entries of one log each, their records numbered for ever.

A *log* is what one push pipeline reads: its name is the pipeline's, or the UUID of an index made at run time.
Records of a log are numbered from 0 without gaps; numbers never start again, whatever is released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from headrace.core.errors import RequestError

BULK: Final = "bulk"
"""Kind of an entry whose head is a BulkHead and whose body is NDJSON, a line per record."""


class BulkHead(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """Beside the lines of a bulk entry: what is asked for, per record (see `model.Operations`).

    ops:     one letter per record: i index, c create, u update, d delete; empty: all are `index`
    ids:     per record, None to derive; empty: all derived
    bodies:  of updates, by place in the entry: the request's JSON object
    if_seq:  by place in the entry
    exact:   somebody waits for the outcome of each record
    """

    ops: str = ""
    ids: list[str | None] = []
    bodies: dict[int, str] = {}
    if_seq: dict[int, int] = {}
    exact: bool = False


def pack_head(head: BulkHead) -> bytes:
    """As an entry carries it (MessagePack)."""
    return msgspec.msgpack.encode(head)


_heads: Final = msgspec.msgpack.Decoder(BulkHead)


def unpack_head(packed: bytes) -> BulkHead:
    """The head of a BULK entry; raises msgspec.DecodeError."""
    return _heads.decode(packed) if packed else BulkHead()


class Entry(msgspec.Struct, frozen=True):
    """Records of one log as accepted from one request (or one piece of a large one).

    log:     which log
    records: how many record numbers they use up (at least 1)
    kind:    BULK, or the format of `body` (ndjson, json, csv, arrow)
    head:    of BULK: its BulkHead (`pack_head`); empty is that of a plain `index` of all records
    body:    the bytes, not compressed
    """

    log: str
    records: int
    kind: str
    body: bytes
    head: bytes = b""


class Stored(msgspec.Struct, frozen=True):
    """An entry as read back: `first` is the number of its first record, `accepted_at` unix seconds."""

    entry: Entry
    first: int
    accepted_at: float

    @property
    def end(self) -> int:
        """The number after its last record."""
        return self.first + self.entry.records


class Appended(msgspec.Struct, frozen=True):
    """Where an entry stands now, durably: records `first` to `end` (exclusive) of its log."""

    log: str
    first: int
    end: int


class BufferFull(RequestError):
    """No room: 429 for the whole request, nothing of it was accepted."""

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(429, "es_rejected_execution_exception", reason, retry_after=retry_after)


class Staged(Protocol):
    """The pieces of one large request: they exist for nobody until `finish`."""

    async def add(self, entry: Entry) -> None:
        """Write one piece, durably only with `finish`. Raises BufferFull, Retryable."""
        ...

    async def finish(self) -> list[Appended]:
        """Make all pieces visible at once, in order, durably. Raises BufferFull, Retryable."""
        ...

    async def abandon(self) -> None:
        """Forget the pieces. Safe after `finish`, and twice."""
        ...


class BufferWriter(Protocol):
    """The writing side, in the server alone."""

    @property
    def incarnation(self) -> str:
        """Identity of this buffer; another one after it was thrown away (PROTOCOL 9)."""
        ...

    async def append(
        self,
        entries: Sequence[Entry],
        *,
        size: int = 0,
        key: str = "",
        answer: Callable[[list[Appended]], bytes] | None = None,
    ) -> list[Appended]:
        """Append all or nothing; durable (fsynced) on return, one sync for all who wait (group commit).

        `answer`, given where the entries will stand, is remembered under `key` with them: both or neither.
                Raises BufferFull before anything is written, Retryable (disk full)."""
        ...

    def check_room(self, logs: Sequence[str], size: int) -> None:
        """Raises BufferFull where `size` more bytes would pass a bound; called before a body is read."""
        ...

    def stage(self, size: int) -> Staged:
        """Begin a large request of about `size` bytes, reserved until it ends. Raises BufferFull."""
        ...

    def accepted(self, log: str) -> int:
        """The number after the last durable record of a log."""
        ...

    async def answer(self, key: str) -> bytes | None:
        """The remembered answer to a request with this `Idempotency-Key`; None for a new one."""
        ...

    async def remember(self, key: str, answer: bytes) -> None: ...


class BufferReader(Protocol):
    """The reading side of one log, in any process, synchronous."""

    @property
    def incarnation(self) -> str: ...

    def read(self, after: int, *, size: int) -> list[Stored]:
        """Entries from record number `after` on (an entry that holds it comes whole), about `size` bytes.

        Empty where there is none yet. Raises StoreError where `after` is beyond the log's end, or where
        records from `after` on were released or quarantined: the error says which."""
        ...

    def end(self) -> int:
        """The number after the last record."""
        ...

    def close(self) -> None: ...


Acknowledged = Mapping[str, int]
"""Per log: the number after the last record that is durable in the subscriber's index."""


def partition_of(incarnation: str, log: str) -> str:
    """The name of a log as a partition of the pipelines that read it (PROTOCOL 9)."""
    return f"push:{incarnation}:{log}"
