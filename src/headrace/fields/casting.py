"""Values of any frame type → the declared type's; null where a value cannot become one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from polars import selectors

from headrace.fields.addresses import IP
from headrace.fields.dates import as_date
from headrace.fields.declared import POLARS_TYPES, Field, FieldType


def named(name: str) -> pl.Expr:
    """The column of exactly this name.

    `pl.col` reads `*` and `^…$` as patterns, and a record may have such a key.
    """
    return selectors.by_name(name).as_expr() if name == "*" or name.startswith("^") else pl.col(name)


def without(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The frame less some columns, as it stands: `drop` hands a plan to Polars' threads, and waits."""
    kept = [name for name in frame.columns if name not in names]
    return frame[kept] if kept else frame.drop(names)


def located(schema: Mapping[str, pl.DataType], name: str) -> tuple[pl.Expr, pl.DataType] | None:
    """A column by its name, or by its path through structs, and its type; None if there is none."""
    if name in schema:
        return named(name), schema[name]
    head, *path = name.split(".")
    value, dtype = named(head), schema.get(head)
    for part in path:
        inner = {each.name: each.dtype for each in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        if part not in inner:
            return None
        value, dtype = value.struct.field(part), _dtype(inner[part])
    return None if dtype is None else (value, dtype)


def cast(name: str, dtype: pl.DataType, field: Field, *, coerce: bool) -> pl.Expr:
    """The column's values as the field's frame type; null where a value cannot become one.

    Row-wise and exact, so a value failed exactly where the input is not null and the result is. Without
    `coerce` only what loses nothing: an integer in a float field if the float holds it exactly, integers
    and booleans as their JSON text, ISO 8601 texts (or the field's `format`) and epoch milliseconds as
    dates, checked texts as ip addresses, one value as a list of one. `coerce` adds numbers and booleans
    written as text (spaces around them ignored), integral floats as integers, finite floats as text. A
    field's own `coerce` does so as Elasticsearch: fractions of integers are cut off.
    """
    value = named(name)
    if field.kind is FieldType.JSON:
        return value
    if isinstance(dtype, pl.Array):
        value, dtype = value.arr.to_list(), pl.List(dtype.inner)
    coerce = coerce or field.coerce
    if field.many and isinstance(dtype, pl.List):
        value, dtype = _flat(value, dtype)
    if (field.array or field.many) and isinstance(dtype, pl.List):
        return _list(value, _dtype(dtype.inner), field, coerce=coerce).alias(name)
    converted = _scalar(value, dtype, field, coerce=coerce)
    if field.array:
        converted = pl.when(converted.is_not_null()).then(pl.concat_list(converted))
    return converted.alias(name)


def _dtype(inner: pl.DataType | pl.datatypes.DataTypeClass) -> pl.DataType:
    return inner if isinstance(inner, pl.DataType) else inner()


def _flat(value: pl.Expr, dtype: pl.List) -> tuple[pl.Expr, pl.List]:
    """Lists of lists as one list, as Elasticsearch has them."""
    inner = _dtype(dtype.inner)
    while isinstance(inner, pl.List):
        value = value.list.eval(pl.element().explode())
        dtype, inner = inner, _dtype(inner.inner)
    return value, dtype


def _list(value: pl.Expr, inner: pl.DataType, field: Field, *, coerce: bool) -> pl.Expr:
    """A list fails as a whole when one of its elements does."""
    converted = value.list.eval(_scalar(pl.element(), inner, field, coerce=coerce))
    added_nulls = _nulls(converted) > _nulls(value)
    return pl.when(value.is_not_null() & ~added_nulls).then(converted)


def _nulls(lists: pl.Expr) -> pl.Expr:
    return lists.list.eval(pl.element().is_null().cast(pl.Int64)).list.sum()


def _scalar(value: pl.Expr, dtype: pl.DataType, field: Field, *, coerce: bool) -> pl.Expr:
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        value, dtype = value.cast(pl.String), pl.String()
    if isinstance(dtype, pl.String) and coerce and field.kind not in {FieldType.TEXT, FieldType.KEYWORD}:
        value = value.str.strip_chars()
    match field.kind:
        case FieldType.TEXT | FieldType.KEYWORD:
            converted = _as_text(value, dtype, coerce=coerce)
        case FieldType.INTEGER | FieldType.UNSIGNED:
            if field.coerce:
                value, dtype = _truncated(value, dtype)
            converted = _as_integer(value, dtype, POLARS_TYPES[field.kind], coerce=coerce)
        case FieldType.FLOAT:
            converted = _as_float(value, dtype, coerce=coerce)
        case FieldType.BOOLEAN:
            converted = _as_boolean(value, dtype, coerce=coerce)
        case FieldType.DATE:
            converted = as_date(value, dtype, field.format, coerce=coerce)
        case _:
            converted = _if(value.str.contains(IP), value) if isinstance(dtype, pl.String) else None
    return _nothing(value, POLARS_TYPES[field.kind]) if converted is None else converted


def _if(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(value)


def _nothing(value: pl.Expr, target: pl.DataType) -> pl.Expr:
    """Null in every row; tied to the column, for a bare literal would be one row high."""
    return pl.when(value.is_null()).then(pl.lit(None, dtype=target))


def _as_text(value: pl.Expr, dtype: pl.DataType, *, coerce: bool) -> pl.Expr | None:
    if isinstance(dtype, pl.String):
        return value
    if dtype.is_integer() or isinstance(dtype, pl.Boolean):
        return value.cast(pl.String)
    if coerce and dtype.is_float():
        return _if(value.is_finite(), value.cast(pl.String))
    return None


def _as_integer(value: pl.Expr, dtype: pl.DataType, target: pl.DataType, *, coerce: bool) -> pl.Expr | None:
    if dtype.is_integer():
        return value.cast(target, strict=False)
    if not coerce:
        return None
    if dtype.is_float():
        return _if(value.is_finite() & (value == value.floor()), value.cast(target, strict=False))
    if isinstance(dtype, pl.Decimal):
        whole = value.cast(target, strict=False)
        return _if(whole.cast(dtype, strict=False) == value, whole)
    if isinstance(dtype, pl.String):
        digits = _if(value.str.contains(r"^-?[0-9]+$"), value).cast(target, strict=False)
        number = _number(_if(value.str.contains(r"[.eE]"), value))
        return pl.coalesce(digits, _if(number == number.floor(), number.cast(target, strict=False)))
    return None


def _truncated(value: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
    """Numbers with a fraction, also as text, without it."""
    if dtype.is_float():
        return value.sign() * value.abs().floor(), dtype
    if isinstance(dtype, pl.String):
        return value.str.replace(r"^(-?[0-9]+)\.[0-9]+$", "$1"), dtype
    return value, dtype


def _as_float(value: pl.Expr, dtype: pl.DataType, *, coerce: bool) -> pl.Expr | None:
    if dtype.is_float():
        return _if(value.is_finite(), value.cast(pl.Float64))
    if dtype.is_integer():
        nearest = value.cast(pl.Float64)
        return _if(nearest.cast(dtype, strict=False) == value, nearest)
    if isinstance(dtype, pl.Decimal):  # decimal texts are read to the nearest float everywhere
        return value.cast(pl.Float64)
    return _number(value) if coerce and isinstance(dtype, pl.String) else None


def _number(text: pl.Expr) -> pl.Expr:
    """A JSON number (zeros in front allowed) as a finite float."""
    number = _if(text.str.contains(r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"), text)
    parsed = number.cast(pl.Float64, strict=False)
    return _if(parsed.is_finite(), parsed)


def _as_boolean(value: pl.Expr, dtype: pl.DataType, *, coerce: bool) -> pl.Expr | None:
    if isinstance(dtype, pl.Boolean):
        return value
    if coerce and isinstance(dtype, pl.String):
        return _if(value.is_in(["true", "false"]), value == "true")
    return None
