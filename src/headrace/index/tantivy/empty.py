"""An index that has no folder yet, as searches see it: in memory, without documents, else as it will be."""

from __future__ import annotations

import threading

import tantivy

from headrace.index.base import IndexStats
from headrace.index.tantivy import store
from headrace.index.tantivy.analysis import register_analyzers
from headrace.index.tantivy.options import Settings, check
from headrace.index.tantivy.reader import TantivyReader
from headrace.index.tantivy.snapshot import Snapshot
from headrace.index.tantivy.view import TantivyView
from headrace.model import Watermarks


class EmptyReader(TantivyReader):
    """Queries are checked and aggregations shaped as ever, since it is the same engine on the same schema."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._description = store.describe(
            name, check(settings), settings.key, settings.dynamic_name, settings.field_limit
        )
        self._schema = self._description.schema
        self._index = tantivy.Index(self._schema.schema)
        register_analyzers(self._index, self._schema.tokenizers())
        self._lock = threading.Lock()
        self._only = TantivyView(Snapshot(self._index, self._schema), self._description.fields)

    def view(self) -> TantivyView:
        return self._only

    def stamp(self) -> object:
        return None

    def stats(self) -> IndexStats:
        return IndexStats(documents=0, size=0, segments=0)

    def watermarks(self) -> Watermarks:
        return Watermarks()

    def close(self) -> None:
        """Nothing is held open."""
