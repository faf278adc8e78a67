"""A batch's frames, or documents merged by updates, as the rows of one index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from headrace.index.tantivy.lines import encoded, in_order, numbered
from headrace.index.tantivy.originals import Originals
from headrace.index.tantivy.rows import RowFormat
from headrace.model import RECORD, Decoded, Position, RawBatch, Rejection


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows in record order; `conflicts`: per declared field, how many values it could not take.

    rows: those of `RowFormat.render`, and ENCODED
    """

    rows: pl.DataFrame
    rejections: list[Rejection]
    conflicts: Mapping[str, int] = field(default_factory=dict)

    def since(self, committed: int) -> Rendered:
        """Without the records that are committed already."""
        rows = self.rows
        if committed and bool((rows[RECORD] < committed).any()):
            rows = rows.filter(pl.col(RECORD) >= committed)
        return replace(self, rows=rows, rejections=[r for r in self.rejections if r.record >= committed])


def render(form: RowFormat, frames: tuple[pl.DataFrame, ...], decoded: Decoded | None = None) -> Rendered:
    """Rows of all frames; `decoded`: what they were as they were read."""
    originals = Originals(decoded)
    rejections: list[Rejection] = []
    rendered: list[pl.DataFrame] = []
    conflicts: dict[str, int] = {}
    for frame in numbered(frames):
        if not frame.height:
            continue
        found = form.render(frame, originals)
        rejections += found.rejections
        rendered.append(found.frame.with_columns_seq(encoded()))
        for name, count in found.conflicts.items():
            conflicts[name] = conflicts.get(name, 0) + count
    return Rendered(in_order(rendered), rejections, conflicts)


def render_merged(
    form: RowFormat, raw: RawBatch, records: Sequence[int], documents: Sequence[bytes]
) -> Rendered:
    """Merged documents as if they had been sent whole, but for the transforms; `records`: their numbers."""
    payload = b"\n".join(documents) + b"\n"
    alone = replace(
        raw,
        first_record=0,
        position=Position(len(documents)),
        payload=payload,
        size=len(payload),
        operations=None,
    )
    decoded = raw.decoder.decode(alone)
    found = render(form, decoded.frames, decoded=decoded)
    numbers = pl.Series(RECORD, list(records), dtype=pl.Int64)
    rows = found.rows.with_columns(numbers.gather(found.rows[RECORD]).alias(RECORD))
    # The decoder names the line of a batch that nobody ever sent.
    rejections = [
        replace(
            refused,
            record=records[refused.record],
            detail=f"merged document: {refused.detail.removeprefix(f'{raw.origin}:{refused.record + 1}: ')}",
        )
        for refused in (*decoded.rejections, *found.rejections)
    ]
    return Rendered(rows, rejections, found.conflicts)
