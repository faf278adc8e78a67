"""Columnar formats (Parquet, Arrow IPC): rows arrive as a frame already, and are numbered here."""

from __future__ import annotations

import polars as pl

from headrace.model import RECORD, RESERVED, Decoded, RawBatch, Rejection


class FrameDecoder:
    def decode(self, raw: RawBatch) -> Decoded:
        frame = raw.payload
        assert isinstance(frame, pl.DataFrame)
        numbers = range(raw.first_record, raw.first_record + frame.height)
        taken = RESERVED.intersection(frame.columns)
        if taken:
            detail = f"{raw.origin}: column {min(taken)!r} is reserved, rename it"
            return Decoded(
                (), tuple(Rejection(n, "decode", "reserved_field", detail) for n in numbers), len(numbers)
            )
        column = pl.int_range(numbers.start, numbers.stop, dtype=pl.Int64, eager=True).alias(RECORD)
        return Decoded((frame.with_columns(column),) if frame.height else (), (), frame.height)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        frame = raw.payload
        assert isinstance(frame, pl.DataFrame)
        return frame.slice(record - raw.first_record, 1).write_ndjson().encode()
