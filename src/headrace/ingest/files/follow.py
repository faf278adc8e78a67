"""Following files: what is appended, what is new, and what rotation makes of them, by `stat` alone.

Notification is no alternative: it is blind on network file systems and many bind mounts.
"""

# Paths are text here: looking at thousands of them many times a second is cheaper so.
# ruff: noqa: PTH116

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.core.log import event
from headrace.ingest.files.compression import detect
from headrace.ingest.files.discover import Found, find, open_members
from headrace.ingest.files.log import Reading, Replaced, TextLog
from headrace.ingest.files.matching import Assignment, Known, Log, Roster, continues, open_log
from headrace.ingest.files.once import fault, log_start
from headrace.ingest.files.sniff import sniff
from headrace.ingest.formats import COLUMNAR
from headrace.ingest.formats.base import Damaged
from headrace.model import RawBatch

log = logging.getLogger(__name__)

SETTLED: Final = 2.0
"""Seconds without a change after which a compressed file, or a copy of a live one, is taken as whole."""

DETACHED: Final = 5.0
"""Seconds for which a file that has lost its name is still read: its writer may not have noticed."""


@dataclass(slots=True)
class Seen:
    """A file that is not being read: when it last changed, as far as we saw."""

    size: int
    changed: int
    since: float


class Follow:
    """Synchronous: runs in a worker thread, one step at a time."""

    def __init__(self, paths: tuple[str, ...], roster: Roster, reading: Reading, base: Path) -> None:
        self._paths = paths
        self._base = base
        self._roster = roster
        self._reading = reading
        self._logs: dict[str, Log] = {}  # by partition, in the order of their turns
        self._done: dict[Found, tuple[int, int]] = {}  # size and change time of files read to their end
        self._seen: dict[str, Seen] = {}
        self._detached: dict[str, float] = {}
        self._exhausted: dict[str, tuple[int, int]] = {}  # paths all of whose logs are in `_done`
        self._first = True

    def step(self) -> RawBatch | None:
        """Look round once, and give a batch if there is one."""
        self._drop_replaced()
        self._look_round()
        self._first = False
        for partition in list(self._logs):
            batch = self._turn(partition)
            if batch is not None:
                self._logs[partition] = self._logs.pop(partition)  # the others first
                return batch
        return None

    @property
    def caught_up(self) -> bool:
        return all(one.drained or not one.remaining() for one in self._logs.values())

    def lag(self) -> int:
        return sum(one.remaining() for one in self._logs.values())

    def close(self) -> None:
        for one in self._logs.values():
            one.close()
        self._logs.clear()

    def _drop_replaced(self) -> None:
        """Leave files that were truncated or rewritten, before looking for what holds their rest."""
        for one in list(self._logs.values()):
            try:
                one.check_same()
            except (Replaced, OSError):
                self._retire(one)

    def _turn(self, partition: str) -> RawBatch | None:
        one = self._logs[partition]
        try:
            batch = one.next()
        except (Damaged, OSError) as error:
            event(log.error, "files.damaged", file=one.found.name, error=fault(one.found.name, error))
            self._retire(one)
            self._finish(one.found)
            return None
        if batch is None:
            self._idle(one)
        else:
            self._detached.pop(partition, None)
        return batch

    def _idle(self, one: Log) -> None:
        """Nothing for now: a compressed file is done, a file without a name is so after a while."""
        if not isinstance(one, TextLog) or one.identity() is None:
            self._retire(one)
            self._finish(one.found)
            return
        since = self._detached.get(one.partition)
        if since is None:
            return
        if self._reading.clock.monotonic() - since < DETACHED:
            return
        if one.follow:
            one.follow = False  # its last line will not be completed: it is a record as it is
        else:
            self._retire(one)

    def _retire(self, one: Log) -> None:
        self._remember(one)
        one.close()
        self._logs.pop(one.partition, None)
        self._detached.pop(one.partition, None)

    def _remember(self, one: Log) -> None:
        self._roster.add(Known(one.partition, one.record, one.mark()))

    def _finish(self, found: Found) -> None:
        try:
            stat = os.stat(found.path)
        except OSError:
            return
        self._done[found] = (stat.st_size, stat.st_mtime_ns)

    def _look_round(self) -> None:
        stats = _stats(find(self._paths, self._base))
        fresh = self._account(stats)
        now = self._reading.clock.monotonic()
        ready = [found for path in fresh for found in self._whole(path, stats[path], now)]
        if not ready:
            return
        for one in self._logs.values():
            self._remember(one)
        attached = [partition for partition in self._logs if partition not in self._detached]
        for assignment in self._roster.assign(ready, busy=attached):
            if assignment.partition in self._logs:  # the new file holds what is left of the nameless one
                self._retire(self._logs[assignment.partition])
            self._start(assignment)

    def _account(self, stats: dict[str, os.stat_result]) -> list[str]:
        """Follow renames of open files; the paths that are left are new."""
        by_identity = {one.identity(): one for one in self._logs.values() if one.identity() is not None}
        fresh: list[str] = []
        for path, stat in stats.items():
            one = by_identity.get((stat.st_dev, stat.st_ino))
            if one is None:
                fresh.append(path)
            elif one.found.path != path and not _still_there(one, stats):
                event(log.info, "files.renamed", partition=one.partition, path=path, was=one.found.path)
                one.found = Found(path)
                self._detached.pop(one.partition, None)
        now = self._reading.clock.monotonic()
        for one in self._logs.values():
            if one.identity() is not None and not _still_there(one, stats):
                self._detached.setdefault(one.partition, now)
        return fresh

    def _whole(self, path: str, stat: os.stat_result, now: float) -> list[Found]:
        """The logs in a new file, once it can be read; a file that may still change its meaning waits."""
        state = (stat.st_size, stat.st_mtime_ns)
        if not stat.st_size or self._exhausted.get(path) == state:
            return []
        seen = self._seen.get(path)
        if seen is None or (seen.size, seen.changed) != (stat.st_size, stat.st_mtime_ns):
            seen = self._seen[path] = Seen(stat.st_size, stat.st_mtime_ns, now)
        settled = self._first or now - seen.since >= SETTLED
        try:
            if not settled and (_must_be_whole(path) or self._copies_live(path)):
                return []
            found = open_members(path)
        except (OSError, Damaged) as error:
            self._complain(path, stat, error)
            return []
        busy = {one.found for one in self._logs.values()}
        waiting = [one for one in found if self._done.get(one) != state and one not in busy]
        if not waiting and not busy.intersection(found):
            self._exhausted[path] = state
        return waiting

    def _copies_live(self, path: str) -> bool:
        return any(
            one.trail.offset and continues(Found(path), one.mark(), quick=False)
            for one in self._logs.values()
            if one.identity() is not None and one.partition not in self._detached
        )

    def _complain(self, path: str, stat: os.stat_result, error: Exception) -> None:
        state = (stat.st_size, stat.st_mtime_ns)
        if self._done.get(Found(path)) != state:
            self._done[Found(path)] = state
            event(log.error, "files.damaged", file=path, error=fault(path, error))

    def _start(self, assignment: Assignment) -> None:
        try:
            opened = open_log(assignment, self._reading, follow=True)
            if opened is None:
                assignment = self._roster.start(assignment.found)
                opened = open_log(assignment, self._reading, follow=True)
        except (Damaged, OSError) as error:
            event(
                log.error,
                "files.damaged",
                file=assignment.found.name,
                error=fault(assignment.found.name, error),
            )
            self._finish(assignment.found)
            return
        if opened is not None:
            log_start(assignment)
            self._logs[assignment.partition] = opened


def _stats(paths: list[str]) -> dict[str, os.stat_result]:
    stats: dict[str, os.stat_result] = {}
    for path in paths:
        try:
            stats[path] = os.stat(path)
        except OSError:
            continue  # gone between looking and asking
    return stats


def _still_there(one: Log, stats: dict[str, os.stat_result]) -> bool:
    stat = stats.get(one.found.path)
    return stat is not None and one.identity() == (stat.st_dev, stat.st_ino)


def _must_be_whole(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(8)
    return detect(head) is not None or sniff(head, "") in COLUMNAR
