"""What passes between runs and the owners of indexes, and the small things both do with it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import anyio

from headrace.core.channel import Channel, Closed, T
from headrace.core.metrics import Metrics
from headrace.model import RECORD, Batch, Outcome, RawBatch, Rejection


class Run(Protocol):
    """One run of a pipeline, as its index's owner sees it."""

    @property
    def pipeline(self) -> str: ...

    alive: bool

    def rewind(self, reason: str) -> None:
        """The index rolled back: end, and start again after the committed positions."""

    def taken(self) -> None:
        """The owner begins to write what was delivered last."""

    def committed(self) -> None:
        """The owner's watermarks have moved."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A batch on its way to the index, and the run it came from."""

    batch: Batch
    run: Run


@dataclass(frozen=True, slots=True)
class Flush:
    """Commit what came before this, then set `done`."""

    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True, slots=True)
class DiskReserve:
    """Bytes of the disk that intake leaves free, so that the index can always drain (PROTOCOL 14)."""

    path: Path
    reserve: int

    def missing(self) -> int:
        """Bytes that must be freed before writing may go on; 0 when there is room."""
        return max(0, self.reserve - shutil.disk_usage(self.path).free)


def with_originals(raw: RawBatch, rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Rejections with the record's own bytes, as read."""
    return tuple(
        rejection
        if rejection.original is not None
        else replace(rejection, original=raw.decoder.original(raw, rejection.record))
        for rejection in rejections
    )


REFUSED = 400

APPLIED = frozenset({"created", "updated", "deleted"})


def accepted(batch: Batch, outcomes: Sequence[Outcome]) -> Batch:
    """The batch without rejections of what was applied all the same: an update needs no document of its own
    where there is one to change, so a step that refused that document refused nothing."""
    settled = {outcome.record for outcome in outcomes if outcome.status != REFUSED}
    kept = tuple(found for found in batch.rejections if found.record not in settled)
    return batch if len(kept) == len(batch.rejections) else replace(batch, rejections=kept)


def rows_applied(batch: Batch, rejected: Sequence[Rejection], outcomes: Sequence[Outcome]) -> int:
    """How many rows changed the index: by their outcome where one is told, else those not rejected."""
    if not outcomes:
        return batch.rows - len(rejected)
    told = [outcome.record for outcome in outcomes]
    others = sum(int((~frame[RECORD].is_in(told)).sum()) for frame in batch.frames)
    refused = len({found.record for found in rejected} - set(told))
    return others - refused + sum(outcome.result in APPLIED for outcome in outcomes)


def note_written(metrics: Metrics, batch: Batch, rejected: int, indexed: int, seconds: float) -> None:
    """What the index made of a batch, and how long that took."""
    count = metrics.records.labels
    count(pipeline=batch.pipeline, stage="index", outcome="indexed").inc(indexed)
    count(pipeline=batch.pipeline, stage="index", outcome="rejected").inc(rejected)
    metrics.stage_seconds.labels(pipeline=batch.pipeline, stage="index", state="busy").inc(seconds)


def note_in_flight(metrics: Metrics, pipeline: str, records: int, size: int) -> None:
    """Count records and bytes that are read and neither committed nor given back."""
    metrics.in_flight_records.labels(pipeline=pipeline).inc(records)
    metrics.in_flight_bytes.labels(pipeline=pipeline).inc(size)


def unread(channel: Channel[T]) -> Iterator[T]:
    """Take out what nobody will read any more."""
    with contextlib.suppress(anyio.WouldBlock, Closed):
        while True:
            yield channel.get_nowait()
