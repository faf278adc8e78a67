"""The buffer's one thread: everything that waits goes into one transaction, on the disk with one sync.

It alone touches the newest file, and the names of all. What it has done it tells through `tell`.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headrace.buffer import chain
from headrace.buffer.answers import Answers, Place, unpack_answer
from headrace.buffer.opening import Found, open_chain, put_aside
from headrace.buffer.work import Draft, Remember, Stage, Work, Written
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Retryable, StoreError
from headrace.core.state import explained, transaction

GROUP_BYTES: Final = 32 << 20
"""Of one transaction: what waits longer than a sync takes is the disk's limit, not the group's."""

PATIENCE: Final = 4
"""A file grows to so many times its size for the sake of large requests on their way."""


@dataclass(slots=True)
class Told:
    """What became of one piece of work, or a file that came to be (`created`)."""

    work: Work | None = None
    result: object = None
    error: HeadraceError | None = None


@dataclass(slots=True)
class Committed:
    """One transaction, or a failed one: to be accounted for in this order."""

    told: list[Told]
    written: list[Written] = field(default_factory=list)
    bytes: int = 0
    created: Path | None = None
    damaged: Path | None = None


Task = Callable[[], None]


class CommitThread:
    """`submit` work, or `call` a function between two transactions; both return at once."""

    def __init__(
        self, directory: Path, clock: Clock, file_bytes: int, tell: Callable[[Committed], None]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._file_bytes = file_bytes
        self._tell = tell
        self._waiting: queue.SimpleQueue[Work | Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="headrace-buffer", daemon=True)
        self._stages: set[Stage] = set()
        self._answers = Answers()
        self._roll_at = file_bytes
        self._database: sqlite3.Connection
        self._path: Path
        self._incarnation = ""
        self._reached: dict[str, int] = {}
        self._sequence = 0

    def start(self) -> Found:
        """Open the files (in the calling thread), then the thread. Raises StoreError, Retryable."""
        now = self._clock.time()
        found = open_chain(self._directory, now)
        self._database, self._path = found.database, found.files[-1].path
        self._incarnation, self._sequence = found.incarnation, found.sequence
        self._reached = dict(found.reached)
        self._answers.load(found.answers, now)
        self._thread.start()
        return found

    def submit(self, work: Work) -> None:
        self._waiting.put(work)

    def call(self, task: Task) -> None:
        self._waiting.put(task)

    def stop(self) -> None:
        """Finish what waits, close the files. Blocks."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def staging(self, stage: Stage, *, on: bool) -> None:
        """In the thread: a large request begins, or ends."""
        (self._stages.add if on else self._stages.discard)(stage)

    def answer(self, key: str) -> bytes | None:
        """In the thread: what is remembered for a key. Raises StoreError, Retryable."""
        place = self._answers.find(key, self._clock.time())
        return self._stored_answer(key, place.file) if place else None

    def seal(self, *, at_once: bool) -> None:
        """In the thread: go on in a new file; with large requests on their way only where `at_once`."""
        if at_once or not self._stages:
            self._roll()

    def release(self, path: Path, *, damaged: bool) -> None:
        """In the thread: a file that is not needed goes, its answers stay. Raises Retryable, StoreError."""
        file = chain.first_of(path)
        keep: dict[str, bytes] = {}
        for key in self._answers.in_file(file, self._clock.time()):
            # What cannot be read is not worth keeping a file for.
            with contextlib.suppress(StoreError):
                stored = self._stored(key, file)
                if stored is not None:
                    keep[key] = stored
        if keep:
            self._commit([Remember(keep)])
        if damaged:
            put_aside(path, "damaged, found while it was read")
            return
        chain.remove(path)

    def _stored_answer(self, key: str, file: int) -> bytes | None:
        stored = self._stored(key, file)
        return unpack_answer(stored) if stored is not None else None

    def _stored(self, key: str, file: int) -> bytes | None:
        path = chain.file_of(self._directory, file)
        database = chain.open_for_reading(path, sealed=path != self._path)
        if database is None:
            return None
        with closing(database), explained(path):
            row = database.execute("SELECT answer FROM answer WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def _run(self) -> None:
        going = True
        while going:
            group: list[Work] = []
            size = 0
            task: Task | None = None
            # Waits for the first, then takes whatever else is there: those share its sync.
            with contextlib.suppress(queue.Empty):
                while size < GROUP_BYTES and task is None and going:
                    item = self._waiting.get(block=not group)
                    if item is None:
                        going = False
                    elif callable(item):
                        task = item
                    else:
                        group.append(item)
                        size += item.size
            if group:
                self._work(group)
            if task is not None:
                task()
        chain.settle(self._database)

    def _work(self, group: Sequence[Work]) -> None:
        try:
            for work in group:
                work.prepare()
            self._tell(self._commit(group))
        except HeadraceError as error:
            if len(group) == 1:
                self._tell(Committed([Told(group[0], error=error)]))
            else:
                # One that is too large, or comes too late, costs no other.
                for work in group:
                    self._work([work])
            return
        except Exception as error:  # noqa: BLE001  whoever waits must hear of it, and the thread goes on
            surprise = StoreError(f"the buffer cannot be written: {error!r}")
            surprise.__cause__ = error
            self._tell(Committed([Told(work, error=surprise) for work in group]))
            return
        if self._size() >= self._roll_at:
            self._full()

    def _commit(self, group: Sequence[Work]) -> Committed:
        try:
            return self._transact(group)
        except StoreError as error:
            if self._sequence == chain.first_of(self._path):
                # A fresh file, and that is no good either: it is not the file.
                raise Retryable(f"nothing was accepted: {error}") from error
            # The newest file is bad: its readers get what can be read of it, the rest goes into the next.
            bad = self._path
            self._roll()
            self._tell(Committed([], damaged=bad))
            return self._transact(group)

    def _transact(self, group: Sequence[Work]) -> Committed:
        draft = Draft(
            self._database, chain.first_of(self._path), self._clock.time(), self._sequence, self._reached
        )
        with explained(self._path), transaction(self._database):
            results = [work.write(draft) for work in group]
        self._sequence = draft.sequence
        self._reached.update(draft.moved)
        for key, size in draft.answers.items():
            self._answers.add(key, Place(draft.file, draft.at, size))
        for work in group:
            work.done()
        told = [Told(work, result) for work, result in zip(group, results, strict=True)]
        return Committed(told, draft.written, self._size())

    def _size(self) -> int:
        with contextlib.suppress(sqlite3.Error):
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            (page,) = self._database.execute("PRAGMA page_size").fetchone()
            return int(pages) * int(page)
        return chain.size_of(self._path)

    def _full(self) -> None:
        if self._stages and self._size() < PATIENCE * self._file_bytes:
            return
        try:
            self._roll()
        except HeadraceError:
            # No room for a new file: the old one goes on, and it is tried again later.
            self._roll_at = self._size() + self._file_bytes // 8

    def _roll(self) -> None:
        if self._sequence == chain.first_of(self._path):
            # Names must grow, and this file has no entry yet.
            self._sequence += 1
        beginning = chain.Beginning(self._incarnation, self._sequence, self._reached)
        new = chain.create(self._directory, beginning, self._clock.time())
        old, self._database = self._database, new
        self._path = chain.file_of(self._directory, beginning.first)
        self._roll_at = self._file_bytes
        chain.settle(old)
        self._tell(Committed([], bytes=self._size(), created=self._path))
