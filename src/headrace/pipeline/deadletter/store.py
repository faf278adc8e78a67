"""The writing side of the dead letters: the ingester alone."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from headrace.core.errors import Retryable
from headrace.core.state import explained, open_database, transaction
from headrace.model import PartitionKey
from headrace.pipeline.deadletter.letter import DeadLetter, row
from headrace.pipeline.deadletter.view import (
    APPLICATION_ID,
    REAL,
    VERSION,
    condition_of,
    count_of,
    reasons_of,
)

LIMIT: Final = 100_000
"""Letters a pipeline may keep; when there are so many, the input is wrong and not a record."""

SCHEMA: Final = """
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL, partition TEXT NOT NULL, record INTEGER NOT NULL,
    ordinal INTEGER NOT NULL, stage TEXT NOT NULL,
    reason TEXT NOT NULL, detail TEXT NOT NULL,
    original BLOB, compressed INTEGER NOT NULL, truncated INTEGER NOT NULL,
    origin TEXT NOT NULL, position TEXT NOT NULL, time REAL NOT NULL, batch TEXT NOT NULL,
    UNIQUE (pipeline, partition, record, ordinal, stage)
);
CREATE TABLE durable (
    pipeline TEXT NOT NULL, partition TEXT NOT NULL, record INTEGER NOT NULL,
    PRIMARY KEY (pipeline, partition)
) WITHOUT ROWID;
CREATE TABLE evicted (pipeline TEXT PRIMARY KEY, letters INTEGER NOT NULL) WITHOUT ROWID;
"""

UPSERT: Final = """
INSERT INTO letter (pipeline, partition, record, ordinal, stage, reason, detail, original, compressed,
                    truncated, origin, position, time, batch)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pipeline, partition, record, ordinal, stage) DO UPDATE SET
    reason = excluded.reason, detail = excluded.detail, original = excluded.original,
    compressed = excluded.compressed, truncated = excluded.truncated, origin = excluded.origin,
    position = excluded.position, time = excluded.time, batch = excluded.batch
"""


class DeadLettersFull(Retryable):
    """A pipeline's limit is reached: it pauses until letters are fixed, replayed or purged."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pipeline does with its dead letters."""

    limit: Annotated[int, msgspec.Meta(ge=1, description="dead letters a pipeline may keep")] = LIMIT
    when_full: Annotated[
        Literal["pause", "evict"],
        msgspec.Meta(description="pause: stop the pipeline until some are gone; evict: delete the oldest"),
    ] = "pause"


class DeadLetters:
    """The writing side, for the ingester alone. Synchronous, and safe to call from any thread.

    Every method raises StoreError (damaged, newer) or Retryable (disk full, busy).
    """

    def __init__(
        self, path: Path, *, limit: int = LIMIT, when_full: Literal["pause", "evict"] = "pause"
    ) -> None:
        self.path = path
        self._limit = limit
        self._when_full = when_full
        self._database: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        # Counting 100,000 rows takes 10 ms: counted only where this bound no longer settles it.
        self._kept_at_most: dict[str, int] = {}
        # Highest record of letters that are not real yet; only their partitions' watermarks are written.
        self._pending: dict[PartitionKey, int] = {}

    def open(self, durable: Mapping[PartitionKey, int], pipelines: Collection[str] | None = None) -> int:
        """Open, then `rewind`; returns how many letters were deleted."""
        with self._lock:
            if self._database is None:
                self._database = open_database(
                    self.path, application_id=APPLICATION_ID, version=VERSION, migrate=_migrate
                )
        return self.rewind(durable, pipelines)

    def rewind(self, durable: Mapping[PartitionKey, int], pipelines: Collection[str] | None = None) -> int:
        """Delete every letter at or above the durable record number of its partition.

        To be called at start and after a rollback, with *all* durable positions of `pipelines`: of a
        partition that is missing, every letter is deleted. Without `pipelines` all are judged; letters
        of a pipeline that is not judged stay as they are (its index could not be opened, say).
        """
        with self._writing() as database:
            judged = _pipelines(database) if pipelines is None else pipelines
            deleted = 0
            for pipeline in judged:
                database.execute("DELETE FROM durable WHERE pipeline = ?", (pipeline,))
                _store_watermarks(database, {key: at for key, at in durable.items() if key[0] == pipeline})
                deleted += database.execute(
                    """DELETE FROM letter WHERE pipeline = ? AND record >= coalesce(
                        (SELECT record FROM durable WHERE durable.pipeline = letter.pipeline
                         AND durable.partition = letter.partition), 0)""",
                    (pipeline,),
                ).rowcount
            self._pending = _pending(database)
        return deleted

    def append(self, letters: Sequence[DeadLetter], read_again: tuple[str, str, int] | None = None) -> int:
        """Keep them, on disk when it returns; the same key again replaces. Returns how many were evicted.

        All letters of the record that was `read_again` (pipeline, partition, number) are taken back first.

        Raises DeadLettersFull, and then nothing is kept. The limit may be passed by the letters of one
        batch, so that a batch with more of them than the limit is not stuck for ever.
        """
        if not letters and read_again is None:
            return 0
        with self._lock:
            evicted = self._store(letters, read_again)
            for letter in letters:
                key = (letter.pipeline, letter.partition)
                self._pending[key] = max(letter.record, self._pending.get(key, 0))
            return evicted

    def confirm(self, durable: Mapping[PartitionKey, int]) -> None:
        """These record numbers are durable: the letters below them are real. No disk access without any."""
        with self._lock:
            moved = {key: durable[key] for key in self._pending if key in durable}
            if not moved:
                return
            with self._writing() as database:
                _store_watermarks(database, moved)
            for key, record in moved.items():
                if record > self._pending[key]:
                    del self._pending[key]

    def purge(self, pipeline: str, reason: str | None = None) -> int:
        """Delete real letters for good; returns how many."""
        condition, values = condition_of(pipeline=pipeline, reason=reason)
        with self._writing() as database:
            chosen = f"SELECT letter.id FROM {REAL}{condition}"  # noqa: S608  constants only
            return database.execute(f"DELETE FROM letter WHERE id IN ({chosen})", values).rowcount  # noqa: S608

    def count(self, pipeline: str | None = None) -> int:
        """Real letters."""
        with self._reading() as database:
            return count_of(database, pipeline)

    def kept(self, pipeline: str) -> int:
        """Letters on disk, those included that are not real yet: what a limit is compared with."""
        with self._reading() as database:
            return _kept(database, pipeline)

    def reasons(self, pipeline: str | None = None) -> dict[str, int]:
        """Real letters by reason, the most frequent first."""
        with self._reading() as database:
            return reasons_of(database, pipeline)

    def evicted(self, pipeline: str) -> int:
        """Letters of a pipeline that were ever deleted to make room: a term of its ledger."""
        with self._reading() as database:
            row = database.execute("SELECT letters FROM evicted WHERE pipeline = ?", (pipeline,)).fetchone()
            return int(row[0]) if row else 0

    def close(self) -> None:
        """Safe without `open`, and twice."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path):
            assert self._database is not None, "open() comes first"
            yield self._database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database, transaction(database):
            yield database

    def _store(self, letters: Sequence[DeadLetter], read_again: tuple[str, str, int] | None) -> int:
        new = Counter(letter.pipeline for letter in letters)
        with self._writing() as database:
            if read_again is not None:
                taken_back = "DELETE FROM letter WHERE pipeline = ? AND partition = ? AND record = ?"
                database.execute(taken_back, read_again)
            before = {
                name: _kept(database, name)
                for name, more in new.items()
                if self._kept_at_most.get(name, math.inf) + more > self._limit
            }
            database.executemany(UPSERT, map(row, letters))
            evicted = sum(self._keep_limit(database, name, kept) for name, kept in before.items())
        for name, more in new.items():
            self._kept_at_most[name] = before.get(name, self._kept_at_most.get(name, 0)) + more
        return evicted

    def _keep_limit(self, database: sqlite3.Connection, pipeline: str, before: int) -> int:
        kept = _kept(database, pipeline)
        if kept <= self._limit:
            return 0
        if self._when_full == "evict":
            return _evict(database, pipeline, kept - self._limit)
        # A repeated append adds nothing, and must pass.
        if before >= self._limit and kept > before:
            raise DeadLettersFull(
                f"pipeline {pipeline!r} keeps {before} dead letters, its limit is {self._limit}: "
                "delete some, or raise the limit",
                after=5.0,
            )
        return 0


def _migrate(database: sqlite3.Connection, found: int) -> None:
    if found < 1:
        # One by one: executescript would commit the transaction it runs in.
        for statement in SCHEMA.split(";"):
            database.execute(statement)


def _pipelines(database: sqlite3.Connection) -> Iterable[str]:
    rows = database.execute("SELECT pipeline FROM letter UNION SELECT pipeline FROM durable").fetchall()
    return [pipeline for (pipeline,) in rows]


def _store_watermarks(database: sqlite3.Connection, durable: Mapping[PartitionKey, int]) -> None:
    database.executemany(
        """INSERT INTO durable VALUES (?, ?, ?) ON CONFLICT (pipeline, partition)
           DO UPDATE SET record = max(record, excluded.record)""",
        [(*key, record) for key, record in durable.items()],
    )


def _pending(database: sqlite3.Connection) -> dict[PartitionKey, int]:
    rows = database.execute(
        """SELECT pipeline, partition, max(letter.record) FROM letter
           LEFT JOIN durable USING (pipeline, partition)
           WHERE letter.record >= coalesce(durable.record, 0) GROUP BY pipeline, partition"""
    )
    return {(pipeline, partition): record for pipeline, partition, record in rows}


def _kept(database: sqlite3.Connection, pipeline: str) -> int:
    row = database.execute("SELECT count(*) FROM letter WHERE pipeline = ?", (pipeline,)).fetchone()
    return int(row[0])


def _evict(database: sqlite3.Connection, pipeline: str, number: int) -> int:
    database.execute(
        "DELETE FROM letter WHERE id IN (SELECT id FROM letter WHERE pipeline = ? ORDER BY id LIMIT ?)",
        (pipeline, number),
    )
    database.execute(
        "INSERT INTO evicted VALUES (?, ?) ON CONFLICT DO UPDATE SET letters = letters + excluded.letters",
        (pipeline, number),
    )
    return number
