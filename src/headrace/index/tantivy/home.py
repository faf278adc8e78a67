"""Where one writer's engine works: in the index's own folder, or in a live one that a settler copies to it.

It moves only while no engine's writer is open: to memory before one opens, to the disk when it rests or is
closed, when memory gets short, when the settler does not follow, and after every failure. So nothing but a
kill leaves a live folder behind, and the next start settles that one first.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headrace.core.clock import Clock
from headrace.core.errors import Retryable, StoreError
from headrace.core.log import event
from headrace.index.tantivy import live
from headrace.index.tantivy.live import Gone, Live
from headrace.index.tantivy.marks import Marks
from headrace.index.tantivy.positions import PositionDocument
from headrace.index.tantivy.room import LEAST, ROOM, bytes_in_memory, largest_merge, usable
from headrace.index.tantivy.store import ENGINE, META, read_meta
from headrace.index.tantivy.sweep import expected_files, named_files, sweep
from headrace.model import PartitionKey

log = logging.getLogger(__name__)

Committed = Mapping[PartitionKey, PositionDocument]

LOOK_SECONDS: Final = 0.25
AGAIN_SECONDS: Final = 10.0
"""After it had to leave memory, before it moves in again."""

LATE_SECONDS: Final = 2.0
STUCK_SECONDS: Final = 30.0
"""A commit that is not durable after so long: nobody settles, so it is done here."""

HISTORY: Final = 512
"""Commits whose positions are kept until they are durable: ten seconds of the fastest ones. Of more, every
second one is forgotten: what is durable is then understated."""


class Home:
    """For one writer, under its lock. `base` is where live folders are made; None for never."""

    def __init__(self, name: str, directory: Path, base: Path | None, total: int, clock: Clock) -> None:
        self._name = name
        self._directory = directory
        self._base = base
        self._total = total
        self._clock = clock
        self._live: Live | None = None
        self._marks = Marks(directory)
        self._lacking: dict[PartitionKey, int] | None = None
        self._history: deque[tuple[int, float, Committed]] = deque()
        self._durable: Committed = {}
        self._seen: tuple[int, int] | None = None
        self._again_at = 0.0
        self._look_at = 0.0

    @property
    def folder(self) -> Path:
        """The engine's."""
        return self._directory / ENGINE if self._live is None else self._live.engine

    @property
    def is_live(self) -> bool:
        return self._live is not None

    @property
    def catching_up(self) -> str:
        """Why the index is not searched yet; empty where it is."""
        if not self._lacking:
            return ""
        return (
            "its newest commits were in memory and are gone; it is searched again when its sources have been "
            f"read as far as before ({len(self._lacking)} of them are not yet)"
        )

    # Coming and going

    def open(self) -> None:
        """Take up what a kill, or a power loss, has left. Raises Retryable, StoreError."""
        try:
            found = live.find(self._directory)
        except Gone as error:
            live.give_up(self._directory)
            self._lacking = self._marks.read()
            event(log.error, "index.live_lost", index=self._name, reason=str(error))
            return
        if found is not None:
            try:
                found.leave()
            except OSError as error:
                raise Retryable(f"cannot settle {found.root} in {found.durable}: {error.strerror}") from error
            event(log.info, "index.live_taken_up", index=self._name, folder=str(found.root))
        self._marks.forget()

    def enter(self) -> None:
        """Move to memory where there is room; no engine's writer is open."""
        if self._live is not None or not self._may_enter():
            return
        assert self._base is not None
        try:
            self._live = live.make(self._directory, self._base)
        except OSError as error:
            self._again_at = self._clock.monotonic() + AGAIN_SECONDS
            event(log.warning, "index.live_refused", index=self._name, reason=str(error))
            return
        self._history.clear()
        self._seen = None
        event(log.info, "index.live_entered", index=self._name, folder=str(self._live.root))

    def leave(self) -> bool:
        """Move to the disk; no engine's writer is open. False where that cannot be done now: it stays.

        Raises Gone: the live folder is not whole any more, and the index is at its durable commit."""
        left = self._live
        if left is None:
            return True
        try:
            left.leave()
        except (OSError, StoreError) as error:
            if not _whole(left):
                self._lose(left)
                raise Gone(f"the live folder {left.root} vanished") from error
            self._again_at = self._clock.monotonic() + AGAIN_SECONDS
            event(log.warning, "index.live_not_settled", index=self._name, reason=str(error))
            return False
        if self._history:
            self._durable = self._history[-1][2]
        self._on_disk()
        sweep(self.folder)
        self._marks.forget()
        event(log.info, "index.live_left", index=self._name)
        return True

    def _on_disk(self) -> None:
        self._live = None
        self._history.clear()
        self._again_at = self._clock.monotonic() + AGAIN_SECONDS
        ROOM.give_back(self)

    def _lose(self, lost: Live) -> None:
        live.give_up(self._directory)
        lost.remove()
        self._on_disk()
        self._lacking = self._marks.read()
        event(log.error, "index.live_lost", index=self._name, reason=f"{lost.root} vanished")

    def dropped(self) -> None:
        """An engine's writer was thrown away. Merges of it may still end, and delete files that would be
        linked to."""
        if self._live is None:
            self._again_at = max(self._again_at, self._clock.monotonic() + LATE_SECONDS)

    def vanished(self) -> bool:
        """Whether somebody emptied the live folder."""
        return self._live is not None and not (self._live.engine / META).exists()

    # Commits

    def recalled(self, documents: Committed) -> None:
        """What was read from the folder: its last commit."""
        if self._live is None or not self._history:  # else just moved in, at the durable commit
            self._durable = documents
        self._caught_up(documents)

    def committed(self, opstamp: int, documents: Committed) -> None:
        if self._live is None:
            self._durable = documents
            self._caught_up(documents)
            return
        self._history.append((opstamp, self._clock.monotonic(), documents))
        if len(self._history) > HISTORY:
            self._history = deque(list(self._history)[::2])

    def durable(self) -> Committed:
        """The positions of the commit that survives a power loss."""
        if self._live is None:
            return self._durable
        stat = (self._live.durable / META).stat()
        seen = (stat.st_ino, stat.st_mtime_ns)
        if seen != self._seen:
            opstamp = int(read_meta(self._live.durable)["opstamp"])
            while self._history and self._history[0][0] <= opstamp:
                self._durable = self._history.popleft()[2]
            self._seen = seen
        return self._durable

    def _caught_up(self, documents: Committed) -> None:
        if self._lacking is None:
            return
        self._lacking = {
            key: record
            for key, record in self._lacking.items()
            if key not in documents or documents[key].position.record < record
        }
        if not self._lacking:
            live.unpoint(self._directory)
            self._marks.forget()
            self._lacking = None
            event(log.info, "index.live_caught_up", index=self._name)

    # Promises: from any thread

    def is_promised(self, key: PartitionKey, record: int) -> bool:
        """Whether no power loss takes this back unnoticed: it is durable, or waited for after one."""
        # In this order: what is noted while the folder stands is read by whoever finds that it does not.
        noted = self._marks.covers(key, record) and self._live is not None
        durable = self._durable.get(key)
        return noted or (durable is not None and durable.position.record >= record)

    def promise(self, key: PartitionKey, record: int) -> bool:
        """Note it durably, where that is needed; False where it was lost meanwhile. Raises OSError."""
        if self._live is not None and not self.is_promised(key, record):
            self._marks.note({key: record})
        return self.is_promised(key, record)

    # Moving

    def is_to_move(self) -> bool:
        """Whether to move at this commit: out, where room gets short or nobody settles; in, where it may."""
        now = self._clock.monotonic()
        if now < self._look_at or (self._live is None and self._base is None):
            return False
        self._look_at = now + LOOK_SECONDS
        if self._live is None:
            return self._may_enter()
        used = bytes_in_memory(self._live.engine)
        ROOM.note(self, used)
        merge = largest_merge(self._live.engine, read_meta(self._live.engine))
        if merge > ROOM.left(self._live.root, self._total):
            event(log.info, "index.live_short", index=self._name, bytes=used, merge_bytes=merge)
            return now >= self._again_at
        self.durable()
        if self._history and self._history[0][1] < now - STUCK_SECONDS:
            event(log.warning, "index.live_not_followed", index=self._name, seconds=STUCK_SECONDS)
            return now >= self._again_at
        return False

    def _may_enter(self) -> bool:
        now = self._clock.monotonic()
        if self._base is None or self._lacking is not None or now < self._again_at:
            return False
        reason = usable(self._base)
        if reason:
            event(log.warning, "index.live_refused", index=self._name, reason=reason)
            self._base = None
            return False
        durable = self._directory / ENGINE
        # Half of the room at most, so that it does not have to leave at once.
        if LEAST + 2 * largest_merge(durable, read_meta(durable)) > ROOM.left(self._base, self._total):
            self._again_at = now + AGAIN_SECONDS
            return False
        return True


def _whole(found: Live) -> bool:
    """Whether all files of its last commit are there."""
    try:
        names = expected_files(named_files(read_meta(found.engine)))
    except StoreError:
        return False
    return all((found.engine / name).exists() for name in names)
