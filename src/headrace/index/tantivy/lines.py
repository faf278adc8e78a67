"""Rendered rows → the engine's lines: numbered, in record order, with id, sequence and source."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import polars as pl

from headrace.index.tantivy.jsontext import object_text
from headrace.index.tantivy.rows import BODY, ORDINAL
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.model import RECORD, PartitionKey

LINE: Final = "_line"

_QUOTED_ID: Final = pl.concat_str([pl.lit('"'), pl.col(ID), pl.lit('"')])


def numbered(frames: tuple[pl.DataFrame, ...]) -> list[pl.DataFrame]:
    """Frames with ORDINAL: the how manieth row of its record each row is."""
    records = pl.concat([frame[RECORD] for frame in frames]) if frames else pl.Series(dtype=pl.Int64)
    if not records.is_duplicated().any():
        return [frame.with_columns(pl.lit(0, dtype=pl.Int64).alias(ORDINAL)) for frame in frames]
    counted = records.to_frame(RECORD).select(pl.int_range(pl.len(), dtype=pl.Int64).over(RECORD)).to_series()
    ends, numbered = 0, []
    for frame in frames:
        numbered.append(frame.with_columns(counted.slice(ends, frame.height).alias(ORDINAL)))
        ends += frame.height
    return numbered


def in_order(rendered: list[pl.DataFrame]) -> pl.DataFrame:
    if not rendered:
        return pl.DataFrame(
            schema={RECORD: pl.Int64, ORDINAL: pl.Int64, ID: pl.String, SOURCE: pl.String, BODY: pl.String}
        )
    rows = pl.concat(rendered)
    if len(rendered) == 1 and rows[RECORD].is_sorted():
        return rows
    return rows.sort(RECORD, ORDINAL, maintain_order=True)


def derived_id(key: PartitionKey) -> pl.Expr:
    """Short, stable, and the same however the input was cut: (pipeline, partition), record, ordinal."""
    digest = blake2b("\0".join(key).encode(), digest_size=8).hexdigest()[:11]
    first = pl.concat_str([pl.lit(f"{digest}-"), pl.col(RECORD)])
    return (
        pl.when(pl.col(ORDINAL) == 0)
        .then(first)
        .otherwise(pl.concat_str([first, pl.lit("-"), pl.col(ORDINAL)]))
        .alias(ID)
    )


def line(rows: pl.DataFrame, *, declared: bool) -> pl.Expr:
    """One document as the engine reads it. A declared id may hold anything, a derived one is plain."""
    body = pl.col(SOURCE) if rows[BODY].null_count() == rows.height else pl.coalesce(BODY, SOURCE)
    if (rows.select(body.str.len_bytes().min()).item() or 0) == len("{}"):
        rest = pl.when(body == "{}").then(pl.lit('"}')).otherwise('",' + body.str.slice(1))
        fields = [rest]
    else:
        fields = [pl.lit('",'), body.str.slice(1)]
    return pl.concat_str(
        [
            pl.lit(f'{{"{SEQ}":'),
            pl.col(SEQ),
            pl.lit(f',"{ID}":'),
            _id_text(rows) if declared else _QUOTED_ID,
            pl.lit(f',"{SOURCE}":"'),
            pl.col(SOURCE).str.encode("base64"),
            *fields,
        ]
    ).alias(LINE)


def _id_text(rows: pl.DataFrame) -> pl.Expr:
    """Ids as JSON texts; few of them hold anything that needs escaping."""
    if rows[ID].str.contains(r'["\\\x00-\x1f]').any():
        encoded = object_text(rows.select(ID), rows.height)
        return pl.lit(encoded).str.strip_prefix(f'{{"{ID}":').str.strip_suffix("}")
    return _QUOTED_ID
