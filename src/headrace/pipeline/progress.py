"""How far each log is applied and visible in one index, what became of its operations, and who waits for it.

*Applied* is written but not yet committed: an outcome depends on the order of the log only, so a replay after
a rollback comes to the same one (PROTOCOL 19). A crash costs whoever waits its answer, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import anyio

from headrace.model import Outcome, PartitionKey, Position, Watermarks

OUTCOMES_KEPT: Final = 200_000
"""Per index: many times what is waited for at once; who asks later is told that the outcome is unknown."""


class Progress:
    """Noted by the index's owner, awaited by those who pushed."""

    def __init__(self) -> None:
        self._applied: dict[PartitionKey, int] = {}
        self._visible: dict[PartitionKey, int] = {}
        self._outcomes: dict[tuple[PartitionKey, int], Outcome] = {}
        self._moved = anyio.Event()

    def applied(self, key: PartitionKey, record: int, outcomes: Iterable[Outcome] = ()) -> None:
        """All records of a log below `record` are applied."""
        self._outcomes |= {(key, outcome.record): outcome for outcome in outcomes}
        while len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]
        self._applied[key] = max(record, self._applied.get(key, 0))
        self._tell()

    def committed(self, marks: Watermarks) -> None:
        self._visible = {key: position.record for key, position in marks.visible.items()}
        for key, record in self._visible.items():
            self._applied[key] = max(record, self._applied.get(key, 0))
        self._tell()

    def rewound(self, marks: Watermarks) -> None:
        """What was applied and not committed comes again."""
        self._applied = {}
        self.committed(marks)

    def reached(self, key: PartitionKey, record: int, *, visible: bool) -> bool:
        return (self._visible if visible else self._applied).get(key, 0) >= record

    async def until(self, key: PartitionKey, record: int, *, visible: bool = False) -> None:
        """Wait until all records of a log below `record` are applied, or visible."""
        while not self.reached(key, record, visible=visible):
            await self._moved.wait()

    def outcomes(self, key: PartitionKey, ranges: Sequence[tuple[int, int]]) -> list[Outcome]:
        """Those of the ranges (first, end) that are known, in order; each can be had once."""
        found = (
            self._outcomes.pop((key, record), None) for first, end in ranges for record in range(first, end)
        )
        return [outcome for outcome in found if outcome is not None]

    def _tell(self) -> None:
        moved, self._moved = self._moved, anyio.Event()
        moved.set()


def positions_of(pipeline: str, positions: Mapping[PartitionKey, Position]) -> dict[str, Position]:
    """Those of one pipeline, by partition."""
    return {partition: position for (owner, partition), position in positions.items() if owner == pipeline}


def records_of(positions: Mapping[PartitionKey, Position]) -> dict[PartitionKey, int]:
    return {key: position.record for key, position in positions.items()}
