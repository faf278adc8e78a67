"""The files of the buffer: SQLite, named by the number of their first entry; only the newest is written.

Each begins with the record numbers all logs had reached, so that numbers go on when older files are gone.
Entries point to blobs: a blob that no entry points to (a large request never finished) exists for nobody.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from headrace.core.errors import Fatal, Retryable, StoreError
from headrace.core.state import explained, open_database, open_reader

APPLICATION_ID: Final = 0x48524246
VERSION: Final = 1
SUFFIX: Final = ".sqlite"
QUARANTINED: Final = ".corrupt"
STAGED: Final = "next.tmp"
BESIDE: Final = ("-wal", "-shm", "-journal")
DAMAGE: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}
)
"""Of SQLite's codes; that it could not read, open or make a file says nothing of what is in it."""

DIGITS: Final = 20
LOG_BYTES: Final = 64 << 20
ANY_LOG: Final = ""
"""In `start`: what is said of logs that are not named there."""

SCHEMA: Final = """
CREATE TABLE file (incarnation TEXT NOT NULL, first INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE start (log TEXT PRIMARY KEY, record INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY, log TEXT NOT NULL, first INTEGER NOT NULL, records INTEGER NOT NULL,
    at REAL NOT NULL, blob INTEGER NOT NULL, bytes INTEGER NOT NULL, checksum INTEGER NOT NULL
);
CREATE INDEX entry_of_log ON entry (log, first);
CREATE TABLE blob (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, coding INTEGER NOT NULL, head INTEGER NOT NULL,
    size INTEGER NOT NULL, content BLOB NOT NULL
);
CREATE TABLE answer (key TEXT PRIMARY KEY, at REAL NOT NULL, answer BLOB NOT NULL);
"""


class Beginning(NamedTuple):
    """What a file says of itself: never changes once the file is there."""

    incarnation: str
    first: int
    starts: Mapping[str, int]


def file_of(directory: Path, first: int) -> Path:
    return directory / f"{first:0{DIGITS}}{SUFFIX}"


def files(directory: Path) -> list[Path]:
    """The chain, oldest first."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    return [directory / name for name in sorted(names) if name[: -len(SUFFIX)].isdecimal()]


def first_of(path: Path) -> int:
    return int(path.name.removesuffix(SUFFIX))


def quarantined(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{SUFFIX}*{QUARANTINED}"))


def create(directory: Path, beginning: Beginning, at: float) -> sqlite3.Connection:
    """A new newest file, on disk with its name when this returns. Raises Retryable, StoreError."""
    path = file_of(directory, beginning.first)
    staged = directory / STAGED

    def migrate(database: sqlite3.Connection, _found: int) -> None:
        for statement in filter(None, map(str.strip, SCHEMA.split(";"))):
            database.execute(statement)
        database.execute("INSERT INTO file VALUES (?, ?, ?)", (beginning.incarnation, beginning.first, at))
        database.executemany("INSERT INTO start VALUES (?, ?)", beginning.starts.items())

    remove(staged)
    try:
        # Closed once before it gets its name: nobody ever sees half a file there, not even after a crash.
        open_database(staged, application_id=APPLICATION_ID, version=VERSION, migrate=migrate).close()
        staged.rename(path)
    except BaseException as error:
        remove(staged)
        if isinstance(error, OSError):
            raise Retryable(f"{path}: cannot be made ({error.strerror})") from error
        raise
    sync_folder(directory)
    return open_newest(path)


def open_newest(path: Path) -> sqlite3.Connection:
    """Go on writing a file that is there. Raises StoreError, Retryable."""

    def migrate(_database: sqlite3.Connection, _found: int) -> None:
        raise StoreError(f"{path}: empty, so it cannot be the buffer's newest file; remove it")

    database = open_database(path, application_id=APPLICATION_ID, version=VERSION, migrate=migrate)
    # One huge transaction does not leave its log that large for ever.
    database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    return database


def open_for_reading(path: Path, *, sealed: bool = False) -> sqlite3.Connection | None:
    """None: gone, or empty. `sealed`: there is a newer one. Raises StoreError, Retryable."""
    final = sealed and not has_log(path)
    return open_reader(path, application_id=APPLICATION_ID, version=VERSION, final=final)


def has_log(path: Path) -> bool:
    """Whether some of what was committed may still be in the file's log, and not in the file."""
    try:
        return path.with_name(path.name + BESIDE[0]).stat().st_size > 0
    except FileNotFoundError:
        return False


def settle(database: sqlite3.Connection) -> None:
    """Bring all of it into the file and close; on a full disk its log stays, and is read with it."""
    with suppress(sqlite3.Error):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with suppress(sqlite3.Error):
        database.close()


def beginning_of(database: sqlite3.Connection, path: Path) -> Beginning:
    """Raises StoreError."""
    with explained(path):
        row = database.execute("SELECT incarnation, first FROM file").fetchone()
        starts = dict(database.execute("SELECT log, record FROM start").fetchall())
    if row is None:
        raise StoreError(f"{path}: damaged (it does not say which buffer it belongs to)")
    return Beginning(str(row[0]), int(row[1]), starts)


def is_damage(error: Fatal) -> bool:
    """Whether an error says that the file's content is bad, and not that we may not read it, or not yet."""
    cause = error.__cause__
    if not isinstance(cause, sqlite3.Error):
        return not isinstance(cause, OSError) and "newer headrace" not in str(error)
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in DAMAGE


def start_of(starts: Mapping[str, int], log: str) -> int:
    """The record number a log had reached when the file began."""
    return starts.get(log, starts.get(ANY_LOG, 0))


def remove(path: Path) -> int:
    """Unlink a file whole; returns how many bytes that freed."""
    freed = size_of(path)
    # The file first: a log left without its file is nothing, a file without its log may be half.
    for name in (path, *(path.with_name(path.name + suffix) for suffix in BESIDE)):
        name.unlink(missing_ok=True)
    return freed


def quarantine(path: Path) -> Path:
    """Take a file out of the chain without losing a byte of it; returns its new name."""
    target = path.with_name(path.name + QUARANTINED)
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{number}{QUARANTINED}")
    # The file first: a log that stays behind without its file is swept at the next start.
    path.rename(target)
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    return target


def size_of(path: Path) -> int:
    total = 0
    for name in (path, *(path.with_name(path.name + suffix) for suffix in BESIDE[:1])):
        with suppress(FileNotFoundError):
            total += name.stat().st_size
    return total


def sync_folder(directory: Path) -> None:
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
