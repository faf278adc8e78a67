"""When an index commits next: early while its sources keep up, rarely while they catch up.

A commit costs time that no record is written in, and small segments that are merged later. So how often is
steered by what the last commit took: a busy disk or a busy machine spreads the commits by itself.
"""

from __future__ import annotations

from headrace.pipeline.capacities import (
    COMMIT_LATE_SHARE,
    COMMIT_LIVE_RECORDS,
    COMMIT_RECORDS,
    COMMIT_SHARE,
    COMMIT_TARGET_SECONDS,
)


class Cadence:
    """What was written since the last commit, and what that one took. All times are the caller's seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._committed_at = 0.0
        self._took = 0.0
        self.restart()

    def restart(self) -> None:
        """Nothing is written any more: it went back to the last commit."""
        self._rows = 0
        self._since: float | None = None
        self._oldest = float("inf")
        self._live = self._caught_up = False

    def wrote(self, rows: int, *, now: float, age: float, caught_up: bool) -> None:
        """A batch was written whose first record had reached us `age` seconds before `now`."""
        self._rows += rows
        self._since = now if self._since is None else self._since
        self._oldest = min(self._oldest, now - max(0.0, age))
        self._live = self._live or caught_up
        self._caught_up = caught_up

    def committed(self, started: float, ended: float) -> None:
        self._committed_at, self._took = ended, ended - started
        self.restart()

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
            latest = min(latest, max(self._late(), self._committed_at + COMMIT_LATE_SHARE * self._took))
        return latest

    def _late(self) -> float:
        """When the oldest record has waited long enough, or enough records make a commit of their own."""
        assert self._since is not None
        if self._rows >= COMMIT_LIVE_RECORDS:
            return self._since
        return self._oldest + COMMIT_TARGET_SECONDS
