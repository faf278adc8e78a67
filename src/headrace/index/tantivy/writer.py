"""The writing side: rows in, documents and positions out in one engine commit (PROTOCOL 1 to 8).

Synchronous, one caller at a time. Whatever fails, the engine's writer is thrown away and a new one opened at
the last commit: a writer that has failed once accepts more and loses it silently.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import polars as pl
import tantivy
from tantivy import Query

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Retryable, Rewound, StoreError
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.index.tantivy import store
from headrace.index.tantivy.ledger import account
from headrace.index.tantivy.lines import derived_id, in_order, line, numbered
from headrace.index.tantivy.options import Settings, check
from headrace.index.tantivy.positions import PositionDocument, read_positions, watermarks
from headrace.index.tantivy.retention import due
from headrace.index.tantivy.rows import ORDINAL, STAGE, RowFormat
from headrace.index.tantivy.schema import ID, POSITION, SEQ, EngineSchema
from headrace.index.tantivy.sweep import sweep
from headrace.model import RECORD, Batch, PartitionKey, Position, Rejection, Watermarks

log = logging.getLogger(__name__)

T = TypeVar("T")

FULL_DISK_BYTES: Final = 1 << 20
"""Less free space than this beside a dead writer is the reason of its death: the engine does not say."""

ABOUT_ONE_LINE: Final = ("could not be parsed", "not valid JSON")
"""What the engine says of a line that it refuses alone; after anything else the writer is dead."""


class Writer:
    """Holds the lock and the engine's writer of one index from `open` to `close`."""

    def __init__(self, name: str, directory: Path, settings: Settings, clock: Clock) -> None:
        fields = check(settings)
        self.name = name
        self.directory = directory
        self.settings = settings
        self.schema: EngineSchema
        self.wanted = store.describe(name, fields, settings.key, settings.dynamic_name, settings.field_limit)
        self._clock = clock
        self._lock = RoleLock(directory, "writer")
        self._index: tantivy.Index | None = None
        self._engine: tantivy.IndexWriter | None = None
        self._committed: dict[PartitionKey, PositionDocument] = {}
        self._pending: dict[PartitionKey, PositionDocument] = {}
        self._seq = 0
        self._poison: set[tuple[PartitionKey, int, int]] = set()

    @property
    def _folder(self) -> Path:
        return self.directory / store.ENGINE

    # Opening and closing

    def open(self) -> Watermarks:
        """Raises StoreError, Retryable."""
        if self._engine is not None:
            return watermarks(self._committed.values())
        self._lock.acquire(wait=0)
        try:
            self._prepare()
            self._revive()
        except BaseException:
            self.close()
            raise
        return watermarks(self._committed.values())

    def _prepare(self) -> None:
        if not store.exists(self.directory):
            try:
                store.create(self.directory, self.wanted)
            except OSError as error:
                raise Retryable(f"cannot make an index in {self.directory}: {error.strerror}") from error
        stored = store.read_description(self.directory)
        changes = store.mapping_changes(stored, self.wanted)
        if changes:
            raise StoreError(
                f"the mapping of index {self.name!r} changed: {'; '.join(changes)}; "
                "a mapping never changes in place: change it back, or index again under another name"
            )
        self.schema = stored.schema
        self._format = RowFormat(self.schema, stored.id, stored.dynamic)
        if self.schema.degraded:
            degraded = self.schema.degraded
            event(
                log.warning,
                "index.field_limit_passed",
                index=self.name,
                limit=stored.field_limit,
                fields=len(degraded),
                first=degraded[0],
            )

    def _revive(self) -> None:
        """Sweep, open a new engine writer, read what is committed."""
        self._engine = self._index = None
        sweep(self._folder)
        try:
            index = store.open_engine(self.directory)
            engine = index.writer(heap_size=int(self.settings.memory), num_threads=self.settings.threads)
        except HeadraceError:
            raise
        except (ValueError, OSError) as error:
            if "LockBusy" in str(error):
                raise StoreError(
                    f"{self._folder} is in use by another process; stop that one first"
                ) from error
            raise Retryable(f"cannot open a writer in {self._folder}: {error}") from error
        documents = read_positions(index, index.searcher())
        self._committed = {document.key: document for document in documents}
        self._pending = {}
        self._seq = max((document.next_seq for document in documents), default=0)
        self._index, self._engine = index, engine

    def close(self) -> None:
        """Forget what is not committed, release memory and lock."""
        # Dropping the engine's writer stops its threads and gives its lock back.
        self._engine = self._index = None
        self._pending = {}
        self._lock.release()

    # Writing

    def write(self, batch: Batch) -> list[Rejection]:
        """Raises Rewound, Retryable."""
        self._ready()
        return self._guarded(lambda: self._write(batch))

    def _ready(self) -> tuple[tantivy.Index, tantivy.IndexWriter]:
        if self._engine is None or self._index is None:
            self._revive()
        assert self._index is not None
        assert self._engine is not None
        return self._index, self._engine

    def _write(self, batch: Batch) -> list[Rejection]:
        key = (batch.pipeline, batch.raw.partition)
        committed = self._committed[key].position.record if key in self._committed else 0
        current = (
            self._pending.get(key)
            or self._committed.get(key)
            or PositionDocument(pipeline=batch.pipeline, partition=batch.raw.partition, position=Position(0))
        )
        position = batch.raw.position
        if position.record <= committed and (
            position.record < current.position.record or position == current.position
        ):
            return []
        rows, rejections = self._rows(batch, key, committed)
        refused = self._add(rows, key)
        rejections += refused
        if refused:
            rows = rows.filter(~pl.col(RECORD).is_in([found.record for found in refused]))
        self._advance(batch, current, rows, rejections, committed)
        return rejections

    def _rows(self, batch: Batch, key: PartitionKey, committed: int) -> tuple[pl.DataFrame, list[Rejection]]:
        """Rows of all frames in record order, those already committed left out."""
        rejections: list[Rejection] = []
        rendered: list[pl.DataFrame] = []
        conflicts: dict[str, int] = {}
        for frame in numbered(batch.frames):
            fresh = frame.filter(pl.col(RECORD) >= committed) if committed else frame
            if not fresh.height:
                continue
            found = self._format.render(fresh)
            rejections += found.rejections
            rendered.append(found.frame)
            for name, count in found.conflicts.items():
                conflicts[name] = conflicts.get(name, 0) + count
        if conflicts:
            event(log.warning, "index.values_conflicted", index=self.name, batch=batch.id, fields=conflicts)
        rows = in_order(rendered)
        if self._poison:
            rows, poisoned = self._without_poison(rows, key)
            rejections += poisoned
        return rows, rejections

    def _without_poison(self, rows: pl.DataFrame, key: PartitionKey) -> tuple[pl.DataFrame, list[Rejection]]:
        known = [(record, ordinal) for where, record, ordinal in self._poison if where == key]
        mask = [(record, ordinal) in known for record, ordinal in rows.select(RECORD, ORDINAL).iter_rows()]
        found = rows.filter(pl.Series(mask, dtype=pl.Boolean))
        return rows.filter(~pl.Series(mask, dtype=pl.Boolean)), [
            _refused(record, ordinal, "the engine refused it before")
            for record, ordinal in found.select(RECORD, ORDINAL).iter_rows()
        ]

    def _add(self, rows: pl.DataFrame, key: PartitionKey) -> list[Rejection]:
        """Hand rows to the engine: replaced documents deleted by one query, then the lines added."""
        index, engine = self._ready()
        if not rows.height:
            return []
        following = self._seq + rows.height
        rows = rows.with_columns(pl.int_range(self._seq, following, dtype=pl.Int64).alias(SEQ))
        if self._format.key:
            rows = rows.unique(ID, keep="last", maintain_order=True)
            if self._seq:  # else the index has never had a document to replace
                engine.delete_documents_by_query(Query.term_set_query(index.schema, ID, rows[ID].to_list()))
        else:
            rows = rows.with_columns(derived_id(key))
        self._seq = following
        lines = rows.select(line(rows, declared=bool(self._format.key))).to_series().to_list()
        return self._feed(engine, lines, rows, key)

    def _feed(
        self, engine: tantivy.IndexWriter, lines: list[str], rows: pl.DataFrame, key: PartitionKey
    ) -> list[Rejection]:
        """Add each line. What the engine refuses alone costs only itself."""
        refused: list[Rejection] = []
        pending = iter(lines)
        while True:
            try:
                deque(map(engine.add_json, pending), maxlen=0)
            except ValueError as error:
                if not any(text in str(error) for text in ABOUT_ONE_LINE):
                    raise
                row = len(lines) - pending.__length_hint__() - 1  # type: ignore[attr-defined]
                record, ordinal = rows[RECORD][row], rows[ORDINAL][row]
                refused.append(_refused(record, ordinal, str(error)))
                if self._format.key:
                    # Its predecessor is deleted already: go back, and leave this row out next time.
                    self._poison.add((key, record, ordinal))
                    raise
            else:
                return refused

    def _advance(
        self,
        batch: Batch,
        current: PositionDocument,
        rows: pl.DataFrame,
        own: list[Rejection],
        committed: int,
    ) -> None:
        key = current.key
        self._pending[key] = PositionDocument(
            pipeline=current.pipeline,
            partition=current.partition,
            position=batch.raw.position,
            ledger=current.ledger + account(batch, rows, own, committed),
            next_seq=self._seq,
            rows=current.rows + rows.height,
            deleted=current.deleted,
        )

    # Committing

    def commit(self) -> Watermarks:
        """Raises Rewound, Retryable."""
        if self._pending:
            self._ready()
            self._guarded(self._commit)
        return watermarks(self._committed.values())

    def _commit(self) -> None:
        _, engine = self._ready()
        for document in self._pending.values():
            engine.delete_documents_by_term(POSITION, document.term)
            engine.add_json(document.engine_line)
        engine.commit()
        self._committed |= self._pending
        self._pending = {}

    def retain(self) -> int:
        """Delete what is due; it goes with the next commit. How many documents that is."""
        retention = self.settings.retention
        if retention is None:
            return 0
        self._ready()
        return self._guarded(self._retain)

    def _retain(self) -> int:
        index, engine = self._ready()
        index.reload()
        assert self.settings.retention is not None
        found = due(index, self._folder, self.settings.retention, self.schema, self._clock.time())
        if found is None:
            return 0
        query, documents = found
        engine.delete_documents_by_query(query)
        # Deletions alone make a commit as well, and any one position document keeps their number.
        key, committed = next(iter(self._committed.items()))
        document = self._pending.get(key, committed)
        self._pending[key] = msgspec.structs.replace(document, deleted=document.deleted + documents)
        event(log.info, "index.retention_applied", index=self.name, documents=documents)
        return documents

    # Failing

    def _guarded(self, action: Callable[[], T]) -> T:
        """Run what touches the engine; on any failure go back to the last commit and raise Rewound."""
        try:
            return action()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the engine's panics are no Exceptions
            raise self._rewind(error) from error

    def _rewind(self, error: BaseException) -> Rewound:
        full = self._disk_is_full(error)
        self._pending = {}
        # The failed call's frames still hold the engine's writer, and with it the engine's lock.
        traceback.clear_frames(error.__traceback__)
        try:
            self._revive()
        except (HeadraceError, OSError) as failed:
            # The next write tries again, and says Retryable until it succeeds.
            event(log.warning, "index.writer_not_revived", index=self.name, reason=str(failed))
        positions = {key: document.position for key, document in self._committed.items()}
        reason = "the disk is full" if full else f"{type(error).__name__}: {error}"
        event(log.warning, "index.rolled_back", index=self.name, reason=reason)
        return Rewound(
            f"index {self.name!r} went back to its last commit: {reason}", positions, disk_full=full
        )

    def _disk_is_full(self, error: BaseException) -> bool:
        text = str(error)
        if "os error 28" in text or "No space left" in text:
            return True
        try:
            space = os.statvfs(self._folder)
        except OSError:
            return False
        return space.f_bavail * space.f_frsize < FULL_DISK_BYTES


def _refused(record: int, ordinal: int, detail: str) -> Rejection:
    return Rejection(record=record, ordinal=ordinal, stage=STAGE, reason="engine_refused", detail=detail)
