"""For tests of components and of pipelines: scripted sources, faulty indexes, a clock held in the hand.

>>> source = ScriptedSource([{"n": 1}], [{"n": 2}], EOF)
>>> index = FaultyIndex(fail_commits=1)

`SourceContract`, `TransformContract` and `IndexContract` are the promises of each role as tests: a class
that inherits one tests its component against all of them.

Real parts belong into tests of real parts; these are for what no real part does on demand: failing at a
chosen moment, stalling, ending.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, TypeAlias

import anyio
import polars as pl

from headrace.core.errors import EndOfInput, Retryable, Rewound
from headrace.fields import Field
from headrace.ingest._frame import Rows
from headrace.ingest.base import Guarantee
from headrace.model import (
    RECORD,
    Batch,
    Ledger,
    PartitionKey,
    Position,
    RawBatch,
    Rejection,
    Watermarks,
)
from headrace.testing.indexes import IndexContract
from headrace.testing.sources import SourceContract
from headrace.testing.transforms import TransformContract

__all__ = [
    "ABORT",
    "EOF",
    "PAUSE",
    "FaultyIndex",
    "IndexContract",
    "ManualClock",
    "Row",
    "ScriptedSource",
    "SourceContract",
    "Step",
    "TransformContract",
]


class ManualClock:
    """Time that moves only when told: `advance` wakes who sleeps until then."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, anyio.Event]] = []

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        entry = (self._now + seconds, anyio.Event())
        self._sleepers.append(entry)
        try:
            await entry[1].wait()
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    @property
    def sleeping(self) -> int:
        """How many wait for time to pass."""
        return len(self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers in the order of their times."""
        end = self._now + seconds
        while due := sorted((entry for entry in self._sleepers if entry[0] <= end), key=lambda e: e[0]):
            entry = due[0]
            self._now = max(self._now, entry[0])
            self._sleepers.remove(entry)
            entry[1].set()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
        self._now = end
        await anyio.lowlevel.checkpoint()


class Step(Enum):
    """What a scripted source does instead of delivering a batch."""

    EOF = "nothing more, for ever"
    ABORT = "raise Retryable once: the run ends and the next goes on behind it"
    PAUSE = "wait until `resume()`; the batch before it says that the source has caught up"


EOF: Final = Step.EOF
ABORT: Final = Step.ABORT
PAUSE: Final = Step.PAUSE

Row: TypeAlias = Mapping[str, object]


class ScriptedSource:
    """Delivers the given batches of rows in order; resumes after any record number.

    Each batch is a list of rows (dictionaries) or a `Step`. After the script's end it waits for ever,
    unless the script ended with EOF.
    """

    guarantee = Guarantee(replayable=True, stable_ids=True)

    def __init__(
        self,
        *script: Sequence[Row] | Step,
        partition: str = "script#0",
        schema: Mapping[str, pl.DataType] | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.acknowledged: dict[str, Position] = {}
        self.opened: list[dict[str, Position]] = []
        self.delivered = 0
        self._partition = partition
        self._clock = clock or ManualClock()
        self._steps: list[RawBatch | Step] = []
        self._aborted: set[int] = set()
        self._next = 0
        self._resume = anyio.Event()
        first = 0
        for step in script:
            if step is PAUSE and self._steps and isinstance(self._steps[-1], RawBatch):
                self._steps[-1] = replace(self._steps[-1], caught_up=True)
            if isinstance(step, Step):
                self._steps.append(step)
                continue
            frame = pl.DataFrame(step, schema=schema, infer_schema_length=None)
            numbers = pl.Series(RECORD, range(first, first + frame.height), dtype=pl.Int64)
            payload = frame.with_columns(numbers)
            self._steps.append(self._raw(payload, first))
            first += frame.height

    def _raw(self, payload: pl.DataFrame, first: int) -> RawBatch:
        return RawBatch(
            partition=self._partition,
            first_record=first,
            position=Position(first + payload.height, {"scripted": True}),
            payload=payload,
            decoder=Rows(),
            size=max(1, int(payload.estimated_size())),
            origin="script",
            accepted_at=self._clock.time(),
        )

    def resume(self) -> None:
        """Let a PAUSE end."""
        self._resume.set()

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        self.opened.append(dict(resume_after))
        done = resume_after.get(self._partition, Position(0)).record
        self._next = 0
        for number, step in enumerate(self._steps):
            if isinstance(step, RawBatch) and step.position.record <= done:
                self._next = number + 1

    async def sample(self) -> RawBatch | None:
        return next((step for step in self._steps if isinstance(step, RawBatch)), None)

    async def read(self) -> RawBatch:
        while True:
            if self._next >= len(self._steps):
                await anyio.sleep_forever()
            step = self._steps[self._next]
            if step is EOF:
                raise EndOfInput
            if step is ABORT and self._next not in self._aborted:
                self._aborted.add(self._next)
                raise Retryable("the script says so")
            if step is PAUSE:
                await self._resume.wait()
            self._next += 1
            if isinstance(step, RawBatch):
                self.delivered += 1
                return step

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        self.acknowledged.update(positions)

    def lag(self) -> int | None:
        return sum(isinstance(step, RawBatch) for step in self._steps[self._next :])

    async def close(self) -> None:
        return


@dataclass(slots=True)
class _Committed:
    rows: dict[str, Row] = field(default_factory=dict)
    positions: dict[PartitionKey, Position] = field(default_factory=dict)
    ledgers: dict[PartitionKey, Ledger] = field(default_factory=dict)


class FaultyIndex:
    """An index in memory that keeps every promise of the contract, and fails when told to.

    `fail_writes`, `fail_commits`: how many of the next calls roll back and raise `Rewound`.
    `stall()` makes writes wait until `go_on()`. `replayed` counts committed rows that were written again and
    skipped: a runtime that resumes after the committed positions makes none. Rows are in `rows`, by
    (pipeline, partition, record).
    """

    worst_case_bytes = 0

    def __init__(
        self,
        *,
        fail_writes: int = 0,
        fail_commits: int = 0,
        fields: Mapping[str, Field] | None = None,
        reject: str | None = None,
    ) -> None:
        self.fields: Mapping[str, Field] = fields or {}
        self.dynamic = "true"
        self.fail_writes = fail_writes
        self.fail_commits = fail_commits
        self.writes = 0
        self.commits = 0
        self.replayed = 0
        self._reject = reject
        self._committed = _Committed()
        self._working = _Committed()
        self._flowing = anyio.Event()
        self._flowing.set()

    @property
    def rows(self) -> list[Row]:
        """Committed rows, in the order of their identity."""
        return [self._committed.rows[key] for key in sorted(self._committed.rows)]

    @property
    def positions(self) -> Mapping[PartitionKey, Position]:
        return dict(self._committed.positions)

    def stall(self) -> None:
        self._flowing = anyio.Event()

    def go_on(self) -> None:
        self._flowing.set()

    async def open(self) -> Watermarks:
        self._roll_back()
        return self._watermarks()

    async def write(self, batch: Batch) -> list[Rejection]:
        await self._flowing.wait()
        if self.fail_writes > 0:
            self.fail_writes -= 1
            raise self._rewound("write failed as told")
        self.writes += 1
        key = (batch.pipeline, batch.raw.partition)
        committed = self._committed.positions.get(key, Position(0)).record
        if batch.raw.position.record <= committed:
            self.replayed += batch.rows
            return []
        rejections: list[Rejection] = []
        indexed = skipped = 0
        for row in itertools.chain.from_iterable(frame.iter_rows(named=True) for frame in batch.frames):
            record = row.pop(RECORD)
            if record < committed:
                skipped += 1
                continue
            if self._reject is not None and row.get(self._reject) is not None:
                rejections.append(Rejection(record, "index", "wrong_type", f"{self._reject} as told"))
                continue
            identity = f"{key[0]}:{key[1]}:{record:012}"
            if identity in self._working.rows:
                raise AssertionError(f"{identity} was written twice")
            self._working.rows[identity] = row
            indexed += 1
        self.replayed += skipped
        ledger = Ledger(
            batch.records - skipped, indexed, len(batch.rejections) + len(rejections), batch.dropped
        )
        self._working.ledgers[key] = self._working.ledgers.get(key, Ledger()) + ledger
        self._working.positions[key] = batch.raw.position
        return rejections

    async def commit(self) -> Watermarks:
        await self._flowing.wait()
        if self.fail_commits > 0:
            self.fail_commits -= 1
            raise self._rewound("commit failed as told")
        self.commits += 1
        working = self._working
        self._committed = _Committed(dict(working.rows), dict(working.positions), dict(working.ledgers))
        return self._watermarks()

    async def close(self) -> None:
        self._roll_back()

    def _rewound(self, message: str) -> Rewound:
        self._roll_back()
        return Rewound(message, dict(self._committed.positions))

    def _roll_back(self) -> None:
        committed = self._committed
        self._working = _Committed(dict(committed.rows), dict(committed.positions), dict(committed.ledgers))

    def _watermarks(self) -> Watermarks:
        positions = dict(self._committed.positions)
        return Watermarks(positions, positions, dict(self._committed.ledgers))
