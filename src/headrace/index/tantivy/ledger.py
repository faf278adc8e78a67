"""What one write adds to a partition's ledger, exact also where a replay overlaps what is committed."""

from __future__ import annotations

import polars as pl

from headrace.model import RECORD, Batch, Ledger, Rejection


def account(batch: Batch, rows: pl.DataFrame, own: list[Rejection], committed: int) -> Ledger:
    """The batch's counts from record number `committed` on; `rows` and `own` are those of this write.

    Records are counted, not rows: one that was exploded counts once, and as indexed if any row was.
    """
    indexed = set(rows[RECORD].unique()) if rows.height else set()
    rejections = [*batch.rejections, *own]
    rejected = {found.record for found in rejections if found.record >= committed} - indexed
    if committed <= batch.raw.first_record:
        return Ledger(batch.records, len(indexed), len(rejected), batch.dropped)
    dropped = min(batch.dropped, max(0, batch.raw.position.record - committed - len(indexed) - len(rejected)))
    return Ledger(len(indexed) + len(rejected) + dropped, len(indexed), len(rejected), dropped)
