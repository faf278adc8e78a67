"""Columns → JSON texts, a whole frame at once: null fields left out, moments as RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from headrace.fields import named


def object_text(frame: pl.DataFrame, height: int) -> pl.Series:
    """Each row as a JSON object, fields in the frame's order, those that are null left out.

    `height` says how many rows a frame without columns has.
    """
    present = [name for name in frame.columns if frame[name].null_count() < height]
    if not present:
        return pl.Series(["{}"], dtype=pl.String).new_from_index(0, height)
    values = frame.select_seq(plain(named(name), frame.schema[name]).alias(name) for name in present)
    nullable = [name for name in present if values[name].null_count()]
    if not nullable:
        return values.select(_encoded(present)).to_series()
    return values.select(_pieces(present, set(nullable))).to_series()


def _encoded(names: list[str]) -> pl.Expr:
    return pl.struct([named(name) for name in names]).struct.json_encode()


def _pieces(names: list[str], nullable: set[str]) -> pl.Expr:
    """One rendering per run of fields that are always there, and one per field that may be missing."""
    pieces: list[pl.Expr] = []
    run: list[str] = []
    for name in names:
        if name not in nullable:
            run.append(name)
            continue
        if run:
            pieces.append(_bare(run))
        pieces.append(pl.when(named(name).is_not_null()).then(_bare([name])))
        run = []
    if run:
        pieces.append(_bare(run))
    return pl.concat_str([pl.lit("{"), pl.concat_str(pieces, separator=",", ignore_nulls=True), pl.lit("}")])


def _bare(names: list[str]) -> pl.Expr:
    """`"a":1,"b":2`: an object without its braces."""
    return _encoded(names).str.strip_prefix("{").str.strip_suffix("}")


def plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The values as types whose JSON is ours: moments in RFC 3339, bytes in base64, decimals as numbers.

    A moment without a zone is one in UTC, as when it is indexed. Decimals become the nearest float.
    """
    if isinstance(dtype, pl.Datetime):
        return _moment(value, dtype)
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("base64")
    if isinstance(dtype, pl.Decimal):
        return value.cast(pl.Float64)
    if isinstance(dtype, pl.Array):
        return plain(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        inner = dtype_of(dtype.inner)
        return value if _is_plain(inner) else value.list.eval(plain(pl.element(), inner))
    if isinstance(dtype, pl.Struct) and not _is_plain(dtype):
        # By number: a name such as `*` would be read as a pattern.
        fields = [
            plain(value.struct[number], dtype_of(f.dtype)).alias(f.name)
            for number, f in enumerate(dtype.fields)
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value


def _moment(value: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    if dtype.time_zone is not None:
        value = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return value.dt.to_string("iso:strict") + pl.lit("Z")


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return all(_is_plain(dtype_of(field.dtype)) for field in dtype.fields)
    if isinstance(dtype, (pl.List, pl.Array)):
        return isinstance(dtype, pl.List) and _is_plain(dtype_of(dtype.inner))
    return not isinstance(dtype, (pl.Datetime, pl.Binary, pl.Decimal))


def dtype_of(inner: pl.DataType | pl.datatypes.DataTypeClass) -> pl.DataType:
    return inner if isinstance(inner, pl.DataType) else inner()


def without_null_members(texts: pl.Series) -> pl.Series:
    """The objects, those inside of them without members that are null; nulls in lists stay.

    A frame has the fields of its structs for all rows alike, so a null inside may be one that nobody sent; at
    the top it is an infinite number. Only the rows with such a null are read, one by one.
    """
    # Renamed, since its name is a field's, which might be read as a pattern.
    have = texts.alias("text").str.contains('":null', literal=True)
    if not have.any():
        return texts
    found = [_stripped(text) if is_there else text for text, is_there in zip(texts, have, strict=True)]
    return pl.Series(texts.name, found, pl.String)


def _stripped(text: str) -> str:
    try:
        found = {name: _without_nulls(value) for name, value in msgspec.json.decode(text).items()}
        return msgspec.json.encode(found).decode()
    except RecursionError:
        return text  # nested deeper than the engine reads


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
