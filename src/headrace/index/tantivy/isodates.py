"""Undeclared dates without a zone or a time, as the engine reads a date: in UTC, with all its parts.

`2026-05-01` and `2026-05-01T10:30` of a field that is not declared are dates, as Elasticsearch detects them.
The engine knows RFC 3339 only, so the dynamic pair gets them spelled so; `_source` stays as it came.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from headrace.index.tantivy.originals import is_deep

_YEAR: Final = r"(167[89]|16[89][0-9]|1[7-9][0-9]{2}|2[01][0-9]{2}|22[0-5][0-9])"
_PATTERN: Final = rf"^{_YEAR}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,9}})?)?)?$"
_COMPILED: Final = re.compile(_PATTERN)


def is_iso_date(text: str) -> bool:
    """Whether a text has the form of a date without a zone."""
    return _COMPILED.match(text) is not None and not text.endswith("\n")


def with_iso_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with such dates in RFC 3339, not too deep; the frame itself where there are none."""
    # By series of one plain name: Polars reads some names of fields, such as `*`, as patterns.
    changed = [
        _spelled(values.alias("v")).alias(values.name)
        for values in frame.iter_columns()
        if not is_deep(values.dtype) and _has_dates(values.alias("v"))
    ]
    return frame.with_columns(changed) if changed else frame


def _has_dates(values: pl.Series) -> bool:
    if isinstance(values.dtype, pl.String):
        return bool(values.str.contains(_PATTERN).any())
    if isinstance(values.dtype, pl.Date):
        return values.null_count() < len(values)
    if isinstance(values.dtype, pl.List):
        return _has_dates(values.explode())
    if isinstance(values.dtype, pl.Struct):
        return any(_has_dates(inner.alias("v")) for inner in values.struct.unnest().iter_columns())
    return False


def _spelled(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.String):
        return values.to_frame("v").select(_text(pl.col("v"))).to_series()
    if isinstance(values.dtype, pl.Date):
        return values.cast(pl.Datetime("us", "UTC"))
    if isinstance(values.dtype, pl.List):
        return _lists(values)
    if isinstance(values.dtype, pl.Struct):
        fields = values.struct.unnest().iter_columns()
        inner = {each.name: _spelled(each.alias("v")) for each in fields}
        return _where(values.is_not_null(), pl.DataFrame(inner).to_struct("v"), values)
    return values


def _lists(values: pl.Series) -> pl.Series:
    """The lists with their values spelled; empty ones and nulls as they are."""
    frame = values.to_frame("v").with_row_index("at").filter(pl.col("v").list.len() > 0)
    inner = frame.explode("v")
    spelled = inner.select("at", _spelled(inner["v"]).alias("v"))
    lists = spelled.group_by("at", maintain_order=True).agg("v")
    rows = pl.DataFrame({"at": pl.int_range(len(values), dtype=pl.UInt32, eager=True)})
    found = rows.join(lists, on="at", how="left", maintain_order="left")["v"]
    return _where(found.is_not_null(), found, values)


def _where(condition: pl.Series, changed: pl.Series, others: pl.Series) -> pl.Series:
    return changed.zip_with(condition, others.cast(changed.dtype))


def _text(value: pl.Expr) -> pl.Expr:
    length = value.str.len_bytes()
    rest = pl.when(length == 10).then(pl.lit("T00:00:00Z")).when(length == 16).then(pl.lit(":00Z"))
    whole = value + rest.otherwise(pl.lit("Z"))
    is_day = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False).is_not_null()
    return pl.when(value.str.contains(_PATTERN) & is_day).then(whole).otherwise(value)
