"""The contract of a source: a replayable log with positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from headrace.core.clock import Clock
from headrace.model import Position, RawBatch


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source is told about the pipeline it reads for.

    hints:       types the destination declares for its fields; a decoder prefers them where a record's
                 value is of that type already (an integer in a float field), and never coerces text
    base:        folder that relative paths start from
    data_dir:    where this service keeps its own files (see `layout`)
    batch_bytes: how large a batch should become when there is enough to read
    once:        a single pass: a source that would go on for ever ends after what there was at its opening,
                 where it can tell
    """

    pipeline: str
    base: Path
    clock: Clock
    hints: Mapping[str, pl.DataType] = field(default_factory=dict)
    batch_bytes: int = 1 << 20
    once: bool = False
    data_dir: Path = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a source can promise (PROTOCOL 11).

    replayable: it can be read again after any committed position
    stable_ids: the same record has the same number at every reading
    losses:     what it can lose in spite of everything, in words for `headrace check`; empty is nothing
    """

    replayable: bool
    stable_ids: bool
    losses: str = ""


class Source(Protocol):
    """Reads batches in order per partition. Connects, reads, closes, and classifies its errors.

    A source never retries, sleeps to back off, counts or logs-and-goes-on: it raises `Retryable`,
    `Fatal`, or yields; the runtime does the rest. (Waiting for new input is reading, not backing off:
    use the context's clock.)
    """

    @property
    def guarantee(self) -> Guarantee: ...

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        """Start after the committed positions, by partition name. May be called again after `close`."""
        ...

    async def sample(self) -> RawBatch | None:
        """A first batch for checking expressions against, without moving; None if there is none yet.

        Works without `open`, for `headrace check`."""
        ...

    async def read(self) -> RawBatch:
        """The next batch; waits until there is one. Cancellable without losing a record.

        Raises EndOfInput when there will never be another, Retryable, Fatal.
        """
        ...

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """These positions are durable: what lies before them may be forgotten upstream."""
        ...

    def lag(self) -> int | None:
        """Bytes (or records, where bytes are unknown) known to exist and not yet read; None if unknown."""
        ...

    async def close(self) -> None:
        """Release everything. Safe without `open`, and twice."""
        ...
