"""The lines of a buffer as a column; a small one is cut in place, since waking threads for it costs more."""

from __future__ import annotations

from typing import Final

import polars as pl

SMALL_BYTES: Final = 200_000
"""Up to here, about 1,000 log lines, cutting here takes less than Polars' threads take to be woken."""


def lines_of(payload: bytes) -> pl.Series:
    """Each line without its ending, a line feed with or without a carriage return before it.

    Raises polars.exceptions.ComputeError or UnicodeDecodeError where it is not UTF-8.
    """
    if len(payload) > SMALL_BYTES or b"\r" in payload:
        return pl.read_lines(payload).to_series()
    return pl.Series(payload.decode().removesuffix("\n").split("\n") if payload else [], dtype=pl.String)
