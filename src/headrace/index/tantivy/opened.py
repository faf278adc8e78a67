"""One index opened for writing: its lock, its engine's writer, where that one works, and the way back.

Whatever fails, the engine's writer is thrown away and a new one opened at the last commit: a writer that has
failed once accepts more and loses it silently.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import tantivy

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Rewound, StoreError
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.index.tantivy import store
from headrace.index.tantivy.feed import disk_is_full
from headrace.index.tantivy.heap import HEAP
from headrace.index.tantivy.home import Home
from headrace.index.tantivy.live import Gone
from headrace.index.tantivy.merging import Merges
from headrace.index.tantivy.options import Settings, check
from headrace.index.tantivy.positions import PositionDocument, Positions, stored_positions, watermarks
from headrace.index.tantivy.rows import RowFormat
from headrace.index.tantivy.schema import EngineSchema
from headrace.index.tantivy.settle import meta_lock
from headrace.index.tantivy.sweep import sweep
from headrace.index.tantivy.width import Width
from headrace.model import PartitionKey, Watermarks

log = logging.getLogger(__name__)

T = TypeVar("T")


class Opened(ABC):
    """Holds the lock of one index from `open` to `close`, and the engine's writer from a write to `rest`."""

    def __init__(
        self,
        name: str,
        directory: Path,
        settings: Settings,
        clock: Clock,
        *,
        base: Path | None = None,
        live_bytes: int = 0,
    ) -> None:
        fields = check(settings)
        self.name = name
        self.directory = directory
        self.settings = settings
        self.schema: EngineSchema
        self.wanted = store.describe(name, fields, settings.key, settings.dynamic_name, settings.field_limit)
        self._clock = clock
        self._lock = RoleLock(directory, "writer")
        self.home = Home(name, directory, base, live_bytes, clock)
        self._index: tantivy.Index | None = None
        self._engine: tantivy.IndexWriter | None = None
        self._opened = False
        self._merges: Merges
        self._width = Width(settings.threads)
        self._positions = Positions()
        self._committed: dict[PartitionKey, PositionDocument] = {}
        self._pending: dict[PartitionKey, PositionDocument] = {}
        self._seq = 0

    @property
    def _folder(self) -> Path:
        return self.home.folder

    # Opening and closing

    def open(self) -> Watermarks:
        """Raises StoreError, Retryable."""
        if not self._opened:
            self._lock.acquire(wait=0)
            try:
                self._prepare()
                self.home.open()
                self._recall()
            except BaseException:
                self.close()
                raise
            self._opened = True
        return self._watermarks()

    def _prepare(self) -> None:
        stored = store.made(self.directory, self.wanted)
        self.schema = stored.schema
        self._format = RowFormat(self.schema, stored.id, stored.dynamic)
        if degraded := self.schema.degraded:
            event(
                log.warning,
                "index.field_limit_passed",
                index=self.name,
                limit=stored.field_limit,
                fields=len(degraded),
                first=degraded[0],
            )

    def _recall(self) -> tantivy.Index:
        """Sweep, with no engine's writer open, and read what is committed."""
        self._drop()
        with meta_lock(self._folder) if self.home.is_live else nullcontext():  # the settler may be at it
            sweep(self._folder)
        index = store.open_engine(self.directory, self._folder)
        self._committed = self._positions.recalled(stored_positions(index, index.searcher()))
        self.home.recalled(self._committed)
        self._forget()
        self._seq = max((document.next_seq for document in self._committed.values()), default=0)
        self._index = index
        return index

    def _drop(self) -> None:
        """Forgotten, the engine's writer stops its threads and gives its lock back."""
        if self._engine is not None:
            self.home.dropped()
        self._engine = self._index = None
        HEAP.give_back(self)

    def rest(self) -> None:
        """Give the engine's threads and memory back until the next write, if all is committed."""
        if not self._pending:
            # The merges that end with it leave files behind: the next write begins with a sweep.
            self._drop()
            self._leave()

    def close(self) -> None:
        """Forget what is not committed, release memory and lock. What was live is on the disk then."""
        self._drop()
        with suppress(Gone):  # the next start says so
            self.home.leave()
        self._opened = False
        self._forget()
        self._lock.release()

    def _ready(self) -> tuple[tantivy.Index, tantivy.IndexWriter]:
        if self._engine is None:  # swept just before: the last writer's threads may have ended late
            self.home.enter()
            index = self._recall()
            memory = self._width.memory(int(self.settings.memory))
            share = HEAP.take(self, memory, self._width.threads)
            self._engine = store.open_writer(index, self._folder, *share)
            self._merges = Merges(self.name, self._folder)
        assert self._index is not None
        return self._index, self._engine

    def _move(self) -> None:
        """To memory or to the disk, at a commit; the next write opens a writer there."""
        if self._engine is not None and not self.home.is_live:
            # Files that a merge is about to delete must not be linked to.
            self._engine.wait_merging_threads()
            self._engine = None
        self._drop()
        self._leave()

    def settled(self) -> Watermarks:
        """How far both are now. Raises Rewound where the live folder vanished."""
        if self.home.vanished():
            raise self._rewind(Gone(f"the live folder of index {self.name!r} vanished"))
        return self._watermarks()

    def _watermarks(self) -> Watermarks:
        return watermarks(self._committed.values(), self.home.durable().values())

    def _leave(self) -> None:
        try:
            self.home.leave()
        except Gone as error:
            raise self._rewind(error) from error

    @abstractmethod
    def _forget(self) -> None:
        """Nothing is uncommitted any more: it is committed, or gone."""

    # Failing

    def _guarded(self, action: Callable[[], T]) -> T:
        """Run what touches the engine; on any failure go back to the last commit and raise Rewound."""
        try:
            return action()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the engine's panics are no Exceptions
            raise self._rewind(error) from error

    def _rewind(self, error: BaseException) -> Rewound:
        full, was_live = disk_is_full(self._folder, error), self.home.is_live
        self._forget()
        # The failed call's frames still hold the engine's writer, and with it the engine's lock.
        traceback.clear_frames(error.__traceback__)
        self._drop()
        lost = isinstance(error, Gone)
        try:
            moved = was_live and self.home.leave()
            full = full and not moved  # the disk may have the room
        except Gone:
            lost = True
        try:
            self._recall()
        except (HeadraceError, OSError) as failed:
            if lost:  # how far the sources are to go back is not known
                self._opened = False
                raise StoreError(f"index {self.name!r} lost its live folder: {failed}") from failed
            # The next write tries again, and says Retryable until it succeeds.
            event(log.warning, "index.writer_not_revived", index=self.name, reason=str(failed))
        positions = {key: document.position for key, document in self._committed.items()}
        reason = "the disk is full" if full else f"{type(error).__name__}: {error}"
        event(log.warning, "index.rolled_back", index=self.name, reason=reason)
        return Rewound(
            f"index {self.name!r} went back to its last commit: {reason}",
            positions,
            disk_full=full,
            durable={key: document.position for key, document in self.home.durable().items()},
        )
