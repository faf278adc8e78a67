"""Read one log of the buffer, beside its writer, in any process: follow the chain from file to file.

The list of files is taken before a file is read: a file with one after it is not written any more, so
what is not found in it is nowhere.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from headrace.buffer import chain
from headrace.buffer.acks import report_damage
from headrace.buffer.base import Stored
from headrace.buffer.rows import COLUMNS, Damaged, Row, unpack
from headrace.core.errors import HeadraceError, Retryable, StoreError
from headrace.core.state import explained

ENTRIES: Final = 256
"""Entries looked at in one short transaction; a reader that lingers keeps the writer's log from shrinking."""

SETTLED_NS: Final = 100_000_000
"""A folder's time may stand still for two changes in one tick: only an older one vouches for its list."""

CHOSEN: Final = f"""
SELECT {COLUMNS} FROM entry JOIN blob ON blob.id = entry.blob
WHERE log = ? AND first >= ? ORDER BY first
"""  # noqa: S608  names of ours
BEGINS: Final = "SELECT first FROM entry WHERE log = ? AND first <= ? ORDER BY first DESC LIMIT 1"
NEXT: Final = "SELECT min(first) FROM entry WHERE log = ? AND first > ?"
LAST: Final = "SELECT first + records FROM entry WHERE log = ? ORDER BY first DESC LIMIT 1"


class Lost(StoreError):
    """Records `first` to `end` of a log cannot be read any more; reading can go on at `end`."""

    def __init__(self, log: str, first: int, end: int, reason: str) -> None:
        super().__init__(
            f"records {first} to {end - 1} of log {log!r} are not in the buffer any more: {reason}; "
            f"reading can go on at {end}"
        )
        self.log = log
        self.first = first
        self.end = end
        self.reason = reason


class Known(NamedTuple):
    """A file of the chain, and the number our log had reached when it began."""

    path: Path
    node: int
    incarnation: str
    start: int


def open_log(directory: Path, log: str) -> LogReader:
    """Touches nothing; before there is a buffer its logs are empty."""
    return LogReader(directory, log)


class LogReader:
    """See `base.BufferReader`. Of one thread at a time; holds one file open."""

    def __init__(self, directory: Path, log: str) -> None:
        self._directory = directory
        self._log = log
        self._known: list[Known] = []
        self._listed = (-1, 0)
        self._unreadable: Path | None = None
        self._open: tuple[Known, sqlite3.Connection] | None = None
        self._incarnation = ""

    @property
    def incarnation(self) -> str:
        """Empty as long as there is no buffer."""
        if not self._incarnation:
            self._chain()
        return self._incarnation

    def read(self, after: int, *, size: int) -> list[Stored]:
        """See `base.BufferReader`; raises Lost (a StoreError) where reading can go on further ahead.

        Raises Retryable where the newest file is damaged, until the writer goes on in another.
        """
        files = self._chain()
        at = max((n for n, file in enumerate(files) if file.start <= after), default=-1)
        if files and at < 0:
            raise self._lost(after, files[0].start, files[0])
        following = files[at + 1] if at + 1 < len(files) else None
        found = self._entries(files[at], after, size, following) if files else []
        if found:
            return found
        if following is not None:
            raise self._lost(after, following.start, files[at])
        return self._nothing(files[-1] if files else None, after, size)

    def end(self) -> int:
        files = self._chain()
        return self._end_in(files[-1]) if files else 0

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _nothing(self, newest: Known | None, after: int, size: int) -> list[Stored]:
        """At the end of all files: is it the log's end too?"""
        if self._unreadable is not None:
            raise Retryable(f"{self._unreadable}: damaged; the server will go on in a new file")
        end = self._end_in(newest) if newest else 0
        if newest is None or after >= end:
            if after > end:
                raise StoreError(
                    f"position {after} is beyond the end of log {self._log!r} ({end}) in {self._directory}: "
                    "the buffer is an older copy than the index; restore the newer one, or index anew"
                )
            return []
        # Written since we looked, or damaged: looking again tells.
        found = self._entries(newest, after, size, None)
        if not found:
            raise self._lost(after, end, newest)
        return found

    def _chain(self) -> list[Known]:
        """The files that can be read, oldest first; looks again where one goes meanwhile."""
        try:
            changed = self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if self._listed[0] == changed and self._listed[1] - changed > SETTLED_NS:
            return self._known
        for _ in range(3):
            self._listed = changed, time.time_ns()
            known = {(file.path, file.node): file for file in self._known}
            self._unreadable = None
            with suppress(FileNotFoundError):
                self._known = list(self._look(known))
                return self._known
        raise Retryable(f"{self._directory}: its files change faster than they can be opened")

    def _look(self, known: dict[tuple[Path, int], Known]) -> Iterator[Known]:
        paths = chain.files(self._directory)
        for path in paths:
            node = path.stat().st_ino
            file = known.get((path, node))
            try:
                file = file or self._beginning(path, node, sealed=path != paths[-1])
            except StoreError as error:
                # One file that cannot be read costs no other; whether anything is lost, the numbers tell.
                if isinstance(error, ReplacedBuffer):
                    raise
                if not chain.is_damage(error):
                    self._listed = -1, 0
                    raise _for_now(error) from error
                report_damage(self._directory, path, str(error))
                self._unreadable = path
                self._listed = -1, 0
                continue
            self._unreadable = None
            yield file

    def _beginning(self, path: Path, node: int, *, sealed: bool) -> Known:
        database = chain.open_for_reading(path, sealed=sealed)
        if database is None:
            if path.exists():
                raise StoreError(f"{path}: damaged (empty)")
            raise FileNotFoundError(path)
        with closing(database):
            incarnation, _, starts = chain.beginning_of(database, path)
        if self._incarnation and incarnation != self._incarnation:
            raise ReplacedBuffer(
                f"{path}: belongs to buffer {incarnation}, and {self._incarnation} was read until now: it "
                "was replaced meanwhile; restart, its records are then read as those of another log"
            )
        self._incarnation = incarnation
        return Known(path, node, incarnation, chain.start_of(starts, self._log))

    @contextmanager
    def _reading(self, file: Known) -> Iterator[sqlite3.Connection]:
        if self._open is None or self._open[0] != file:
            self.close()
            sealed = file != self._known[-1]
            database = chain.open_for_reading(file.path, sealed=sealed)
            if database is None:
                raise Retryable(f"{file.path}: gone while it was to be read")
            self._open = file, database
        with explained(file.path):
            yield self._open[1]

    def _entries(self, file: Known, after: int, size: int, following: Known | None) -> list[Stored]:
        """Sound entries from `after` on, without a gap; Lost where the very first is none."""
        found: list[Stored] = []
        try:
            with self._reading(file) as database:
                self._collect(database, file, after, size, found)
        except StoreError as error:
            if isinstance(error, Lost):
                raise
            if not chain.is_damage(error):
                raise _for_now(error) from error
            report_damage(self._directory, file.path, str(error))
            if not found:
                raise self._lost(after, self._past_damage(file, after, following), file) from error
        return found

    def _collect(
        self, database: sqlite3.Connection, file: Known, after: int, size: int, found: list[Stored]
    ) -> None:
        expected, taken = after, 0
        begins = database.execute(BEGINS, (self._log, after)).fetchone()
        with closing(database.execute(CHOSEN, (self._log, begins[0] if begins else after))) as rows:
            for values in rows:
                row = Row(*values)
                if row.first + row.records <= after:
                    continue
                if row.first > expected:
                    if not found:
                        raise self._lost(after, row.first, file)
                    return
                try:
                    entry = unpack(row)
                except Damaged as error:
                    report_damage(self._directory, file.path, str(error))
                    if not found:
                        raise self._lost(after, row.first + row.records, file, str(error)) from error
                    return
                found.append(entry)
                expected = entry.end
                taken += row.size
                if taken >= size or len(found) >= ENTRIES:
                    return

    def _past_damage(self, file: Known, after: int, following: Known | None) -> int:
        """Where reading can go on: with the next entry that is known of, or with the next file."""
        with suppress(StoreError), self._reading(file) as database:
            (first,) = database.execute(NEXT, (self._log, after)).fetchone()
            if first is not None:
                return int(first)
        if following is None:
            raise Retryable(f"{file.path}: damaged; the server will go on in a new file")
        return following.start

    def _end_in(self, file: Known) -> int:
        with self._reading(file) as database:
            row = database.execute(LAST, (self._log,)).fetchone()
        return file.start if row is None else int(row[0])

    def _lost(self, after: int, end: int, near: Known, damage: str = "") -> Lost:
        bad = [path.name for path in chain.quarantined(self._directory)]
        reason = (
            f"{near.path.name} is damaged there ({damage})" if damage else f"not found in {near.path.name}"
        )
        if bad and not damage:
            reason += f"; put aside as damaged: {', '.join(bad[:3])}"
        elif not damage:
            reason += "; released, damaged, or their file is gone"
        return Lost(self._log, after, end, reason)


class ReplacedBuffer(StoreError):
    """The folder holds another buffer than the one that was read until now (PROTOCOL 9)."""


def _for_now(error: StoreError) -> HeadraceError:
    """What SQLite could not do (a full disk, no descriptors) may be possible later; the rest is final."""
    return Retryable(str(error)) if isinstance(error.__cause__, sqlite3.Error) else error
