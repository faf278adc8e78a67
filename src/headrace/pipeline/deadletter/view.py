"""The reading side of the dead letters: only real ones, beside the writer or without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from headrace.core.state import explained, open_reader
from headrace.pipeline.deadletter.letter import COLUMNS, DeadLetter, from_row

APPLICATION_ID: Final = 0x48524454
VERSION: Final = 1

REAL: Final = "letter JOIN durable USING (pipeline, partition) WHERE letter.record < durable.record"


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
        condition, values = condition_of(pipeline=pipeline, reason=reason, stage=stage)
        query = f"SELECT {COLUMNS} FROM {REAL}{condition} AND letter.id > ? ORDER BY letter.id LIMIT ?"  # noqa: S608
        with self._reading() as database:
            rows = database.execute(query, (*values, after, limit)) if database else ()
            return [from_row(row) for row in rows]

    def show(self, letter_id: int) -> DeadLetter | None:
        """One real letter."""
        found = self.list(limit=1, after=letter_id - 1)
        return found[0] if found and found[0].id == letter_id else None

    def count(self, pipeline: str | None = None) -> int:
        with self._reading() as database:
            return count_of(database, pipeline) if database else 0

    def reasons(self, pipeline: str | None = None) -> dict[str, int]:
        """Real letters by reason, the most frequent first."""
        with self._reading() as database:
            return reasons_of(database, pipeline) if database else {}

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with explained(self.path):
            database = open_reader(self.path, application_id=APPLICATION_ID, version=VERSION)
            if database is None:
                yield None
                return
            with closing(database):
                yield database


def condition_of(**wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """« AND pipeline = ?…» and its values, for what is given; the names are ours, never a user's."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(given.values())


def count_of(database: sqlite3.Connection, pipeline: str | None) -> int:
    condition, values = condition_of(pipeline=pipeline)
    return int(database.execute(f"SELECT count(*) FROM {REAL}{condition}", values).fetchone()[0])  # noqa: S608


def reasons_of(database: sqlite3.Connection, pipeline: str | None) -> dict[str, int]:
    condition, values = condition_of(pipeline=pipeline)
    query = f"SELECT reason, count(*) AS n FROM {REAL}{condition} GROUP BY reason ORDER BY n DESC, reason"  # noqa: S608
    return dict(database.execute(query, values).fetchall())
