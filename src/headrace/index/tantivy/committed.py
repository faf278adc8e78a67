"""Documents of the last commit by their ids, for the operations that depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tantivy
from tantivy import Query

from headrace.core.clock import Clock
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.index.tantivy.store import open_engine
from headrace.index.tantivy.uncommitted import Document

REOPEN_SECONDS: Final = 5.0
"""Of a live folder: what is opened again while it is mapped is the same memory, whatever its name means."""


class Lookups:
    """The last commit opened for looking up; of a live folder anew now and then, so that memory is freed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened: tantivy.Index | None = None
        self._until = 0.0

    def searcher(self, index: tantivy.Index, directory: Path, engine: Path) -> tantivy.Searcher:
        if engine.parent == directory:
            index.reload()
            return index.searcher()
        now = self._clock.monotonic()
        if self._opened is None or now >= self._until:
            self._opened, self._until = open_engine(directory, engine), now + REOPEN_SECONDS
        else:
            self._opened.reload()
        return self._opened.searcher()

    def close(self) -> None:
        """Before the folder is another one."""
        self._opened = None

    def rest(self) -> None:
        """Hold nothing open for long that is not used."""
        if self._clock.monotonic() >= self._until:
            self._opened = None


def committed_documents(
    index: tantivy.Index, searcher: tantivy.Searcher, ids: Sequence[str]
) -> dict[str, Document]:
    """Those of the ids that the searcher's commit has, found by one query."""
    if not ids:
        return {}
    query = Query.term_set_query(index.schema, ID, list(ids))
    hits = searcher.search(query, limit=len(ids), count=False).hits
    return dict(_document(searcher.doc(address)) for _, address in hits)


def _document(found: tantivy.Document) -> tuple[str, Document]:
    source = bytes(found.get_first(SOURCE) or b"{}").decode()
    return str(found.get_first(ID)), Document(int(found.get_first(SEQ) or 0), source)
