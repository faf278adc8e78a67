"""What the tests of transforms share: frames with record numbers, and laws every transform obeys."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from headrace.core.clock import Clock, SystemClock
from headrace.fields import Field
from headrace.model import RECORD, Rejection
from headrace.transform.base import Outcome, Transform, TransformContext


def context(
    base: Path = Path(), *, clock: Clock | None = None, fields: Mapping[str, Field] | None = None
) -> TransformContext:
    return TransformContext("step", base, clock or SystemClock(), fields or {})


def frame_of(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=True).with_row_index(RECORD).cast({RECORD: pl.Int64})


def kept(outcome: Outcome) -> list[int]:
    return outcome.frame[RECORD].to_list()


def in_parts(transform: Transform, frame: pl.DataFrame, cuts: list[int]) -> Outcome:
    """Apply to the frame cut at the given places, and join what comes out."""
    places = sorted({0, *(cut % (frame.height + 1) for cut in cuts), frame.height})
    parts = [frame[start:end] for start, end in pairwise(places)] or [frame]
    outcomes = [transform.apply(part) for part in parts]
    rejections: list[Rejection] = [rejection for outcome in outcomes for rejection in outcome.rejections]
    return Outcome(
        pl.concat([outcome.frame for outcome in outcomes]), rejections, sum(o.dropped for o in outcomes)
    )


def assert_lawful(transform: Transform, frame: pl.DataFrame, cuts: list[int]) -> None:
    """Any split gives the same; each row is kept, rejected or dropped, once; order is kept."""
    whole = transform.apply(frame)
    parts = in_parts(transform, frame, cuts)
    assert whole.frame.schema == parts.frame.schema
    assert whole.frame.equals(parts.frame)
    by_record = sorted(whole.rejections, key=lambda r: r.record)
    assert by_record == sorted(parts.rejections, key=lambda r: r.record)
    assert whole.dropped == parts.dropped
    gone = [rejection.record for rejection in whole.rejections]
    assert frame.height == whole.frame.height + len(gone) + whole.dropped
    assert len({*kept(whole), *gone}) == whole.frame.height + len(gone)
    assert kept(whole) == [record for record in frame[RECORD] if record in set(kept(whole))]
