"""When an index commits next: early while its sources keep up, rarely while they catch up.

A commit costs time that no record is written in, and small segments that are merged later. So how often is
steered by what commits take: a busy disk or a busy machine spreads them by itself. A source that keeps up is
told when to read, so that all there is by then is written just before the next commit, as one batch.
"""

from __future__ import annotations

from typing import Final

from headrace.pipeline.capacities import (
    COMMIT_LATE_SHARE,
    COMMIT_LIVE_RECORDS,
    COMMIT_RECORDS,
    COMMIT_SHARE,
    COMMIT_TARGET_SECONDS,
    READ_SECONDS,
)

DISK_POLL_SECONDS: Final = 0.5
RETENTION_SECONDS: Final = 60.0

REST_SECONDS: Final = 30.0
"""After its last commit an index gives back what its writer holds: a hundred idle ones were 801 threads."""

CROWDED_SECONDS: Final = 1.0
"""Idle this long, an index rests where others wait for what it holds."""

UNSETTLED_SECONDS: Final = 0.25
"""Between two looks at what is durable, of an index without commits: its last one will be in a second."""

LIVE_SECONDS: Final = 1.0
"""The same where all is durable: somebody may have emptied the folder in memory."""


class Usual:
    """What something usually takes: the mean of the last times, one outlier counting little."""

    WEIGHT = 0.25

    def __init__(self) -> None:
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        self.seconds += (seconds - self.seconds) * (self.WEIGHT if self.seconds else 1)


class Cadence:
    """What was written since the last commit, and what that one took. All times are the caller's seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._committed_at = 0.0
        self._took = 0.0
        self._commit = Usual()
        self._write = Usual()
        self._committing_since: float | None = None
        self.restart()

    def restart(self) -> None:
        """Nothing is written any more: it went back to the last commit."""
        self._rows = 0
        self._since: float | None = None
        self._oldest = float("inf")
        self._live = self._caught_up = False
        self._committing_since = None

    def wrote(self, rows: int, *, now: float, age: float, caught_up: bool, took: float = 0.0) -> None:
        """A batch was written, which took `took`; its first record reached us `age` seconds before `now`."""
        if caught_up:
            self._write.took(took)
        self._rows += rows
        self._since = now if self._since is None else self._since
        self._oldest = min(self._oldest, now - max(0.0, age))
        self._live = self._live or caught_up
        self._caught_up = caught_up

    def committing(self, started: float) -> None:
        self._committing_since = started

    def committed(self, started: float, ended: float) -> None:
        self._committed_at, self._took = ended, ended - started
        self._commit.took(self._took)
        self.restart()

    def read_at(self, work: float, now: float) -> float:
        """When a source that keeps up should read: what takes `work` seconds to be made ready is then written
        just before a commit may begin, and all that came until then is in it."""
        ahead = READ_SECONDS + work + self._write.seconds
        usual = self._commit.seconds
        begins = self._committed_at
        if self._committing_since is not None:
            begins = max(now, self._committing_since + usual)
        elif self._since is not None:
            due = self.due(more=False)
            if now + ahead <= due:
                return due - ahead
            begins = due + usual  # too late for that one
        return begins + COMMIT_LATE_SHARE * usual - ahead

    def due(self, *, more: bool) -> float:
        """When to commit; infinite with nothing to commit. `more` waits to be written already."""
        if self._since is None:
            return float("inf")
        if self._rows >= COMMIT_RECORDS:
            return self._since
        latest = self._since + self._interval
        if self._caught_up and not more:
            # Nothing more to come for now: as soon as possible, but never spend more on commits than on work.
            latest = min(latest, self._committed_at + COMMIT_SHARE * self._took)
        if self._live:
            latest = min(
                latest, max(self._late(), self._committed_at + COMMIT_LATE_SHARE * self._commit.seconds)
            )
        return latest

    def _late(self) -> float:
        """When the oldest record has waited long enough, or enough records make a commit of their own."""
        assert self._since is not None
        if self._rows >= COMMIT_LIVE_RECORDS:
            return self._since
        return self._oldest + COMMIT_TARGET_SECONDS
