"""What a field of an index is: its type as declared, and how values of other types become it.

Shared by `validate`, which coerces, and the indexes, which store. Elasticsearch's type names are accepted
beside ours and reported back as given.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
import polars as pl

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
    names = [*FieldType, *ELASTICSEARCH_NAMES]
    if field.type not in names:
        raise ConfigError(f"unknown field type {field.type!r}, {suggest(field.type, names)}")
    return field
