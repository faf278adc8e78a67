"""The writing side: rows in, documents and positions out in one engine commit (PROTOCOL 1 to 8).

Synchronous, one caller at a time. What opens, closes and fails is in `opened`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import polars as pl
import tantivy
from tantivy import Query

from headrace.core.clock import Clock
from headrace.core.log import event
from headrace.index.tantivy.apply import Application, Known, bare, in_sequence, named_ids
from headrace.index.tantivy.committed import Lookups, committed_documents
from headrace.index.tantivy.feed import Poison, engine_refused, feed
from headrace.index.tantivy.given import GIVEN, identified, unfit
from headrace.index.tantivy.ledger import account, account_operations
from headrace.index.tantivy.lines import derived_id, derived_pattern, digest, line, sequence
from headrace.index.tantivy.opened import Opened
from headrace.index.tantivy.options import Settings
from headrace.index.tantivy.positions import PositionDocument
from headrace.index.tantivy.rendered import Rendered, render, render_merged
from headrace.index.tantivy.retention import due
from headrace.index.tantivy.rows import ORDINAL
from headrace.index.tantivy.schema import ID, POSITION, SEQ
from headrace.index.tantivy.uncommitted import Uncommitted
from headrace.model import (
    RECORD,
    Batch,
    Ledger,
    Operations,
    Outcome,
    PartitionKey,
    Position,
    Rejection,
    Watermarks,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

BAD_REQUEST: Final = 400


class Writer(Opened):
    """What is written to one index, and committed."""

    def __init__(
        self,
        name: str,
        directory: Path,
        settings: Settings,
        clock: Clock,
        *,
        base: Path | None = None,
        live_bytes: int = 0,
    ) -> None:
        super().__init__(name, directory, settings, clock, base=base, live_bytes=live_bytes)
        self._poison = Poison()
        self._uncommitted = Uncommitted()
        self._searcher: tantivy.Searcher | None = None
        self._lookups = Lookups(clock)
        self.outcomes: list[Outcome] = []
        """Of the last write (see `index.base.Applying`)."""

    def _drop(self) -> None:
        self._lookups.close()
        super()._drop()

    # Writing

    def prepare(self, batch: Batch) -> Batch:
        """From any thread, once it was open: rows do not depend on what the index holds."""
        rendered = render(self._format, batch.frames, batch.decoded)
        # What is left of the frames says which records there are: texts and values are in the rows.
        records = tuple(frame.select(RECORD) for frame in batch.frames)
        return replace(batch, frames=records, decoded=None, prepared=rendered)

    def write(self, batch: Batch) -> list[Rejection]:
        """Raises Rewound, Retryable."""
        self._ready()
        self._merges.breathe()
        return self._guarded(lambda: self._write(batch))

    def _write(self, batch: Batch) -> list[Rejection]:
        self.outcomes = []
        key = (batch.pipeline, batch.raw.partition)
        committed = self._committed[key].position.record if key in self._committed else 0
        current, position = self._position(key), batch.raw.position
        if position.record <= committed and (
            position.record < current.position.record or position == current.position
        ):
            return []
        again = batch.raw.again and committed <= batch.raw.first_record + 1
        if again:  # it is not done yet, though its number is committed
            committed = batch.raw.first_record
            self._take_back(key, committed)
        rows, rejections = self._rows(batch, key, committed)
        if batch.raw.operations is None:
            return self._append(batch, key, rows, rejections, committed)
        fresh = batch.raw.operations.frame.filter(pl.col(RECORD) >= committed)
        return self._operate(batch, key, rows, rejections, fresh, committed)

    def _take_back(self, key: PartitionKey, record: int) -> None:
        """Delete what a part of this record became. Under a declared key, it is replaced by that."""
        index, engine = self._ready()
        if not self._format.key and self._seq:
            pattern = derived_pattern(key, record)
            engine.delete_documents_by_query(Query.regex_query(index.schema, ID, pattern))

    def _position(self, key: PartitionKey) -> PositionDocument:
        """Where a partition is, all that is written counted."""
        return (
            self._pending.get(key)
            or self._committed.get(key)
            or PositionDocument(pipeline=key[0], partition=key[1], position=Position(0))
        )

    def _rows(self, batch: Batch, key: PartitionKey, committed: int) -> tuple[pl.DataFrame, list[Rejection]]:
        """Rows of all frames in record order, those already committed left out."""
        ahead = batch.prepared
        found = ahead if isinstance(ahead, Rendered) else render(self._format, batch.frames, batch.decoded)
        self._note_conflicts(batch, found.conflicts)
        found = found.since(committed)
        rows, poisoned = self._poison.without(found.rows, key)
        return rows, found.rejections + poisoned

    def _note_conflicts(self, batch: Batch, conflicts: Mapping[str, int]) -> None:
        if conflicts:
            event(log.warning, "index.values_conflicted", index=self.name, batch=batch.id, fields=conflicts)

    def _append(
        self, batch: Batch, key: PartitionKey, rows: pl.DataFrame, own: list[Rejection], committed: int
    ) -> list[Rejection]:
        """Each row under its declared key, or under an id of its own that replaces nothing."""
        refused: list[Rejection] = []
        if rows.height:
            rows = rows.with_columns(sequence(self._seq, numbered=batch.raw.numbered))
            following = int(rows[SEQ][-1]) + 1
            if self._format.key:
                added = rows.unique(ID, keep="last", maintain_order=True)
                self._add(added, key, replaced=added[ID].to_list())
                # A push's next operation may name one of these; other sources' rows are not worth holding.
                if batch.raw.numbered:
                    self._uncommitted.hold(added)
                else:
                    self._uncommitted.hide_all()
            else:
                refused = self._add(rows.with_columns(derived_id(key)), key, replaced=None)
                self._uncommitted.hide(key, rows)
            self._seq = following
        own += refused
        if refused:
            rows = rows.filter(~pl.col(RECORD).is_in([found.record for found in refused]))
        ledger = account(batch, rows, own, committed)
        self._advance(batch, ledger, rows.height, named=batch.raw.again)
        return own

    def _operate(
        self,
        batch: Batch,
        key: PartitionKey,
        rows: pl.DataFrame,
        own: list[Rejection],
        fresh: pl.DataFrame,
        committed: int,
    ) -> list[Rejection]:
        """What a push asks for: rows replace and are replaced by id, and conditions hold (PROTOCOL 19)."""
        declared = bool(self._format.key)
        barred = unfit(fresh, key, None if declared else self._next_records())
        rows = rows.filter(~pl.col(RECORD).is_in([found.record for found in barred]))
        rows, misfits = identified(rows, fresh, key, declared=declared)
        own = [*barred, *misfits, *own]
        rows, operations, following = in_sequence(rows, fresh, self._seq, numbered=batch.raw.numbered)
        conditional = Operations(operations).conditional
        refusals = {found.record: found for found in (*batch.rejections, *reversed(own))}
        applied = Application(
            self._documents(named_ids(rows, conditional)),
            refusals,
            lambda records, documents: self._merged(batch, key, records, documents),
        ).run(rows, conditional, {found.record for found in barred})
        replaced = applied.rows.filter(pl.col(GIVEN))[ID].to_list()
        self._add(applied.rows, key, replaced=list(dict.fromkeys([*replaced, *applied.deleted])))
        self._uncommitted.hold(applied.rows, applied.deleted)
        self._seq, self.outcomes = following, applied.outcomes
        own += applied.rejections
        ledger = account_operations(
            batch, rows, [*batch.rejections, *own], applied.outcomes, bare(conditional), committed
        )
        self._advance(batch, ledger, applied.rows.height, named=True)
        # Where the document of an update was not needed, nobody need know that it is unfit.
        fine = {outcome.record for outcome in applied.outcomes if outcome.status != BAD_REQUEST}
        return [found for found in own if found.record not in fine]

    def _next_records(self) -> dict[str, int]:
        """Digest of each partition → its next record, which will get an id derived from that number."""
        return {
            digest(key): self._position(key).position.record for key in {**self._committed, **self._pending}
        }

    def _documents(self, ids: Sequence[str]) -> Known:
        """The documents of these ids as the log has made them so far."""
        index, _ = self._ready()
        if not ids:
            return {}
        if self._uncommitted.hides(ids):
            self._commit()
        found = self._uncommitted.find(ids)
        if self._searcher is None:
            self._searcher = self._lookups.searcher(index, self.directory, self.home.folder)
        others = [name for name in ids if name not in found]
        return dict.fromkeys(others) | committed_documents(index, self._searcher, others) | found

    def _merged(
        self, batch: Batch, key: PartitionKey, records: Sequence[int], documents: Sequence[bytes]
    ) -> tuple[pl.DataFrame, list[Rejection]]:
        found = render_merged(self._format, batch.raw, records, documents)
        self._note_conflicts(batch, found.conflicts)
        rows, poisoned = self._poison.without(found.rows, key)
        return rows, found.rejections + poisoned

    def _add(self, rows: pl.DataFrame, key: PartitionKey, *, replaced: list[str] | None) -> list[Rejection]:
        """Hand rows to the engine: the documents of the ids `replaced` deleted by one query, then the lines.

        None says that nothing is ever replaced: then a row that the engine refuses costs only itself.
        """
        index, engine = self._ready()
        if replaced and self._seq:  # else the index has never had a document to replace
            engine.delete_documents_by_query(Query.term_set_query(index.schema, ID, replaced))
        if not rows.height:
            return []
        lines = rows.select(line(rows, declared=replaced is not None)).to_series().to_list()
        refused: list[Rejection] = []
        for row, error in feed(engine, lines):
            record, ordinal = rows[RECORD][row], rows[ORDINAL][row]
            if replaced is not None:
                # Its predecessor is deleted already: go back, and leave this row out next time.
                self._poison.add(key, record, ordinal)
                raise error
            refused.append(engine_refused(record, ordinal, str(error)))
        return refused

    def _advance(self, batch: Batch, ledger: Ledger, rows: int, *, named: bool = False) -> None:
        current = self._position((batch.pipeline, batch.raw.partition))
        self._pending[current.key] = msgspec.structs.replace(
            current,
            position=batch.raw.position,
            ledger=current.ledger + ledger,
            next_seq=self._seq,
            rows=current.rows + rows,
            named=current.named or named,
        )

    # Committing

    def commit(self) -> Watermarks:
        """Raises Rewound, Retryable."""
        if self._pending:
            self._ready()
            self._guarded(self._commit)
            if self.home.is_to_move():
                self._move()
        return self._watermarks()

    def _commit(self) -> None:
        _, engine = self._ready()
        moved, older = self._positions.moved(self._committed, self._pending)
        for term in older:
            engine.delete_documents_by_term(POSITION, term)
        for document in moved.values():
            engine.add_json(document.engine_line)
        rows = sum(document.rows - self._rows_of(document.key) for document in self._pending.values())
        opstamp = engine.commit()
        self._positions.committed()
        self._committed = {**self._committed, **moved}  # others hold the one before
        self.home.committed(opstamp, self._committed)
        self._forget()
        self._merges.look()
        if self._width.committed(rows):
            del engine
            self._drop()

    def _rows_of(self, key: PartitionKey) -> int:
        """How many rows of a partition are committed."""
        return self._committed[key].rows if key in self._committed else 0

    def _forget(self) -> None:
        """Nothing is uncommitted any more: it is committed, or gone."""
        self._pending = {}
        self._uncommitted.clear()
        self._searcher = None
        self._lookups.rest()

    def retain(self) -> int:
        """Delete what is due; it goes with the next commit. How many documents that is."""
        retention = self.settings.retention
        if retention is None:
            return 0
        index = self._index or self._recall()
        return self._guarded(lambda: self._retain(index))

    def _retain(self, index: tantivy.Index) -> int:
        index.reload()
        assert self.settings.retention is not None
        found = due(index, self._folder, self.settings.retention, self.schema, self._clock.time())
        if found is None:
            return 0
        query, documents = found
        _, engine = self._ready()
        engine.delete_documents_by_query(query)
        # Deletions alone make a commit as well, and any one position document keeps their number.
        key, committed = next(iter(self._committed.items()))
        document = self._pending.get(key, committed)
        self._pending[key] = msgspec.structs.replace(document, deleted=document.deleted + documents)
        event(log.info, "index.retention_applied", index=self.name, documents=documents)
        return documents
