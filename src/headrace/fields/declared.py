"""What a field of an index is: its type as declared, and what else is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.fields.dates import layouts

DEFAULT_ANALYZER: Final = "default"
NORMALIZERS: Final = ("lowercase", "asciifolding")


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

    type:             one of `FieldType`, or an Elasticsearch name for it (kept as given)
    array:            values are lists; also spelled `keyword[]`
    analyzer:         of text: default, raw, whitespace, ngram, stemmed for a language (`english`, `german`…),
                      or made of a tokenizer and filters: `whitespace | lowercase | asciifolding`
    format:           of dates: a chrono format such as `%d/%b/%Y:%H:%M:%S %z`, or Elasticsearch's
                      (`epoch_second`, `yyyy-MM-dd||epoch_millis`); ISO 8601 and milliseconds if not given
    many:             values are one or a list of them, as those of every field in Elasticsearch
    coerce:           takes numbers and booleans written as text, and cuts off fractions of integers
    of:               another field: this one has the values of that one (a multi-field)
    copies:           other fields whose values it has too
    index:            false: values are only kept, and cannot be asked for
    normalizer:       of keywords: `lowercase`, `asciifolding`, or both with a `|` between them
    ignore_above:     of keywords: longer ones (in characters) are kept but not indexed
    ignore_malformed: what does not fit the type is kept but not indexed, where it would be rejected
    """

    type: str
    array: bool = False
    analyzer: str = DEFAULT_ANALYZER
    format: str | None = None
    many: bool = False
    coerce: bool = False
    of: str | None = None
    copies: tuple[str, ...] = ()
    index: bool = True
    normalizer: str | None = None
    ignore_above: Annotated[int, msgspec.Meta(ge=1)] | None = None
    ignore_malformed: bool = False

    @property
    def kind(self) -> FieldType:
        return ELASTICSEARCH_NAMES.get(self.type) or FieldType(self.type)

    @property
    def dtype(self) -> pl.DataType | None:
        """Frame type of its values; None where any is taken (json)."""
        inner = POLARS_TYPES.get(self.kind)
        return pl.List(inner) if inner is not None and self.array else inner


def normalizers(spec: str) -> tuple[str, ...]:
    """The steps of `lowercase | asciifolding`; a name in front, as `mine = lowercase`, only names it."""
    return tuple(step.strip() for step in spec.rpartition("=")[2].split("|"))


def parse_field(declared: object) -> Field:
    """`keyword`, `keyword[]` or `{type: text, analyzer: english}` → Field. Raises ConfigError."""
    given = {"type": declared} if isinstance(declared, str) else declared
    if isinstance(given, Mapping) and "fields" in given:
        _inner_fields("", given)
        given = {name: value for name, value in given.items() if name != "fields"}
    try:
        field = msgspec.convert(given, Field)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not a field declaration: {error}") from None
    if field.type.endswith("[]"):
        field = msgspec.structs.replace(field, type=field.type.removesuffix("[]"), array=True)
    names = [*(kind.value for kind in FieldType), *ELASTICSEARCH_NAMES]
    if field.type not in names:
        raise ConfigError(f"unknown field type {field.type!r}, {suggest(field.type, names)}")
    _check(field)
    return field


def parse_fields(declared: Mapping[str, object]) -> dict[str, Field]:
    """All fields; `{type: text, fields: {raw: keyword}}` has one more, `name.raw`. Raises ConfigError."""
    found: dict[str, Field] = {}
    for name, given in declared.items():
        try:
            found[name] = parent = parse_field(given)
            inner = _inner_fields(name, given) if isinstance(given, Mapping) else {}
        except ConfigError as error:
            raise error.inside("fields", name) from None
        for path, field in inner.items():
            if path in declared:
                raise ConfigError(f"declared twice: also among the fields of {name!r}", path=("fields", path))
            many, array = parent.many, parent.array
            found[path] = msgspec.structs.replace(field, of=name, many=many, array=array)
    return found


def _inner_fields(name: str, given: Mapping[str, Any]) -> dict[str, Field]:
    declared = given.get("fields") or {}
    if not isinstance(declared, Mapping):
        raise ConfigError("fields of a field are a mapping of names to types", path=("fields",))
    found = {}
    for inner, each in declared.items():
        if isinstance(each, Mapping) and ("fields" in each or "of" in each):
            raise ConfigError("a field of a field has none of its own", path=("fields", inner))
        try:
            found[f"{name}.{inner}"] = parse_field(each)
        except ConfigError as error:
            raise error.inside("fields", inner) from None
        if found[f"{name}.{inner}"].kind is FieldType.JSON:
            raise ConfigError("a field of a field has one type, not json", path=("fields", inner))
    return found


def _check(field: Field) -> None:
    """What types cannot say."""
    if field.kind is not FieldType.KEYWORD:
        for option in ("normalizer", "ignore_above"):
            if getattr(field, option) is not None:
                raise ConfigError(f"{option} is for keyword fields, not for {field.type}", path=(option,))
    if field.normalizer is not None:
        unknown = set(normalizers(field.normalizer)) - set(NORMALIZERS)
        if unknown:
            name = min(unknown)
            raise ConfigError(
                f"unknown normalizer {name!r}, {suggest(name, list(NORMALIZERS))}", path=("normalizer",)
            )
    if field.format is not None:
        try:
            layouts(field.format)
        except ValueError as error:
            raise ConfigError(
                f"no such date format: {error}; give a chrono format such as %Y-%m-%d", path=("format",)
            ) from None
