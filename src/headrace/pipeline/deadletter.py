"""Dead letters: rejected records kept in SQLite, until they are fixed, replayed or purged.

A letter is written before the commit that covers its record, and is real only once that commit is durable:
the letter of record r is real if and only if r < the durable position of its partition (PROTOCOL 15).
Readers see real ones only; at start, and after a rollback, all others are deleted, for they come again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import cramjam
import msgspec

from headrace.core.errors import Retryable
from headrace.core.state import explained, open_database, open_reader, transaction
from headrace.model import PartitionKey

APPLICATION_ID: Final = 0x48524454
VERSION: Final = 1

LIMIT: Final = 100_000
"""Letters a pipeline may keep; when there are so many, the input is wrong and not a record."""

ORIGINAL_BYTES: Final = 64 * 1024
"""Of a record's own bytes this much is kept; a 100 MB line must not fill the store."""

DETAIL_CHARACTERS: Final = 4_096
COMPRESS_FROM: Final = 256
"""Below this zstd's own frame eats what it saves."""

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

REAL: Final = "letter JOIN durable USING (pipeline, partition) WHERE letter.record < durable.record"

UPSERT: Final = """
INSERT INTO letter (pipeline, partition, record, ordinal, stage, reason, detail, original, compressed,
                    truncated, origin, position, time, batch)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pipeline, partition, record, ordinal, stage) DO UPDATE SET
    reason = excluded.reason, detail = excluded.detail, original = excluded.original,
    compressed = excluded.compressed, truncated = excluded.truncated, origin = excluded.origin,
    position = excluded.position, time = excluded.time, batch = excluded.batch
"""

COLUMNS: Final = """letter.id, letter.pipeline, letter.partition, letter.record, ordinal, stage, reason,
detail, original, compressed, truncated, origin, position, time, batch"""
NAMES: Final = [name.strip().removeprefix("letter.") for name in COLUMNS.split(",")]


class DeadLettersFull(Retryable):
    """A pipeline's limit is reached: it pauses until letters are fixed, replayed or purged."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One rejected record; its key is (pipeline, partition, record, ordinal, stage).

    record:    number of the record in its partition
    original:  the record's own bytes, at most `ORIGINAL_BYTES`; None where they are not known
    truncated: `original` is only the beginning
    origin:    where people find it: a path, a topic
    position:  where in the origin, in words: "line 37", "offset 120"
    time:      unix time in seconds of the rejection
    batch:     correlates it with the log
    id:        given by the store, never used twice
    """

    pipeline: str
    partition: str
    record: int
    stage: str
    reason: str
    detail: str
    ordinal: int = 0
    original: bytes | None = None
    truncated: bool = False
    origin: str = ""
    position: str = ""
    time: float = 0.0
    batch: str = ""
    id: int = 0


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

    def append(self, letters: Sequence[DeadLetter]) -> int:
        """Keep them, on disk when it returns; the same key again replaces. Returns how many were evicted.

        Raises DeadLettersFull, and then nothing is kept. The limit may be passed by the letters of one
        batch, so that a batch with more of them than the limit is not stuck for ever.
        """
        if not letters:
            return 0
        with self._lock:
            evicted = self._store(letters)
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
        condition, values = _condition(pipeline=pipeline, reason=reason)
        with self._writing() as database:
            chosen = f"SELECT letter.id FROM {REAL}{condition}"  # noqa: S608  constants only
            return database.execute(f"DELETE FROM letter WHERE id IN ({chosen})", values).rowcount  # noqa: S608

    def count(self, pipeline: str | None = None) -> int:
        """Real letters."""
        with self._reading() as database:
            return _count(database, pipeline)

    def kept(self, pipeline: str) -> int:
        """Letters on disk, those included that are not real yet: what a limit is compared with."""
        with self._reading() as database:
            return _kept(database, pipeline)

    def reasons(self, pipeline: str | None = None) -> dict[str, int]:
        """Real letters by reason, the most frequent first."""
        with self._reading() as database:
            return _reasons(database, pipeline)

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

    def _store(self, letters: Sequence[DeadLetter]) -> int:
        with self._writing() as database:
            before = {name: _kept(database, name) for name in {letter.pipeline for letter in letters}}
            database.executemany(UPSERT, map(_row, letters))
            return sum(self._keep_limit(database, name, kept) for name, kept in before.items())

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
                "replay or purge some, or raise the limit",
                after=5.0,
            )
        return 0


class DeadLetterView:
    """The reading side, for any process, beside the writer or without one. A missing file is empty.

    Each call opens the file anew, so it may be used from any thread and outlive the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(
        self,
        pipeline: str | None = None,
        reason: str | None = None,
        stage: str | None = None,
        *,
        limit: int = 100,
        after: int = 0,
    ) -> Sequence[DeadLetter]:
        """Real letters by id, oldest first; `after` is the last id of the page before."""
        condition, values = _condition(pipeline=pipeline, reason=reason, stage=stage)
        query = f"SELECT {COLUMNS} FROM {REAL}{condition} AND letter.id > ? ORDER BY letter.id LIMIT ?"  # noqa: S608
        with self._reading() as database:
            rows = database.execute(query, (*values, after, limit)) if database else ()
            return [_letter(row) for row in rows]

    def show(self, letter_id: int) -> DeadLetter | None:
        """One real letter."""
        found = self.list(limit=1, after=letter_id - 1)
        return found[0] if found and found[0].id == letter_id else None

    def count(self, pipeline: str | None = None) -> int:
        with self._reading() as database:
            return _count(database, pipeline) if database else 0

    def reasons(self, pipeline: str | None = None) -> dict[str, int]:
        """Real letters by reason, the most frequent first."""
        with self._reading() as database:
            return _reasons(database, pipeline) if database else {}

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with explained(self.path):
            database = open_reader(self.path, application_id=APPLICATION_ID, version=VERSION)
            if database is None:
                yield None
                return
            with closing(database):
                yield database


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


def _condition(**wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """« AND pipeline = ?…» and its values, for what is given; the names are ours, never a user's."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(given.values())


def _count(database: sqlite3.Connection, pipeline: str | None) -> int:
    condition, values = _condition(pipeline=pipeline)
    return int(database.execute(f"SELECT count(*) FROM {REAL}{condition}", values).fetchone()[0])  # noqa: S608


def _reasons(database: sqlite3.Connection, pipeline: str | None) -> dict[str, int]:
    condition, values = _condition(pipeline=pipeline)
    query = f"SELECT reason, count(*) AS n FROM {REAL}{condition} GROUP BY reason ORDER BY n DESC, reason"  # noqa: S608
    return dict(database.execute(query, values).fetchall())


def _row(letter: DeadLetter) -> tuple[object, ...]:
    original = letter.original
    truncated = letter.truncated
    if original is not None and len(original) > ORIGINAL_BYTES:
        original, truncated = original[:ORIGINAL_BYTES], True
    compressed = original is not None and len(original) > COMPRESS_FROM
    return (
        letter.pipeline,
        letter.partition,
        letter.record,
        letter.ordinal,
        letter.stage,
        letter.reason,
        _storable(letter.detail),
        bytes(cramjam.zstd.compress(original)) if original is not None and compressed else original,
        compressed,
        truncated,
        _storable(letter.origin),
        _storable(letter.position),
        letter.time,
        letter.batch,
    )


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    values = dict(zip(NAMES, row, strict=True))
    if values.pop("compressed"):
        values["original"] = bytes(cramjam.zstd.decompress(values["original"]))
    values["truncated"] = bool(values["truncated"])
    return DeadLetter(**values)


def _storable(text: str) -> str:
    """Valid UTF-8 and not endless: details quote bad data, and a path may hold any byte."""
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if len(valid) <= DETAIL_CHARACTERS else valid[: DETAIL_CHARACTERS - 1] + "…"
