"""SQLite with FTS5 for the message: in the standard library, so it is what one tries first."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from benches.instead import Question, Record
from benches.instead._lines import COLUMNS, batches

SCHEMA = """
create table logs (id text, ts text, level text, service text, status integer, dur real, message text);
create index by_id on logs (id);
create index by_service on logs (service, level, ts);
create index by_status on logs (status);
create virtual table words using fts5 (message, content=logs, content_rowid=rowid);
"""
INSERT = f"insert into logs values ({', '.join(f':{name}' for name in COLUMNS)})"
INDEX = "insert into words (rowid, message) select rowid, message from logs where rowid > ?"
ASKED = {
    "term": "select * from logs where id = ?",
    "phrase": "select logs.* from words join logs on logs.rowid = words.rowid where words match ? limit 10",
    "filter": (
        "select * from logs where service = ? and level = 'error' and ts < ? order by ts desc limit 10"
    ),
    "terms": "select service, count(*), avg(dur) from logs where status >= ? group by service",
}


class Sqlite:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.told = f"SQLite {sqlite3.sqlite_version}, FTS5"
        self._database = sqlite3.connect(folder / "logs.sqlite")
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.executescript(SCHEMA)

    def load(self, source: Path) -> None:
        for records in batches(source):
            self.add(records)

    def add(self, records: Sequence[Record]) -> None:
        with self._database as database:
            last = database.execute("select coalesce(max(rowid), 0) from logs").fetchone()[0]
            database.executemany(INSERT, records)
            database.execute(INDEX, (last,))

    def ask(self, question: Question) -> int:
        values = (question.service, question.value) if question.kind == "filter" else (question.value,)
        if question.kind == "phrase":
            values = (f'"{question.value}"',)
        return len(self._database.execute(ASKED[question.kind], values).fetchall())

    def close(self) -> None:
        self._database.execute("pragma wal_checkpoint(truncate)")
        self._database.close()


def create(folder: Path) -> Sqlite:
    return Sqlite(folder)
