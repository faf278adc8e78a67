"""Guess the fields of an index from a sample, for those who come without a configuration.

A guess is written down once, with the index, and never made again for it. What does not fit it later is
kept and found all the same, in the index's dynamic fields.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from headrace.fields import Field, FieldType, cast
from headrace.model import RECORD

WORDS: Final = 3.0
"""Texts with more spaces than this on average are prose: nobody asks for them whole."""

FEW: Final = 0.2
"""Texts with fewer distinct values than this share are categories, however long."""

WHOLE: Final = "keyword"
"""`title.keyword` has the whole values of the text `title`, as in Elasticsearch's own mappings."""

LONGEST: Final = 256
"""Characters of a whole value, as in Elasticsearch: longer ones are found by their words alone."""


def infer_fields(sample: pl.DataFrame, texts: Collection[str] = ()) -> dict[str, Field]:
    """A field for every column whose type is plain; structs and lists of them are left to dynamic fields.

    Texts of several words are searched by them; unless they are prose, also as a whole, as `name.keyword`.
    `texts`: columns that are text whatever the sample has, such as the lines of a log.
    """
    fields = {}
    for name in sample.columns:
        if name == RECORD or name.startswith("_") or not name.strip():
            continue
        field = _field(sample[name])
        if field is not None and name in texts:
            field = Field(FieldType.TEXT.value)
        if field is None:
            continue
        fields[name] = field
        whole = f"{name}.{WHOLE}"
        if field.kind is FieldType.TEXT and whole not in sample.columns and not _is_prose(sample[name]):
            fields[whole] = Field(FieldType.KEYWORD.value, of=name, array=field.array, ignore_above=LONGEST)
    return fields


def without_declared(inferred: Mapping[str, Field], declared: Collection[str]) -> dict[str, Field]:
    """The inferred fields beside declared ones: a declared text has no `keyword` that was not asked for."""
    return {
        name: field for name, field in inferred.items() if name not in declared and field.of not in declared
    }


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
    return FieldType.TEXT if values.str.contains(r"\s").any() else FieldType.KEYWORD


def _is_prose(column: pl.Series) -> bool:
    values = column.explode() if isinstance(column.dtype, pl.List) else column
    values = values.drop_nulls()
    if values.is_empty():
        return False
    spaces = values.str.count_matches(" ", literal=True).mean()
    distinct = values.n_unique() / len(values)
    return isinstance(spaces, float) and spaces > WORDS and distinct > FEW


def _all_are(values: pl.Series, kind: FieldType) -> bool:
    frame = values.to_frame("value")
    converted = frame.select(cast("value", pl.String(), Field(kind), coerce=False)).to_series()
    return converted.null_count() == 0
