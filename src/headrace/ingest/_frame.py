"""Read records from a frame in memory: what `headrace.index(frame, …)` runs on.

Its partition is named by the frame's content, so that the same frame indexed twice is indexed once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
import polars as pl

from headrace.core.clock import Clock
from headrace.core.errors import ConfigError, EndOfInput
from headrace.ingest.base import Guarantee
from headrace.model import RECORD, RESERVED, Decoded, Position, RawBatch

ROWS = 20_000


class Rows:
    """The decoder of batches whose payload is rows already."""

    def decode(self, raw: RawBatch) -> Decoded:
        assert isinstance(raw.payload, pl.DataFrame)
        return Decoded((raw.payload,), records=raw.payload.height)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        assert isinstance(raw.payload, pl.DataFrame)
        row = raw.payload.row(record - raw.first_record, named=True)
        row.pop(RECORD)
        return msgspec.json.encode(row, enc_hook=str)


class FrameSource:
    """Delivers a frame's rows in order, once. Raises ConfigError for columns of reserved names."""

    guarantee = Guarantee(replayable=True, stable_ids=True)

    def __init__(self, frame: pl.DataFrame, clock: Clock) -> None:
        ours = sorted(RESERVED.intersection(frame.columns))
        if ours:
            raise ConfigError(
                f"the frame has columns of reserved names: {', '.join(ours)}; rename or drop them"
            )
        self._frame = frame
        self._clock = clock
        self._decoder = Rows()
        self._partition = f"frame-{_fingerprint(frame)}#0"
        self._next = 0

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        self._next = resume_after.get(self._partition, Position(0)).record

    async def sample(self) -> RawBatch | None:
        return self._batch(0)

    async def read(self) -> RawBatch:
        if self._next >= self._frame.height:
            raise EndOfInput
        batch = self._batch(self._next)
        self._next = batch.position.record
        return batch

    def _batch(self, first: int) -> RawBatch:
        rows = self._frame.slice(first, ROWS)
        numbers = pl.int_range(first, first + rows.height, dtype=pl.Int64, eager=True).alias(RECORD)
        return RawBatch(
            partition=self._partition,
            first_record=first,
            position=Position(first + rows.height),
            payload=rows.with_columns(numbers),
            decoder=self._decoder,
            size=max(1, int(rows.estimated_size())),
            origin="frame",
            accepted_at=self._clock.time(),
            caught_up=first + rows.height >= self._frame.height,
        )

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:  # noqa: ARG002  nothing upstream
        return

    def lag(self) -> int | None:
        return self._frame.height - self._next

    async def close(self) -> None:
        return


def _fingerprint(frame: pl.DataFrame) -> str:
    """A digest of names, types and values: Arrow's bytes are the same for the same content."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(repr(frame.schema).encode())
    for part in frame.rechunk().iter_slices(100_000):
        digest.update(part.write_ipc(None).getvalue())
    return digest.hexdigest()
