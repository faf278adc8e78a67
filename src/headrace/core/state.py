"""SQLite files of ours: one writing process each, crash-safe, with a format version that is never guessed.

`application_id` says that a file is ours and which kind it is, `user_version` which format it has. A file
that is neither empty nor known is left exactly as it was found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from headrace.core.errors import Retryable, StoreError

BUSY_MS: Final = 5_000
"""Readers never block the writer in WAL mode; this covers the moment of a checkpoint or of opening."""

Migrate = Callable[[sqlite3.Connection, int], None]
"""Brings a database from the given format version (0 is empty) to the current one, inside a transaction."""


def open_database(path: Path, *, application_id: int, version: int, migrate: Migrate) -> sqlite3.Connection:
    """Open for writing; create or migrate where needed. One process at a time (the role's lock sees to it).

    The connection may be used from any thread, one at a time, and has no implicit transactions: use
    `transaction`. Raises StoreError (damaged, not ours, newer), Retryable (busy).
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            # Look before anything is written: even switching on WAL changes the file.
            with closing(_connect(path, "ro")) as existing:
                _check(existing, path, application_id, version)
        database = _connect(path, "rwc")
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            _bring_up(database, application_id, version, migrate)
        except BaseException:
            database.close()
            raise
        return database


def open_reader(
    path: Path, *, application_id: int, version: int, final: bool = False
) -> sqlite3.Connection | None:
    """Open for reading beside the writer, also from another process; None where there is no file (yet).

    `final`: nobody writes the file any more and it has no log beside it; then it can be read on a full
    disk too, where the index of that log could not be made.
    """
    if not path.exists() or not path.stat().st_size:
        return None
    with explained(path):
        database = _connect(path, "ro&immutable=1" if final else "ro")
        try:
            if not _version(database):
                # Created a moment ago, its first transaction is still to come.
                database.close()
                return None
            _check(database, path, application_id, version)
        except BaseException:
            database.close()
            raise
        return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, on disk (fsynced) when it returns; takes the write lock at its beginning."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        # A failed COMMIT (disk full) may have rolled back by itself.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into ours, naming the file and what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _ours(path, error) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened ({error.strerror}), check its folder") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return database


def _bring_up(database: sqlite3.Connection, application_id: int, version: int, migrate: Migrate) -> None:
    found = _version(database)
    if found == version:
        return
    with transaction(database):
        migrate(database, found)
        # In the same transaction as the tables: a crash leaves the old format, whole.
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute(f"PRAGMA user_version = {version}")


def _check(database: sqlite3.Connection, path: Path, application_id: int, version: int) -> None:
    found_id = _pragma(database, "application_id")
    found = _version(database)
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if found_id == found == tables == 0:
        return
    if found_id != application_id:
        raise StoreError(f"{path}: not a file of this kind of headrace's, left untouched; move it away")
    if found > version:
        raise StoreError(
            f"{path}: written by a newer headrace (format {found}, this version knows {version}), "
            "left untouched; use that version, or move the file away"
        )


def _version(database: sqlite3.Connection) -> int:
    return _pragma(database, "user_version")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _ours(path: Path, error: sqlite3.Error) -> Retryable | StoreError:
    # The lowest byte is the primary code, the rest refines it.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Retryable(f"{path}: in use by another process")
    if code == sqlite3.SQLITE_FULL:
        return Retryable(f"{path}: no space left on the disk, free some")
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreError(
            f"{path}: damaged, or not a database ({error}), left untouched; "
            "restore it from a backup, or move it away to start with an empty one"
        )
    return StoreError(f"{path}: cannot be used ({error}), check its disk and permissions")
