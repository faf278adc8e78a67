"""Guess the fields of an index from a sample, for those who come without a configuration.

A guess is written down once, with the index, and never made again for it. What does not fit it later is
kept and found all the same, in the index's dynamic fields.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from headrace.fields import Field, FieldType, cast
from headrace.model import RECORD

WORDS: Final = 3.0
"""Texts with more spaces than this on average are prose, to be analysed; others are names, to be exact."""

FEW: Final = 0.2
"""Texts with fewer distinct values than this share are categories, however long."""


def infer_fields(sample: pl.DataFrame) -> dict[str, Field]:
    """A field for every column whose type is plain; structs and lists of them are left to dynamic fields."""
    fields = {}
    for name in sample.columns:
        if name == RECORD or name.startswith("_") or not name.strip():
            continue
        field = _field(sample[name])
        if field is not None:
            fields[name] = field
    return fields


def _field(column: pl.Series) -> Field | None:
    dtype = column.dtype
    if isinstance(dtype, pl.List):
        inner = _field(column.explode().drop_nulls())
        return None if inner is None else Field(inner.type, array=True, analyzer=inner.analyzer)
    if dtype == pl.String:
        return Field(_text_type(column.drop_nulls()).value)
    if dtype.is_unsigned_integer() and dtype == pl.UInt64:
        return Field(FieldType.UNSIGNED.value)
    if dtype.is_integer():
        return Field(FieldType.INTEGER.value)
    if dtype.is_float() or dtype.is_decimal():
        return Field(FieldType.FLOAT.value)
    if dtype == pl.Boolean:
        return Field(FieldType.BOOLEAN.value)
    if dtype.is_temporal() and dtype not in (pl.Time, pl.Duration):
        return Field(FieldType.DATE.value)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return Field(FieldType.KEYWORD.value)
    return None


def _text_type(values: pl.Series) -> FieldType:
    if values.is_empty():
        return FieldType.KEYWORD
    if values.str.contains("-", literal=True).all() and _all_are(values, FieldType.DATE):
        return FieldType.DATE  # a bare year is a name as often as a date
    if _all_are(values, FieldType.IP):
        return FieldType.IP
    spaces = values.str.count_matches(" ", literal=True).mean()
    distinct = values.n_unique() / len(values)
    if isinstance(spaces, float) and spaces > WORDS and distinct > FEW:
        return FieldType.TEXT
    return FieldType.KEYWORD


def _all_are(values: pl.Series, kind: FieldType) -> bool:
    frame = values.to_frame("value")
    converted = frame.select(cast("value", pl.String(), Field(kind), coerce=False)).to_series()
    return converted.null_count() == 0
