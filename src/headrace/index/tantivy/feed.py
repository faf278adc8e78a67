"""Lines into the engine, and what its errors mean: it says `ValueError` to everything."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import tantivy

from headrace.index.tantivy.rows import ORDINAL, STAGE
from headrace.model import RECORD, PartitionKey, Rejection

FULL_DISK_BYTES: Final = 1 << 20
"""Less free space than this beside a dead writer is the reason of its death: the engine does not say."""

_ABOUT_ONE_LINE: Final = ("could not be parsed", "not valid JSON")
"""What the engine says of a line that it refuses alone; after anything else the writer is dead."""


class Poison:
    """Rows that the engine refused when their predecessor was deleted already: left out ever after."""

    def __init__(self) -> None:
        self._rows: set[tuple[PartitionKey, int, int]] = set()

    def add(self, key: PartitionKey, record: int, ordinal: int) -> None:
        self._rows.add((key, record, ordinal))

    def without(self, rows: pl.DataFrame, key: PartitionKey) -> tuple[pl.DataFrame, list[Rejection]]:
        if not self._rows:
            return rows, []
        known = [(record, ordinal) for where, record, ordinal in self._rows if where == key]
        places = list(rows.select(RECORD, ORDINAL).iter_rows())
        mask = pl.Series([place in known for place in places], dtype=pl.Boolean)
        refused = [
            engine_refused(*place, "the engine refused it before") for place in places if place in known
        ]
        return rows.filter(~mask), refused


def engine_refused(record: int, ordinal: int, detail: str) -> Rejection:
    return Rejection(record=record, ordinal=ordinal, stage=STAGE, reason="engine_refused", detail=detail)


def feed(engine: tantivy.IndexWriter, lines: Sequence[str]) -> Iterator[tuple[int, ValueError]]:
    """Add each line; gives the place of each that is refused, and why. Raises ValueError of a dead writer."""
    pending = iter(lines)
    while True:
        try:
            deque(map(engine.add_json, pending), maxlen=0)
        except ValueError as error:
            if not any(text in str(error) for text in _ABOUT_ONE_LINE):
                raise
            yield len(lines) - pending.__length_hint__() - 1, error  # type: ignore[attr-defined]
        else:
            return


def disk_is_full(folder: Path, error: BaseException) -> bool:
    text = str(error)
    if "os error 28" in text or "No space left" in text:
        return True
    try:
        space = os.statvfs(folder)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < FULL_DISK_BYTES
