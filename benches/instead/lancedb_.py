"""LanceDB: Arrow tables with a full-text index, which is brought up to date by `optimize`.

It has no aggregation: those rows are fetched and counted in Polars, as its users do.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from benches.instead import Question, Record, library
from benches.instead._lines import COLUMNS


class Lance:
    def __init__(self, folder: Path) -> None:
        lancedb = library("lancedb")
        self.told = f"LanceDB {version('lancedb')}"
        self._database = lancedb.connect(str(folder))
        self._table: Any = None

    def load(self, source: Path) -> None:
        self._table = self._database.create_table("logs", _table(pl.read_ndjson(source)))
        self._table.create_fts_index("message", with_position=True)
        self._table.create_scalar_index("id", index_type="BTREE")
        self._table.create_scalar_index("service", index_type="BITMAP")
        self._table.create_scalar_index("status", index_type="BTREE")

    def add(self, records: Sequence[Record]) -> None:
        self._table.add(_table(pl.DataFrame(records)))
        self._table.optimize()

    def ask(self, question: Question) -> int:
        table = self._table
        if question.kind == "term":
            return int(table.search().where(f"id = '{question.value}'").limit(10).to_arrow().num_rows)
        if question.kind == "phrase":
            words = library("lancedb.query").PhraseQuery(question.value, "message")
            return int(table.search(words, query_type="fts").limit(10).to_arrow().num_rows)
        if question.kind == "terms":
            found = pl.from_arrow(
                table.search()
                .where(f"status >= {question.value}")
                .select(["service", "dur"])
                .limit(table.count_rows())
                .to_arrow()
            )
            assert isinstance(found, pl.DataFrame)
            return found.group_by("service").agg(pl.len(), pl.col("dur").mean().alias("mean")).height
        where = f"service = '{question.service}' and level = 'error' and ts < '{question.value}'"
        rows = table.search().where(where).limit(table.count_rows()).to_arrow()
        frame = pl.from_arrow(rows)
        assert isinstance(frame, pl.DataFrame)
        return frame.sort("ts", descending=True).head(10).height

    def close(self) -> None: ...


def _table(frame: pl.DataFrame) -> Any:
    """As Arrow; Lance indexes plain strings only, and Polars makes large ones."""
    arrow = library("pyarrow")
    table = frame.select(*COLUMNS).to_arrow()
    plain = [
        arrow.field(field.name, arrow.string()) if arrow.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(arrow.schema(plain))


def create(folder: Path) -> Lance:
    return Lance(folder)
