"""What a field of an index is: its type as declared, and how values of other types become it.

Shared by `validate`, which coerces, and the indexes, which store. Elasticsearch's type names are accepted
beside ours and reported back as given.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
import polars as pl
from polars import selectors

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest


class FieldType(StrEnum):
    TEXT = "text"
    KEYWORD = "keyword"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    IP = "ip"
    JSON = "json"


ELASTICSEARCH_NAMES: Final = {
    "long": FieldType.INTEGER,
    "short": FieldType.INTEGER,
    "byte": FieldType.INTEGER,
    "unsigned_long": FieldType.UNSIGNED,
    "double": FieldType.FLOAT,
    "half_float": FieldType.FLOAT,
    "scaled_float": FieldType.FLOAT,
    "match_only_text": FieldType.TEXT,
    "search_as_you_type": FieldType.TEXT,
    "wildcard": FieldType.KEYWORD,
    "constant_keyword": FieldType.KEYWORD,
    "date_nanos": FieldType.DATE,
    "object": FieldType.JSON,
    "flattened": FieldType.JSON,
}

POLARS_TYPES: Final[dict[FieldType, pl.DataType]] = {
    FieldType.TEXT: pl.String(),
    FieldType.KEYWORD: pl.String(),
    FieldType.INTEGER: pl.Int64(),
    FieldType.UNSIGNED: pl.UInt64(),
    FieldType.FLOAT: pl.Float64(),
    FieldType.BOOLEAN: pl.Boolean(),
    FieldType.DATE: pl.Datetime("us", "UTC"),
    FieldType.IP: pl.String(),
}
"""The frame type each field type is stored from; `json` takes any type."""


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One declared field.

    type:     one of `FieldType`, or an Elasticsearch name for it (kept as given)
    array:    values are lists; also spelled `keyword[]`
    analyzer: of text: default, raw, whitespace, ngram, or stemmed for a language (`english`, `german`…)
    format:   of dates given as text: a chrono format such as `%d/%b/%Y:%H:%M:%S %z`; ISO 8601 if not given
    """

    type: str
    array: bool = False
    analyzer: str = "default"
    format: str | None = None

    @property
    def kind(self) -> FieldType:
        return ELASTICSEARCH_NAMES.get(self.type) or FieldType(self.type)

    @property
    def dtype(self) -> pl.DataType | None:
        """Frame type of its values; None where any is taken (json)."""
        inner = POLARS_TYPES.get(self.kind)
        return pl.List(inner) if inner is not None and self.array else inner


def parse_field(declared: object) -> Field:
    """`keyword`, `keyword[]` or `{type: text, analyzer: english}` → Field. Raises ConfigError."""
    given = {"type": declared} if isinstance(declared, str) else declared
    try:
        field = msgspec.convert(given, Field)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not a field declaration: {error}") from None
    if field.type.endswith("[]"):
        field = msgspec.structs.replace(field, type=field.type.removesuffix("[]"), array=True)
    names = [*(kind.value for kind in FieldType), *ELASTICSEARCH_NAMES]
    if field.type not in names:
        raise ConfigError(f"unknown field type {field.type!r}, {suggest(field.type, names)}")
    return field


def named(name: str) -> pl.Expr:
    """The column of exactly this name.

    `pl.col` reads `*` and `^…$` as patterns, and a record may have such a key.
    """
    return selectors.by_name(name).as_expr() if name == "*" or name.startswith("^") else pl.col(name)


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
    written as text (spaces around them ignored), integral floats as integers, finite floats as text.
    """
    value = named(name)
    if field.kind is FieldType.JSON:
        return value
    if isinstance(dtype, pl.Array):
        value, dtype = value.arr.to_list(), pl.List(dtype.inner)
    if field.array and isinstance(dtype, pl.List):
        return _list(value, _dtype(dtype.inner), field, coerce=coerce).alias(name)
    converted = _scalar(value, dtype, field, coerce=coerce)
    if field.array:
        converted = pl.when(converted.is_not_null()).then(pl.concat_list(converted))
    return converted.alias(name)


def _dtype(inner: pl.DataType | pl.datatypes.DataTypeClass) -> pl.DataType:
    return inner if isinstance(inner, pl.DataType) else inner()


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
            converted = _as_integer(value, dtype, POLARS_TYPES[field.kind], coerce=coerce)
        case FieldType.FLOAT:
            converted = _as_float(value, dtype, coerce=coerce)
        case FieldType.BOOLEAN:
            converted = _as_boolean(value, dtype, coerce=coerce)
        case FieldType.DATE:
            converted = _as_date(value, dtype, field.format, coerce=coerce)
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


_ISO_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?$"
)
_ISO_ZULU: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$"
FIRST_WHOLE_YEAR, LAST_WHOLE_YEAR = 1678, 2261
"""The years that lie inside the engine's range from end to end."""

_ISO_SHORT: Final = (
    r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ]([01][0-9]|2[0-3])(:[0-5][0-9])?"
    r"(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?)?)?)?$"
)
_ISO_START: Final = r"^([0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}(:[0-9]{2})?)?)?)?)"


def _as_date(value: pl.Expr, dtype: pl.DataType, layout: str | None, *, coerce: bool) -> pl.Expr | None:
    if isinstance(dtype, pl.Date):
        return _at(value.to_physical(), 86_400_000_000_000)
    if isinstance(dtype, pl.Datetime):
        return _at(value.to_physical(), {"ns": 1, "us": 1_000, "ms": 1_000_000}[dtype.time_unit])
    if dtype.is_integer():
        return _at(value, 1_000_000)
    if coerce and dtype.is_float():
        whole = _if(value.is_finite() & (value == value.floor()), value.cast(pl.Int64, strict=False))
        return _at(whole, 1_000_000)
    if isinstance(dtype, pl.String):
        if layout:
            return _at(_from_layout(value, layout).to_physical(), 1_000)
        return value.map_batches(_iso_moments, return_dtype=POLARS_TYPES[FieldType.DATE])
    return None


def _iso_moments(texts: pl.Series) -> pl.Series:
    """The moments of ISO texts, null where there is none within the engine's range.

    Most columns hold the one form that logs are written in, to the second or finer and with a Z: it is
    read in half the time. Which way is taken changes no value: both read that form alike.
    """
    if texts.str.contains(_ISO_ZULU).all():
        moments = texts.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us", time_zone="UTC"
        )
        years = moments.dt.year()
        if years.is_between(FIRST_WHOLE_YEAR, LAST_WHOLE_YEAR).all():
            return moments
    return texts.to_frame("text").select(_at(from_iso(pl.col("text")).to_physical(), 1_000)).to_series()


def _at(count: pl.Expr, nanoseconds: int) -> pl.Expr:
    """The moment `count` units after 1970; null outside the engine's range, that of 64-bit nanoseconds.

    Wide numbers, for an overflow would wrap round to a plausible date; one chain without a branch, for
    the engine would compute `count` once per mention.
    """
    exact = (count.cast(pl.Int128) * nanoseconds).cast(pl.Int64, strict=False)
    return exact.floordiv(1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _from_layout(text: pl.Expr, layout: str) -> pl.Expr:
    zoned = any(mark in layout for mark in ("%z", "%:z", "%#z", "%+"))
    return text.str.to_datetime(
        layout, strict=False, exact=True, time_unit="us", time_zone="UTC" if zoned else None, ambiguous="null"
    )


def from_iso(text: pl.Expr) -> pl.Expr:
    """ISO 8601 as Elasticsearch's `strict_date_optional_time` reads it; no zone is UTC.

    One fixed layout, never inferred from the data: each text is first brought to the full form. The
    pattern guards what the parser would forgive (single digits, signs, spaces).
    """
    zoned = text.str.contains(r":[0-9]{2}.*(Z|[+-][0-9]{2}:?[0-9]{2})$")
    full = _if(text.str.contains(_ISO_TIME), pl.when(zoned).then(text).otherwise(text + "Z"))
    return (
        pl.coalesce(full, _lengthened(text))
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    )


def _lengthened(text: pl.Expr) -> pl.Expr:
    """`2024`, `2024-01`, `2024-01-02`, `2024-01-02T03`, `2024-01-02T03:04` and a zone, in the full form."""
    short = _if(text.str.contains(_ISO_SHORT), text)
    start = short.str.extract(_ISO_START, 1)
    zone = short.str.slice(start.str.len_bytes())
    zone = pl.when(zone == "").then(pl.lit("Z")).otherwise(zone)
    return start + pl.lit("0000-01-01 00:00:00").str.slice(start.str.len_bytes()) + zone


_OCTET: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"({_OCTET}\.){{3}}{_OCTET}"
_GROUP: Final = "[0-9a-fA-F]{1,4}"


def _ipv6() -> str:
    """RFC 4291 §2.2, `::` in each place it can stand, the last 32 bits also as IPv4."""
    tail = f"({_GROUP}:{_GROUP}|{_IPV4})"
    forms = [f"({_GROUP}:){{6}}{tail}"]
    for before in range(7):
        left = f"({_GROUP}(:{_GROUP}){{0,{before - 1}}})?" if before else ""
        after = 5 - before
        right = f"({_GROUP}:){{{after}}}{tail}" if after >= 0 else (_GROUP if after == -1 else "")
        forms.append(f"{left}::{right}")
    forms.append(f"({_GROUP}(:{_GROUP}){{0,6}})?::")
    return "|".join(f"({form})" for form in forms)


IPV4: Final = f"^{_IPV4}$"
IPV6: Final = f"^({_ipv6()})$"
IP: Final = f"^({_IPV4}|{_ipv6()})$"
"""Textual addresses as the index's engine reads them: no zone, no leading zero."""
