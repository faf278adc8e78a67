"""What one write adds to a partition's ledger, exact also where a replay overlaps what is committed."""

from __future__ import annotations

import polars as pl

from headrace.model import RECORD, Batch, Ledger, Rejection


def account(batch: Batch, rows: pl.DataFrame, own: list[Rejection], committed: int) -> Ledger:
    """The batch's counts from record number `committed` on; `rows` and `own` are those of this write.

    Records are counted, not rows: one that was exploded counts once, and as indexed if any row was.
    """
    indexed = rows[RECORD].n_unique() if rows.height else 0
    rejections = [*batch.rejections, *own]
    rejected_records = {found.record for found in rejections if found.record >= committed}
    if rejected_records:
        rejected_records -= set(rows[RECORD])
    rejected = len(rejected_records)
    if committed <= batch.raw.first_record:
        return Ledger(batch.records, indexed, rejected, batch.dropped)
    dropped = min(batch.dropped, max(0, batch.raw.position.record - committed - indexed - rejected))
    return Ledger(indexed + rejected + dropped, indexed, rejected, dropped)
