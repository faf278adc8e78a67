"""Rendered rows → the engine's lines: numbered, in record order, with id, sequence and source."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import polars as pl

from headrace.index.tantivy.jsontext import object_text
from headrace.index.tantivy.rows import BODY, ORDINAL
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.model import RECORD, PartitionKey

LINE: Final = "_line"

ENCODED: Final = "_encoded"
"""`_source` in base64, in which bytes enter the engine: the dear part of a line, made ahead of its write."""

DERIVED: Final = re.compile(r"([0-9a-f]{11})-(\d{1,18})(?:-\d+)?", re.ASCII)
"""What derived ids look like: the digest of a partition, a record's number, an ordinal."""

_QUOTED_ID: Final = pl.concat_str([pl.lit('"'), pl.col(ID), pl.lit('"')])


def numbered(frames: tuple[pl.DataFrame, ...]) -> list[pl.DataFrame]:
    """Frames with ORDINAL: the how manieth row of its record each row is."""
    records = pl.concat([frame[RECORD] for frame in frames]) if frames else pl.Series(dtype=pl.Int64)
    if bool((records.diff().slice(1) > 0).all()) or not records.is_duplicated().any():
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
            schema={
                RECORD: pl.Int64,
                ORDINAL: pl.Int64,
                **dict.fromkeys((ID, SOURCE, BODY, ENCODED), pl.String),
            }
        )
    rows = pl.concat(rendered)
    if len(rendered) == 1 and rows[RECORD].is_sorted():
        return rows
    return rows.sort(RECORD, ORDINAL, maintain_order=True)


def sequence(first: int, *, numbered: bool) -> pl.Expr:
    """`_seq` of rows in record order from `first` on; of numbered ones, at least their record's number.

    So in an index that only one push feeds, `_seq` *is* the record's number, and a replay gives the same.
    """
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    if not numbered:
        return (place + first).alias(SEQ)
    return (pl.max_horizontal(pl.lit(first), (pl.col(RECORD) - place).cum_max()) + place).alias(SEQ)


@lru_cache(maxsize=1024)
def digest(key: PartitionKey) -> str:
    """The part of derived ids that says where a record came from."""
    return blake2b("\0".join(key).encode(), digest_size=8).hexdigest()[:11]


def origin_of(name: str) -> tuple[str, int] | None:
    """The partition's digest and the record's number in an id that looks derived."""
    found = DERIVED.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def derived_id(key: PartitionKey) -> pl.Expr:
    """Short, stable, and the same however the input was cut: (pipeline, partition), record, ordinal."""
    first = pl.concat_str([pl.lit(f"{digest(key)}-"), pl.col(RECORD)])
    return (
        pl.when(pl.col(ORDINAL) == 0)
        .then(first)
        .otherwise(pl.concat_str([first, pl.lit("-"), pl.col(ORDINAL)]))
        .alias(ID)
    )


def derived_pattern(key: PartitionKey, record: int) -> str:
    """What the derived ids of all rows of one record match."""
    return f"{digest(key)}-{record}(-[0-9]+)?"


def encoded() -> pl.Expr:
    return pl.col(SOURCE).str.encode("base64").alias(ENCODED)


def line(rows: pl.DataFrame, *, declared: bool) -> pl.Expr:
    """One document as the engine reads it. A declared id may hold anything, a derived one is plain.

    The hidden fields come last: the engine sorts the keys of a line while it reads them, comparing from the
    first on, and theirs come before most. A fifth of a microsecond each; of what is there twice, ours wins.
    """
    body = pl.col(SOURCE) if rows[BODY].null_count() == rows.height else pl.coalesce(BODY, SOURCE)
    opened = body.str.strip_suffix("}")
    if (rows.select(body.str.len_bytes().min()).item() or 0) == len("{}"):
        fields = [pl.when(body == "{}").then(pl.lit(f'{{"{SEQ}":')).otherwise(opened + f',"{SEQ}":')]
    else:
        fields = [opened, pl.lit(f',"{SEQ}":')]
    return pl.concat_str(
        [
            *fields,
            pl.col(SEQ),
            pl.lit(f',"{ID}":'),
            _id_text(rows) if declared else _QUOTED_ID,
            pl.lit(f',"{SOURCE}":"'),
            pl.col(ENCODED),
            pl.lit('"}'),
        ]
    ).alias(LINE)


def _id_text(rows: pl.DataFrame) -> pl.Expr:
    """Ids as JSON texts; few of them hold anything that needs escaping."""
    if rows[ID].str.contains(r'["\\\x00-\x1f]').any():
        encoded = object_text(rows.select(ID), rows.height)
        return pl.lit(encoded).str.strip_prefix(f'{{"{ID}":').str.strip_suffix("}")
    return _QUOTED_ID
