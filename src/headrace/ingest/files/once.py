"""Reading files once: in sorted path order, one after another; a damaged one is reported at the end."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from headrace.core.errors import Fatal
from headrace.core.log import event
from headrace.ingest.files.discover import Found, open_members
from headrace.ingest.files.log import Reading
from headrace.ingest.files.matching import Assignment, Log, Roster, open_log
from headrace.ingest.formats.base import Damaged
from headrace.model import RawBatch

log = logging.getLogger(__name__)


class Once:
    """Synchronous: runs in a worker thread."""

    def __init__(self, paths: list[str], roster: Roster, reading: Reading) -> None:
        self._reading = reading
        self._roster = roster
        self._faults: list[str] = []
        self._waiting = deque(roster.assign(self._files(paths)))
        self._sizes = {one.found: _size(one.found) for one in self._waiting}
        self._current: Log | None = None
        for one in self._waiting:
            log_start(one)

    def next(self) -> RawBatch | None:
        """The next batch, None at the end of all files. Raises Fatal there if one was damaged."""
        while self._current is not None or self._waiting:
            try:
                self._current = self._current or self._open(self._waiting.popleft())
                batch = self._current.next() if self._current else None
            except (Damaged, OSError) as error:
                self._fault(error)
                batch = None
            if batch is not None:
                return batch
            self._leave()
        if self._faults:
            raise Fatal("; ".join(self._faults))
        return None

    @property
    def caught_up(self) -> bool:
        return not self._waiting and (self._current is None or self._current.drained)

    def lag(self) -> int:
        """Bytes left in the file being read, and in those that wait (as stored, compressed or not)."""
        return sum(self._sizes.values()) + (self._current.remaining() if self._current else 0)

    def close(self) -> None:
        self._leave()
        self._waiting.clear()

    def _files(self, paths: list[str]) -> list[Found]:
        found: list[Found] = []
        for path in paths:
            try:
                found.extend(open_members(path))
            except (OSError, Damaged) as error:
                self._name_fault(path, error)
        return found

    def _open(self, assignment: Assignment) -> Log | None:
        self._opening = assignment.found
        self._sizes.pop(assignment.found, None)
        opened = open_log(assignment, self._reading)
        if opened is None:  # its end is not what it was, though its beginning is
            assignment = self._roster.start(assignment.found)
            log_start(assignment)
            opened = open_log(assignment, self._reading)
        return opened

    def _fault(self, error: Exception) -> None:
        found = self._current.found if self._current else self._opening
        self._name_fault(found.name, error)

    def _name_fault(self, name: str, error: Exception) -> None:
        said = fault(name, error)
        self._faults.append(said)
        event(log.error, "files.damaged", file=name, error=said)

    def _leave(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


def fault(name: str, error: Exception) -> str:
    """What is wrong with a file, and what to do about it."""
    if isinstance(error, PermissionError):
        return f"{name}: not allowed to read this file, give the user that runs headrace the right to"
    if isinstance(error, OSError):
        return f"{name}: cannot be read: {error.strerror or error}"
    return f"{name}: {error}; the records before it were read, replace the file and start again"


def _size(found: Found) -> int:
    try:
        return Path(found.path).stat().st_size
    except OSError:
        return 0


def log_start(assignment: Assignment) -> None:
    found, known = assignment.found, assignment.known
    if known is not None and known.found != found:
        event(log.info, "files.renamed", partition=known.partition, path=found.name, was=known.found.name)
    elif known is None and not assignment.partition.endswith("#0"):
        event(log.warning, "files.epoch_started", partition=assignment.partition, path=found.name)
