"""SQLite files: crash-safe, versioned, and left untouched when they are not ours or newer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from headrace.core.errors import Retryable, StoreError
from headrace.core.state import explained, open_database, open_reader, transaction

KIND = 0x48520001


def migrate(database: sqlite3.Connection, found: int) -> None:
    if found < 1:
        database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
    if found < 2:
        database.execute("ALTER TABLE note ADD COLUMN author TEXT DEFAULT 'unknown'")


def opened(path: Path, version: int = 2) -> sqlite3.Connection:
    return open_database(path, application_id=KIND, version=version, migrate=migrate)


def first_format(database: sqlite3.Connection, found: int) -> None:
    database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state ?#%.db"


def notes(database: sqlite3.Connection) -> list[str]:
    return [text for (text,) in database.execute("SELECT text FROM note ORDER BY id")]


def test_a_new_file_is_durable_and_strict_by_its_settings(path: Path) -> None:
    with closing(opened(path)) as database:
        found = [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]
    assert path.exists()


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with closing(opened(path)) as database:
        with transaction(database):
            database.execute("INSERT INTO note (text) VALUES ('kept')")
        with pytest.raises(sqlite3.IntegrityError), transaction(database):
            database.executemany("INSERT INTO note (id, text) VALUES (?, 'lost')", [(7,), (7,)])
        assert notes(database) == ["kept"]
    with closing(opened(path)) as database:
        assert notes(database) == ["kept"]


def test_an_older_format_is_migrated_with_its_rows(path: Path) -> None:
    with closing(open_database(path, application_id=KIND, version=1, migrate=first_format)) as database:
        database.execute("INSERT INTO note (text) VALUES ('old')")
    with closing(opened(path)) as database:
        assert database.execute("SELECT text, author FROM note").fetchall() == [("old", "unknown")]


def test_a_failed_migration_leaves_the_old_format(path: Path) -> None:
    with closing(open_database(path, application_id=KIND, version=1, migrate=first_format)):
        pass

    def fails(database: sqlite3.Connection, found: int) -> None:
        database.execute("DROP TABLE note")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        open_database(path, application_id=KIND, version=2, migrate=fails)
    with closing(opened(path, version=2)) as database:
        assert notes(database) == []


def test_a_newer_format_is_refused_and_untouched(path: Path) -> None:
    with closing(opened(path)) as database:
        database.execute("PRAGMA user_version = 3")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"written by a newer headrace \(format 3, this version knows 2\)"):
        opened(path)
    with pytest.raises(StoreError, match="written by a newer headrace"):
        open_reader(path, application_id=KIND, version=2)
    assert path.read_bytes() == before


def test_somebody_elses_database_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE precious (id)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a file of this kind"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at", b"SQLite format 3\0" + b"\xff" * 5_000]
)
def test_a_damaged_file_is_refused_by_name_and_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"state.db: damaged, or not a database.*move it away"):
        opened(path)
    assert path.read_bytes() == content


def test_damage_found_later_is_explained_too(path: Path) -> None:
    with closing(opened(path)) as database, transaction(database):
        database.executemany("INSERT INTO note (text) VALUES (?)", [("x" * 500,) for _ in range(200)])
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with closing(opened(path)) as database, pytest.raises(StoreError, match="damaged"), explained(path):
        notes(database)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="check its folder"):
        opened(tmp_path / "file" / "state.db")


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    assert open_reader(path, application_id=KIND, version=2) is None
    with closing(opened(path)) as database:
        assert notes(database) == []


def test_a_reader_sees_committed_rows_while_the_writer_is_at_work(path: Path) -> None:
    assert open_reader(path, application_id=KIND, version=2) is None
    with closing(opened(path)) as writer:
        writer.execute("INSERT INTO note (text) VALUES ('one')")
        reader = open_reader(path, application_id=KIND, version=2)
        assert reader is not None
        with closing(reader), transaction(writer):
            writer.execute("INSERT INTO note (text) VALUES ('two')")
            assert notes(reader) == ["one"]
            with pytest.raises(StoreError, match="readonly"), explained(path):
                reader.execute("DELETE FROM note")


def test_a_second_writer_waits_its_turn_and_is_told_to_come_back(path: Path) -> None:
    with closing(opened(path)) as one, closing(opened(path)) as other:
        other.execute("PRAGMA busy_timeout = 0")
        with transaction(one), pytest.raises(Retryable, match="in use"), explained(path), transaction(other):
            pass


def test_a_kill_in_the_middle_of_a_transaction_costs_that_transaction_only(path: Path) -> None:
    code = textwrap.dedent(f"""
        import sys, sqlite3
        from pathlib import Path
        from headrace.core.state import open_database, transaction
        make = lambda database, found: database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        database = open_database(Path(sys.argv[1]), application_id={KIND}, version=1, migrate=make)
        with transaction(database):
            database.execute("INSERT INTO note (text) VALUES ('kept')")
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO note (text) VALUES ('lost')")
        print("ready", flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    with closing(opened(path)) as database:
        assert notes(database) == ["kept"]
