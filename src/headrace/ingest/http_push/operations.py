"""The heads of bulk entries as one frame of operations: columns from whole lists, not record by record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.buffer.base import BulkHead
from headrace.model import RECORD, Operations

LETTERS: Final = {"i": "index", "c": "create", "u": "update", "d": "delete"}

Part = tuple[int, BulkHead]
"""How many records, and what is asked for them."""


def fault(records: int, head: BulkHead) -> str | None:
    """Why a head cannot be that of so many records."""
    if head.ops and len(head.ops) != records:
        return f"{len(head.ops):,} operations for {records:,} records"
    if head.ids and len(head.ids) != records:
        return f"{len(head.ids):,} ids for {records:,} records"
    if not set(head.ops) <= LETTERS.keys():
        return f"unknown operation {min(set(head.ops) - LETTERS.keys())!r}"
    places = [*head.bodies, *head.if_seq]
    if places and not 0 <= min(places) <= max(places) < records:
        return f"an operation at {max(places):,} of {records:,} records"
    return None


def operations(parts: Sequence[Part], first: int) -> Operations | None:
    """Those of records `first` on; None where all of them are plain appends."""
    if all(_plain(records, head) for records, head in parts):
        return None
    total = sum(records for records, _ in parts)
    ids: list[str | None] = []
    bodies: list[str | None] = [None] * total
    if_seq: list[int | None] = [None] * total
    at = 0
    for records, head in parts:
        ids += head.ids or [None] * records
        for place, text in head.bodies.items():
            bodies[at + place] = text
        for place, number in head.if_seq.items():
            if_seq[at + place] = number
        at += records
    frame = pl.DataFrame(
        {
            RECORD: pl.int_range(first, first + total, dtype=pl.Int64, eager=True),
            "op": _names("".join(head.ops or "i" * records for records, head in parts)),
            "id": pl.Series(ids, dtype=pl.String),
            "body": pl.Series(bodies, dtype=pl.String),
            "if_seq": pl.Series(if_seq, dtype=pl.Int64),
            "exact": _repeated([(records, head.exact) for records, head in parts]),
        }
    )
    plain = (pl.col("op") == "index") & pl.col("id").is_null() & pl.col("if_seq").is_null()
    return Operations(frame.filter(~plain | pl.col("exact")))


def _plain(records: int, head: BulkHead) -> bool:
    return (
        not head.exact
        and not head.if_seq
        and head.ops.count("i") == len(head.ops)
        and (not head.ids or head.ids.count(None) == records)
    )


def _names(letters: str) -> pl.Series:
    known = [letter for letter in LETTERS if letter in letters]
    if len(known) == 1:
        return pl.repeat(LETTERS[known[0]], len(letters), dtype=pl.String, eager=True)
    codes = pl.Series(list(letters.encode()), dtype=pl.UInt8)
    return codes.replace_strict({ord(k): LETTERS[k] for k in known}, return_dtype=pl.String)


def _repeated(runs: Sequence[tuple[int, bool]]) -> pl.Series:
    if len({value for _, value in runs}) == 1:
        return pl.repeat(runs[0][1], sum(times for times, _ in runs), dtype=pl.Boolean, eager=True)
    values = [value for times, value in runs for _ in range(times)]
    return pl.Series(values, dtype=pl.Boolean)
