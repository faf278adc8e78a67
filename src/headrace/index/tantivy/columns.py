"""Where in a frame the values of a declared field are, and how they are indexed where not as they came.

A field of Elasticsearch (`many`) also has the values that lie in lists of objects: `items.sku` of
`{"items": [{"sku": "a"}, {"sku": "b"}]}` is `["a", "b"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import polars as pl

from headrace.fields import Field, cast, located, named
from headrace.index.tantivy.jsontext import dtype_of
from headrace.index.tantivy.normalizing import normalized


def place(schema: pl.Schema, name: str, field: Field) -> tuple[pl.Expr, pl.DataType] | None:
    """The values of a field, and their frame type; None where the frame has none."""
    path = field.of or name
    return located(schema, path) or (_inside_lists(schema, path) if field.many else None)


def _inside_lists(schema: pl.Schema, path: str) -> tuple[pl.Expr, pl.DataType] | None:
    head, *parts = path.split(".")
    if not parts or head not in schema:
        return None
    value, dtype = named(head), schema[head]
    for part in parts:
        found = _step(value, dtype, part)
        if found is None:
            return None
        value, dtype = found
    return value, dtype


def _step(value: pl.Expr, dtype: pl.DataType, name: str) -> tuple[pl.Expr, pl.DataType] | None:
    """A field of a struct, or of the structs in a list."""
    inner = dtype
    while isinstance(inner, pl.List):
        inner = dtype_of(inner.inner)
    if not isinstance(inner, pl.Struct) or name not in (names := _struct_fields(inner)):
        return None
    if dtype == inner:
        return value.struct.field(name), names[name]
    while isinstance(dtype, pl.List) and dtype_of(dtype.inner) != inner:
        value = value.list.eval(pl.element().explode())
        dtype = dtype_of(dtype.inner)
    return value.list.eval(pl.element().struct.field(name)), pl.List(names[name])


def _struct_fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {inner.name: dtype_of(inner.dtype) for inner in dtype.fields}


def leftover(
    path: str, value: pl.Expr, dtype: pl.DataType, taken: Mapping[str, bool]
) -> Iterator[tuple[str, pl.Expr]]:
    """A column without the parts that have a place of their own; in lists too where `taken` says true."""
    if path in taken:
        return
    inner = dtype_of(dtype.inner) if isinstance(dtype, pl.List) else dtype
    if isinstance(inner, pl.Struct):
        within = [many for name, many in taken.items() if name.startswith(f"{path}.")]
        if any(within) if isinstance(dtype, pl.List) else within:
            for name in _struct_fields(inner):
                if found := _step(value, dtype, name):
                    yield from leftover(f"{path}.{name}", *found, taken)
            return
    yield path, value


def copied(frame: pl.DataFrame, name: str, field: Field) -> pl.Series | None:
    """A field's own values and those of the fields it copies, as lists; None where there are none at all."""
    wanted = msgspec.structs.replace(field, many=True, coerce=True)
    found = [place(frame.schema, each, field) for each in (name, *field.copies)]
    columns = frame.select(value[0].alias(str(at)) for at, value in enumerate(found) if value is not None)
    if not columns.width:
        return None
    typed = columns.select(cast(each, dtype, wanted, coerce=True) for each, dtype in columns.schema.items())
    none = pl.lit([], dtype=pl.List(pl.String))
    lists = [
        (pl.col(each) if isinstance(dtype, pl.List) else pl.concat_list(each)).fill_null(none)
        for each, dtype in typed.schema.items()
    ]
    joined = typed.select(pl.concat_list(lists).list.drop_nulls().alias(name))
    return joined.select(pl.when(pl.col(name).list.len() > 0).then(pl.col(name)).alias(name)).to_series()


def adapted(typed: pl.DataFrame, fields: Mapping[str, Field]) -> pl.DataFrame:
    """The frame with keywords normalized, and without those too long, where a field says so."""
    changed = [_adapted(typed[name], field) for name, field in fields.items() if name in typed.columns]
    return typed.with_columns(changed) if changed else typed


def _adapted(values: pl.Series, field: Field) -> pl.Series:
    lists = isinstance(values.dtype, pl.List)
    if field.ignore_above is not None:
        element = pl.element() if lists else named(values.name)
        fits = element.str.len_chars() <= field.ignore_above
        kept = named(values.name).list.eval(element.filter(fits)) if lists else pl.when(fits).then(element)
        values = values.to_frame().select(kept.alias(values.name)).to_series()
    if field.normalizer is None:
        return values
    if not lists:
        return normalized(values, field.normalizer)
    old = values.explode().drop_nulls().unique()
    changed = named(values.name).list.eval(pl.element().replace(old, normalized(old, field.normalizer)))
    return values.to_frame().select(changed).to_series()
