"""Position documents: how far each partition is, inside the commit that made it so.

A partition that moved gets a new one, and the newest counts. Those before it are deleted now and then, all
at once: a deletion in each commit costs it, and the merges of segments that have one, a tenth of their CPU.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import tantivy

from headrace.core.errors import StoreError
from headrace.index.tantivy.damage import readable
from headrace.index.tantivy.schema import POSITION, POSITION_DATA, POSITION_MARK, positions_query
from headrace.model import Ledger, PartitionKey, Position, Watermarks

OLDER: Final = 16
"""Position documents that are not the newest of their partition, before they are deleted: each costs whoever
opens a commit some microseconds."""


class PositionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's state, rewritten by each commit in which it moved.

    next_seq: the index's `_seq` counter as of that commit; the highest of all partitions counts
    rows:     rows ever written for this partition, replaced and deleted ones included
    deleted:  documents that retention deleted, of any partition: the index's number is the sum
    named:    ids were given with records, so documents were replaced or deleted by them
    commit:   number of the commit that wrote it, by which the newest of a partition is known
    """

    pipeline: str
    partition: str
    position: Position
    ledger: Ledger = Ledger()
    next_seq: int = 0
    rows: int = 0
    deleted: int = 0
    named: bool = False
    commit: int = 0

    @property
    def key(self) -> PartitionKey:
        return (self.pipeline, self.partition)

    @property
    def term(self) -> str:
        return position_term(self.key)

    @property
    def engine_line(self) -> str:
        """The document as the engine's JSON."""
        data = base64.b64encode(msgspec.json.encode(self)).decode()
        return msgspec.json.encode({POSITION: [self.term, POSITION_MARK], POSITION_DATA: data}).decode()


class _StoredPosition(msgspec.Struct, frozen=True):
    """`Position` in a form that the decoder knows: its recursive JSON type is beyond it."""

    record: int
    state: dict[str, Any] = {}


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    pipeline: str
    partition: str
    position: _StoredPosition
    ledger: Ledger = Ledger()
    next_seq: int = 0
    rows: int = 0
    deleted: int = 0
    named: bool = False
    commit: int = 0


class Positions:
    """Which position documents an index holds, and what its next commit does to them."""

    def __init__(self) -> None:
        self._number = 0
        self._older: dict[PartitionKey, int] = {}
        self._next = (self._number, self._older)

    def recalled(self, stored: Sequence[PositionDocument]) -> dict[PartitionKey, PositionDocument]:
        """All that a commit holds was read; the newest of each partition."""
        found = newest(stored)
        self._number = max((document.commit for document in stored), default=0)
        self._older = {}
        for document in stored:
            if document is not found[document.key]:
                self._older[document.key] = self._older.get(document.key, 0) + 1
        return found

    def moved(
        self,
        committed: Mapping[PartitionKey, PositionDocument],
        pending: Mapping[PartitionKey, PositionDocument],
    ) -> tuple[dict[PartitionKey, PositionDocument], list[str]]:
        """The documents to add in the next commit, and the terms of those to be deleted before."""
        number = self._number + 1
        older = dict(self._older)
        for key in pending.keys() & committed.keys():
            older[key] = older.get(key, 0) + 1
        added, terms = dict(pending), list[str]()
        if sum(older.values()) > OLDER:
            added |= {key: committed[key] for key in older if key not in pending}
            terms = [added[key].term for key in older]
            older = {}
        self._next = (number, older)
        return {key: msgspec.structs.replace(each, commit=number) for key, each in added.items()}, terms

    def committed(self) -> None:
        """What `moved` said last is so now."""
        self._number, self._older = self._next


def newest(stored: Iterable[PositionDocument]) -> dict[PartitionKey, PositionDocument]:
    found: dict[PartitionKey, PositionDocument] = {}
    for document in stored:
        if document.key not in found or document.commit > found[document.key].commit:
            found[document.key] = document
    return found


def position_term(key: PartitionKey) -> str:
    """The term of `_pos` that only this partition's document has."""
    return msgspec.json.encode(key).decode()


def read_positions(index: tantivy.Index, searcher: tantivy.Searcher) -> list[PositionDocument]:
    """The newest position documents of one commit. Raises StoreError where one cannot be read."""
    return list(newest(stored_positions(index, searcher)).values())


def stored_positions(index: tantivy.Index, searcher: tantivy.Searcher) -> list[PositionDocument]:
    """All of them, older ones too. Raises StoreError."""
    return readable(lambda: _stored(index, searcher), "the index's positions")


def _stored(index: tantivy.Index, searcher: tantivy.Searcher) -> list[PositionDocument]:
    query = positions_query(index.schema)
    # The engine reserves memory for `limit` hits at once, and panics at 0.
    limit = max(1, count(searcher, query))
    return [_read(searcher.doc(address)) for _, address in searcher.search(query, limit=limit).hits]


def count(searcher: tantivy.Searcher, query: tantivy.Query) -> int:
    """How many documents match."""
    found: int = searcher.search(query, limit=1).count  # type: ignore[attr-defined]
    return found


def _read(document: tantivy.Document) -> PositionDocument:
    data = document.get_first(POSITION_DATA)
    try:
        stored = msgspec.json.decode(bytes(data or b""), type=_Stored)
    except msgspec.DecodeError as error:
        term = (document.get_all(POSITION) or ["?"])[0]
        raise StoreError(f"the position of {term} cannot be read: {error}; index again") from error
    return PositionDocument(
        pipeline=stored.pipeline,
        partition=stored.partition,
        position=Position(stored.position.record, stored.position.state),
        ledger=stored.ledger,
        next_seq=stored.next_seq,
        rows=stored.rows,
        deleted=stored.deleted,
        named=stored.named,
        commit=stored.commit,
    )


def watermarks(
    documents: Iterable[PositionDocument], durable: Iterable[PositionDocument] | None = None
) -> Watermarks:
    """Both are one in the plain directory: a commit is visible and durable at once. Ledgers are durable."""
    visible: Mapping[PartitionKey, PositionDocument] = {found.key: found for found in documents}
    settled = visible if durable is None else {found.key: found for found in durable}
    return Watermarks(
        {key: found.position for key, found in visible.items()},
        {key: found.position for key, found in settled.items()},
        {key: found.ledger for key, found in settled.items()},
    )
