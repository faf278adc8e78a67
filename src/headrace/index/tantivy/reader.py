"""The searching side of an index: read-only, beside a writer that may live in another process.

Each call sees the newest commit at the time it begins: `meta.json` is looked at (a stat), and the engine
reloads when it changed. A `view` stays at its commit, whatever is written, merged or deleted meanwhile: the
engine has its segments' files mapped, and an unlinked file lives as long as it is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import tantivy

from headrace.core.errors import StoreError
from headrace.fields import Field, FieldType
from headrace.index.base import Hit, IndexStats, SearchRequest, SearchResult
from headrace.index.tantivy.committed import REOPEN_SECONDS
from headrace.index.tantivy.damage import readable
from headrace.index.tantivy.kinds import Kind, kinds, mixed
from headrace.index.tantivy.live import engine_folder, pointed
from headrace.index.tantivy.snapshot import EVERYTHING, Snapshot
from headrace.index.tantivy.store import ENGINE, META, open_engine, read_description
from headrace.index.tantivy.targets import Target
from headrace.index.tantivy.view import TantivyView
from headrace.model import Json, Watermarks

RELOAD_ATTEMPTS: Final = 5
"""A merge may delete a segment between the reading of `meta.json` and the opening of its files."""


def open_reader(directory: Path) -> TantivyReader:
    """The searching side of the index in `directory`. Raises StoreError."""
    return TantivyReader(directory)


class TantivyReader:
    """Searches one index directory. Raises StoreError when there is none, or it cannot be read."""

    def __init__(self, directory: Path) -> None:
        self._directory = Path(directory)
        self._description = read_description(self._directory)
        self._schema = self._description.schema
        self._lock = threading.Lock()
        self._pointed: str | None = None
        self._engine = self._directory / ENGINE
        self._index = self._opened()
        self._seen: tuple[int, ...] | None = None
        self._view: TantivyView | None = None

    @property
    def name(self) -> str:
        return self._description.name

    @property
    def fields(self) -> Mapping[str, Field]:
        return self._description.fields

    def dynamic_fields(self) -> dict[str, str]:
        """Undeclared fields that documents have, with Elasticsearch's name of what they seem to hold."""
        snapshot = self.snapshot()
        return {path: _seems(snapshot, path, sample) for path, sample in snapshot.dynamic_values.items()}

    def snapshot(self) -> Snapshot:
        """The newest commit, as the engine has it."""
        return self.view().snapshot

    def view(self) -> TantivyView:
        """The newest commit; the same view until there is a newer one."""
        with self._lock:
            state = self._state()
            if self._view is None or state != self._seen:
                self._reload()
                self._view = TantivyView(Snapshot(self._index, self._schema), self._description.fields)
                self._seen = state
            return self._view

    def _state(self) -> tuple[int, ...]:
        """Changes with each commit, and where the engine's folder is another one. Raises StoreError."""
        for _ in range(RELOAD_ATTEMPTS):
            if pointed(self._directory) != self._pointed:
                self._index = self._opened()
            try:
                return self._written()
            except OSError:
                # Gone, or moved in this very moment; `_opened` says which.
                self._index = self._opened()
        raise StoreError(f"the index in {self._directory} is gone")

    def stamp(self) -> object:
        try:
            return self._written()
        except OSError:  # gone, or moved: `view` says which
            return None

    def _written(self) -> tuple[int, ...]:
        """Another one with each commit. Raises OSError."""
        stat = (self._engine / META).stat()
        return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _opened(self) -> tantivy.Index:
        """The engine's index where it is now. Raises StoreError."""
        for attempt in range(1, RELOAD_ATTEMPTS + 1):
            self._pointed = pointed(self._directory)
            self._engine = engine_folder(self._directory)
            self._reopen_at = time.monotonic() + REOPEN_SECONDS
            try:
                return open_engine(self._directory, self._engine)
            except StoreError:
                if attempt == RELOAD_ATTEMPTS or pointed(self._directory) == self._pointed:
                    raise
        raise AssertionError("unreachable")

    def _reload(self) -> None:
        for attempt in range(1, RELOAD_ATTEMPTS + 1):
            try:
                if self._pointed is not None and time.monotonic() >= self._reopen_at:
                    self._view, self._index = None, self._opened()
                else:
                    readable(self._index.reload, "it")
            except Exception as error:
                if attempt == RELOAD_ATTEMPTS:
                    raise StoreError(f"cannot open the newest commit in {self._engine}: {error}") from error
                if pointed(self._directory) != self._pointed:
                    self._index = self._opened()
            else:
                return

    def search(self, request: SearchRequest) -> SearchResult:
        return self.view().search(request)

    def get(self, ids: Sequence[str]) -> list[Hit | None]:
        return self.view().get(ids)

    def count(self, query: Json) -> int:
        return self.view().count(query)

    def scan(self, query: Json, batch: int) -> Iterator[pl.DataFrame]:
        return self.view().scan(query, batch)

    def stats(self) -> IndexStats:
        snapshot = self.snapshot()
        size = 0
        for entry in os.scandir(self._engine):
            try:
                size += entry.stat().st_size
            except FileNotFoundError:
                continue  # merged away meanwhile
        return IndexStats(snapshot.count(EVERYTHING), size, snapshot.searcher.num_segments)

    def watermarks(self) -> Watermarks:
        """How far each partition is in the commit that searches see."""
        return self.view().watermarks()

    def close(self) -> None:
        """Release the files; the reader opens them again if it is asked once more."""
        with self._lock:
            self._view = None
            self._seen = None


def _seems(snapshot: Snapshot, path: str, sample: Sequence[Any]) -> str:
    """The Elasticsearch type of a dynamic field's values: what all are, with a sample's width of numbers."""
    target = Target(path, path, FieldType.JSON)
    found = kinds(snapshot, target)
    if not found:
        return "text" if sample else "keyword"
    if mixed(snapshot, target):
        return "text"
    if found == {Kind.NUMBER}:
        return "double" if any(isinstance(value, float) for value in sample) else "long"
    return "date" if found == {Kind.DATE} else "boolean"
