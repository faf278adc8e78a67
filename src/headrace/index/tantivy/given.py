"""The ids that a push gives joined onto its rows, by record; a declared key decides, and must not differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from headrace.index.tantivy.lines import DERIVED, derived_id, digest, origin_of
from headrace.index.tantivy.rows import LONGEST_ID, ORDINAL, STAGE
from headrace.index.tantivy.schema import ID
from headrace.model import RECORD, PartitionKey, Rejection

GIVEN: Final = "_given"
"""Whether a row may replace a document: its id was not derived from its own place."""

_NAMED: Final = "_named"


def identified(
    rows: pl.DataFrame, operations: pl.DataFrame, key: PartitionKey, *, declared: bool
) -> tuple[pl.DataFrame, list[Rejection]]:
    """The rows with their ID and GIVEN, those whose given id cannot be theirs taken out."""
    names = operations.select(RECORD, pl.col("id").alias(_NAMED))
    joined = rows.join(names, on=RECORD, how="left", maintain_order="left")
    refused = list(_several(joined))
    if declared:
        refused += _mismatches(joined)
        joined = joined.with_columns(pl.lit(value=True).alias(GIVEN))
    else:
        joined = joined.with_columns(
            pl.coalesce(_NAMED, derived_id(key)).alias(ID), pl.col(_NAMED).is_not_null().alias(GIVEN)
        )
    told = {found.record: found for found in refused}
    if told:
        joined = joined.filter(~pl.col(RECORD).is_in(list(told)))
    return joined.drop(_NAMED), [told[record] for record in sorted(told)]


def unfit(operations: pl.DataFrame, key: PartitionKey, nexts: Mapping[str, int] | None) -> list[Rejection]:
    """Operations whose id no document may have.

    `nexts`: digest of each partition → its next record; None where no ids are derived.
    """
    length = pl.col("id").str.len_bytes()
    named = operations.filter(pl.col("id").is_not_null())
    bad = named.filter((length == 0) | (length > LONGEST_ID))
    refused = [
        _refusal(
            record, "id_too_long", f"_id: expected at most {LONGEST_ID} bytes; found {len(name.encode())}"
        )
        if name
        else _refusal(record, "missing_id", "_id: expected an id of at least one character; found ''")
        for record, name in bad.select(RECORD, "id").iter_rows()
    ]
    return refused if nexts is None else refused + list(_to_come(named, key, nexts))


def _to_come(named: pl.DataFrame, key: PartitionKey, nexts: Mapping[str, int]) -> Iterator[Rejection]:
    """Ids that a later record will get by itself: there would be two documents of one id."""
    alike = named.filter(pl.col("id").str.contains(f"^{DERIVED.pattern}$"))
    for record, name in alike.select(RECORD, "id").iter_rows():
        found = origin_of(name)
        if found is None:
            continue
        first = record + 1 if found[0] == digest(key) else nexts.get(found[0])
        if first is not None and found[1] >= first:
            detail = f"_id: {name!r} is the id that a record still to come will get; use another, or none"
            yield _refusal(record, "id_reserved", detail)


def _several(joined: pl.DataFrame) -> Iterator[Rejection]:
    """One id cannot name several documents."""
    if not (joined[ORDINAL] > 0).any():
        return
    many = joined.filter(pl.col(_NAMED).is_not_null()).group_by(RECORD).agg(pl.len(), pl.col(_NAMED).first())
    for record, count, name in many.filter(pl.col("len") > 1).iter_rows():
        detail = f"_id: {name!r} names one document, and the record became {count}; give no _id for it"
        yield _refusal(record, "several_documents", detail)


def _mismatches(joined: pl.DataFrame) -> Iterator[Rejection]:
    for record, name, found in (
        joined.filter(pl.col(_NAMED) != pl.col(ID)).select(RECORD, _NAMED, ID).iter_rows()
    ):
        yield mismatch(record, name, found)


def mismatch(record: int, name: str, found: str) -> Rejection:
    made = f"the index's declared id makes {found!r} of the document, the request says {name!r}"
    return _refusal(record, "id_mismatch", f"{made}; give that, or none")


def _refusal(record: int, reason: str, detail: str) -> Rejection:
    return Rejection(record=record, stage=STAGE, reason=reason, detail=detail)
