"""What was written since the last commit under ids that a later operation may name (PROTOCOL 19).

Batches are held as they were written, columns and all, and looked into only when a conditional operation
asks: appends pay nothing. What is not held *hides* ids, and whoever asks for one of those commits first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.index.tantivy.lines import digest, origin_of
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.model import RECORD, PartitionKey

HELD_BYTES: Final = 32 << 20
"""Of columns; as Python texts, once asked for, they are about twice that."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as an operation finds it: its `_seq`, and its `_source` as JSON text."""

    seq: int
    source: str


class Uncommitted:
    """id → its newest state since the last commit."""

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self._limit = limit
        self.clear()

    def clear(self) -> None:
        """After a commit or a rollback."""
        self._frames: list[pl.DataFrame] = []
        self._found: dict[str, Document | None] = {}
        self._bytes = 0
        self._all_hidden = False
        self._hidden: dict[str, tuple[int, int]] = {}

    def hold(self, rows: pl.DataFrame, deleted: Collection[str] = ()) -> None:
        """Rows with ID, SEQ, SOURCE as added, and ids whose documents were deleted before that."""
        frame = rows.select(ID, SEQ, SOURCE)
        if deleted:
            gone = pl.DataFrame({ID: list(deleted), SEQ: None, SOURCE: None}, schema=frame.schema)
            frame = pl.concat([gone, frame])
        self._bytes += int(frame.estimated_size())
        if self._bytes > self._limit:
            self.hide_all()
        if not self._all_hidden:
            self._frames.append(frame)

    def hide_all(self) -> None:
        """Rows were written whose ids are not held."""
        self._all_hidden = True
        self._frames, self._found = [], {}

    def hide(self, key: PartitionKey, rows: pl.DataFrame) -> None:
        """Rows were appended under ids derived from their place in a partition."""
        if not rows.height:
            return
        first, last = rows[RECORD][0], rows[RECORD][-1]
        before = self._hidden.get(digest(key), (first, last))
        self._hidden[digest(key)] = (min(before[0], first), max(before[1], last))

    def hides(self, ids: Collection[str]) -> bool:
        """Whether one of these ids may have been written without being held."""
        if self._all_hidden:
            return bool(ids)
        return bool(self._hidden) and any(map(self._is_hidden, ids))

    def _is_hidden(self, name: str) -> bool:
        found = origin_of(name)
        if found is None or found[0] not in self._hidden:
            return False
        first, last = self._hidden[found[0]]
        return first <= found[1] <= last

    def find(self, ids: Collection[str]) -> dict[str, Document | None]:
        """Those of the ids that were written or, None, deleted."""
        frames, self._frames = self._frames, []
        for frame in frames:
            for name, seq, source in frame.iter_rows():
                self._found[name] = None if source is None else Document(seq, source)
        return {name: self._found[name] for name in ids if name in self._found}
