"""Read one log of the buffer, beside its writer, in any process: follow the chain from file to file.

The list of files is taken before a file is read: a file with one after it is not written any more, so
what is not found in it is nowhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from headrace.buffer import chain
from headrace.buffer.base import Stored
from headrace.buffer.rows import COLUMNS, Damaged, Row, unpack
from headrace.core.errors import Retryable, StoreError
from headrace.core.state import explained

ENTRIES: Final = 256
"""Entries looked at in one short transaction; a reader that lingers keeps the writer's log from shrinking."""

CHOSEN: Final = f"""
SELECT {COLUMNS} FROM entry JOIN blob ON blob.id = entry.blob
WHERE log = ? AND first >= (
    SELECT coalesce(max(first), ?2) FROM entry WHERE log = ?1 AND first <= ?2
) ORDER BY first
"""  # noqa: S608  names of ours


class Lost(StoreError):
    """Records `first` to `end` of a log cannot be read any more; reading goes on at `end`."""

    def __init__(self, log: str, first: int, end: int, reason: str) -> None:
        super().__init__(
            f"records {first} to {end - 1} of log {log!r} are not in the buffer any more: {reason}; "
            f"reading can go on at {end}"
        )
        self.log = log
        self.first = first
        self.end = end
        self.reason = reason


class Opened(NamedTuple):
    """One file of the chain; `node` tells it from another of the same name."""

    path: Path
    node: int
    database: sqlite3.Connection
    beginning: chain.Beginning


def open_log(directory: Path, log: str) -> LogReader:
    """Touches nothing; before there is a buffer its logs are empty."""
    return LogReader(directory, log)


class LogReader:
    """See `base.BufferReader`. Of one thread at a time."""

    def __init__(self, directory: Path, log: str) -> None:
        self._directory = directory
        self._log = log
        self._open: dict[Path, Opened] = {}
        self._incarnation = ""

    @property
    def incarnation(self) -> str:
        """Empty as long as there is no buffer."""
        if not self._incarnation:
            self._chain()
        return self._incarnation

    def read(self, after: int, *, size: int) -> list[Stored]:
        """See `base.BufferReader`; raises Lost (a StoreError) where reading can go on further ahead."""
        files = self._chain()
        if not files:
            if after:
                raise self._beyond(after, 0)
            return []
        at = max((n for n, file in enumerate(files) if self._start(file) <= after), default=-1)
        if at < 0:
            raise Lost(self._log, after, self._start(files[0]), self._why(files[0].path))
        file, following = files[at], files[at + 1 : at + 2]
        found = self._entries(file, after, size)
        if found:
            return found
        if following:
            raise Lost(self._log, after, self._start(following[0]), self._why(file.path))
        end = self._end_in(file)
        if after > end:
            raise self._beyond(after, end)
        return []

    def end(self) -> int:
        files = self._chain()
        return self._end_in(files[-1]) if files else 0

    def close(self) -> None:
        for file in self._open.values():
            file.database.close()
        self._open.clear()

    def _chain(self) -> list[Opened]:
        """All files, opened; those that went are closed. Looks again where one goes meanwhile."""
        for _ in range(3):
            paths = chain.files(self._directory)
            try:
                opened = [self._opened(path) for path in paths]
            except FileNotFoundError:
                continue
            for path in self._open.keys() - set(paths):
                self._open.pop(path).database.close()
            self._know(opened)
            return opened
        raise Retryable(f"{self._directory}: its files change faster than they can be opened")

    def _opened(self, path: Path) -> Opened:
        node = path.stat().st_ino
        known = self._open.get(path)
        if known is not None and known.node == node:
            return known
        if known is not None:
            self._open.pop(path).database.close()
        database = chain.open_for_reading(path)
        if database is None:
            raise FileNotFoundError(path)
        try:
            opened = Opened(path, node, database, chain.beginning_of(database, path))
        except BaseException:
            database.close()
            raise
        self._open[path] = opened
        return opened

    def _know(self, files: Sequence[Opened]) -> None:
        for file in files:
            found = file.beginning.incarnation
            if self._incarnation and found != self._incarnation:
                raise StoreError(
                    f"{file.path}: belongs to buffer {found}, and {self._incarnation} was read until now: it "
                    "was replaced meanwhile; restart, its records are then read as those of another log"
                )
            self._incarnation = found

    def _start(self, file: Opened) -> int:
        return chain.start_of(file.beginning.starts, self._log)

    def _entries(self, file: Opened, after: int, size: int) -> list[Stored]:
        """Sound entries from `after` on, without a gap; Lost only where the very first is none."""
        found: list[Stored] = []
        taken, expected = 0, after
        with explained(file.path):
            rows = file.database.execute(CHOSEN, (self._log, after))
            try:
                for values in rows:
                    row = Row(*values)
                    if row.first + row.records <= after:
                        continue
                    if row.first > expected:
                        if not found:
                            raise Lost(self._log, after, row.first, self._why(file.path))
                        break
                    try:
                        entry = unpack(row)
                    except Damaged as error:
                        if not found:
                            reason = f"{file.path.name} is damaged there ({error})"
                            raise Lost(self._log, after, row.first + row.records, reason) from error
                        break
                    found.append(entry)
                    expected = entry.end
                    taken += len(entry.entry.body) + len(entry.entry.head)
                    if taken >= size or len(found) >= ENTRIES:
                        break
            finally:
                rows.close()
        return found

    def _end_in(self, file: Opened) -> int:
        with explained(file.path):
            (end,) = file.database.execute(
                "SELECT max(first + records) FROM (SELECT first, records FROM entry WHERE log = ? "
                "ORDER BY first DESC LIMIT 1)",
                (self._log,),
            ).fetchone()
        return self._start(file) if end is None else int(end)

    def _why(self, near: Path) -> str:
        bad = [path.name for path in chain.quarantined(self._directory)]
        if bad:
            return f"they were released, or in a damaged file: {', '.join(bad[:3])}"
        return f"they were released (or their file is gone) before {near.name}"

    def _beyond(self, after: int, end: int) -> StoreError:
        return StoreError(
            f"position {after} is beyond the end of log {self._log!r} ({end}) in {self._directory}: the "
            "buffer is an older copy than the index; restore the newer one, or index anew"
        )
