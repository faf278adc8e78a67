"""DuckDB: columns, so aggregations are its home; its full-text index is made anew at every change.

The extension for full text has to be fetched by DuckDB itself; without it a phrase is a scan for the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benches.instead import Question, Record, library
from benches.instead._lines import COLUMNS

COLUMN_TYPES = (
    "{id: 'VARCHAR', ts: 'TIMESTAMP', level: 'VARCHAR', service: 'VARCHAR', status: 'INTEGER', "
    "dur: 'DOUBLE', message: 'VARCHAR'}"
)
ASKED = {
    "term": "select * from logs where id = ?",
    "phrase": "select * from logs where contains(' ' || message || ' ', ' ' || ? || ' ') limit 10",
    "filter": (
        "select * from logs where service = ? and level = 'error' and ts < ?::timestamp "
        "order by ts desc limit 10"
    ),
    "terms": "select service, count(*), avg(dur) from logs where status >= ? group by service",
}


class Duck:
    def __init__(self, folder: Path) -> None:
        duckdb = library("duckdb")
        folder.mkdir(parents=True)
        self.told = f"DuckDB {duckdb.__version__}, phrases by a scan"
        self._database = duckdb.connect(str(folder / "logs.duckdb"))
        self._database.execute(
            "create table logs (id varchar, ts timestamp, level varchar, service varchar, "
            "status integer, dur double, message varchar)"
        )
        self._database.execute("create index by_id on logs (id)")

    def load(self, source: Path) -> None:
        self._database.execute(
            "insert into logs select * "
            f"from read_json(?, format='newline_delimited', columns={COLUMN_TYPES})",
            [str(source)],
        )

    def add(self, records: Sequence[Record]) -> None:
        import polars as pl

        self._database.register("rows", pl.DataFrame(records).select(*COLUMNS).to_arrow())
        self._database.execute("insert into logs select * replace (ts::timestamp as ts) from rows")
        self._database.unregister("rows")

    def ask(self, question: Question) -> int:
        values = [question.service, question.value] if question.kind == "filter" else [question.value]
        return len(self._database.execute(ASKED[question.kind], values).fetchall())

    def close(self) -> None:
        self._database.close()


def create(folder: Path) -> Duck:
    return Duck(folder)
