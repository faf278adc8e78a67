"""What one write adds to a partition's ledger, exact also where a replay overlaps what is committed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from headrace.model import RECORD, Batch, Ledger, Outcome, Rejection


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


def account_operations(
    batch: Batch,
    rows: pl.DataFrame,
    rejections: Sequence[Rejection],
    outcomes: Sequence[Outcome],
    bare: Collection[int],
    committed: int,
) -> Ledger:
    """The same of a batch with operations; those of `bare` have no document, and were read all the same.

    `rows` are all that came out of the transforms, `rejections` all there are. What an outcome tells of
    counts by that: applied is indexed, nothing to do or a conflict is dropped.
    """
    told = {outcome.record: outcome for outcome in outcomes}
    applied = sum(outcome.result in ("created", "updated", "deleted") for outcome in outcomes)
    failed = sum(outcome.status == 400 for outcome in outcomes)
    passed = len(told) - applied - failed
    written = set(rows[RECORD])
    refused = {found.record for found in rejections if found.record >= committed} - written
    indexed = applied + len(written - told.keys())
    rejected = failed + len(refused - told.keys())
    # Those told of whose document a transform dropped are among the dropped already; a bare one never is.
    missing = len(told.keys() - written - refused - set(bare))
    dropped = batch.dropped - missing + passed
    if committed <= batch.raw.first_record:
        return Ledger(batch.records, indexed, rejected, dropped)
    left = max(0, batch.raw.position.record - committed - indexed - rejected - passed)
    dropped = min(max(0, batch.dropped - missing), left) + passed
    return Ledger(indexed + rejected + dropped, indexed, rejected, dropped)
