"""The engine's schema: the only place that knows which engine field holds what.

Every declared field is one engine field, except `json` fields and those beyond the field limit: they live,
like all undeclared ones, in the *dynamic pair*, two JSON fields that hold the same values, once raw and fast
(term, range, aggregations) and once analysed (match, phrase). Nothing but the hidden fields is stored: what
comes back is `_source`.

Three facts of the engine that surprise, each guarded by a test:

- A date's *terms* have a resolution of one second, whatever its precision; only its fast values have
  microseconds. So an exact date is found by a range over [date, date], never by a term, and dates have no
  terms at all. Nor have floats: few ask for an exact one, and nearly each would be a term of its own.
- The engine stores a text that looks like RFC 3339 in a JSON field as a date: its text is no term, neither
  raw nor analysed. `dynamic_date` says which date that is.
- `_pos` has two terms in each position document: its key, and `POSITION_MARK`, by which all of them are
  excluded from every query (rule 3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import tantivy
from tantivy import Occur, Query, SchemaBuilder

from headrace.core.errors import ConfigError
from headrace.fields import Field, FieldType
from headrace.index.tantivy.analysis import check_analyzer, tokenizer
from headrace.model import RESERVED

ID: Final = "_id"
SEQ: Final = "_seq"
SOURCE: Final = "_source"
DYNAMIC: Final = "_dyn"
DYNAMIC_TEXT: Final = "_dyn_text"
POSITION: Final = "_pos"
POSITION_DATA: Final = "_posdata"

POSITION_MARK: Final = "*"
"""A term of `_pos` in every position document; no key is spelled like it (keys are JSON arrays)."""

FIELD_LIMIT: Final = 1000
"""Engine fields by default: each costs memory in the writer and a fast column in every segment."""

STORED_BLOCK_BYTES: Final = 64 << 10
"""Compressed together: four times the engine's own take 5 % less disk, and 20 µs more to get a document."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d).((?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))", re.ASCII
)
_RAW_OPTIONS: Final[dict[str, Any]] = {"tokenizer_name": "raw", "index_option": "basic"}


@dataclass(frozen=True)
class EngineSchema:
    """A mapping as the engine has it.

    schema:  as built; queries use `index.schema`, which has the precision of dates as patched
    fields:  all declared ones, as declared
    columns: those with an engine field of their own; the others live in the dynamic pair
    open:    whether documents may bring undeclared fields
    iso_dates: whether undeclared dates without a zone or a time are dates (those of older indexes are texts)
    """

    schema: tantivy.Schema
    fields: Mapping[str, Field]
    columns: Mapping[str, str] = field(default_factory=dict)
    open: bool = True
    iso_dates: bool = True

    def engine_name(self, name: str) -> str:
        """The engine's name of a declared field with a column; KeyError if it has none."""
        return self.columns[name]

    def may_have(self, name: str) -> bool:
        """Whether a document may have values under a path, declared or not."""
        parts = name.removesuffix(".keyword").split(".")
        paths = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return self.open or name in self.fields or any(path in self.fields for path in paths)

    def in_dynamic(self, name: str) -> bool:
        """Whether all values of a field live in the dynamic pair (undeclared, `json`, beyond the limit)."""
        return name not in self.columns

    @property
    def degraded(self) -> tuple[str, ...]:
        """Declared fields beyond the field limit."""
        return tuple(
            name
            for name, declared in self.fields.items()
            if name not in self.columns and declared.index and declared.kind is not FieldType.JSON
        )

    @cached_property
    def kept(self) -> frozenset[str]:
        """Declared fields that are in `_source` only."""
        return frozenset(name for name, declared in self.fields.items() if not declared.index)

    def tokenizers(self) -> set[str]:
        """The engine's names of the analyzers of text fields."""
        texts = (self.fields[name] for name in self.columns if self.fields[name].kind is FieldType.TEXT)
        return {tokenizer(declared.analyzer) for declared in texts}

    def dates(self) -> frozenset[str]:
        """Engine names of the date fields."""
        return frozenset(
            engine for name, engine in self.columns.items() if self.fields[name].kind is FieldType.DATE
        )


def build(
    fields: Mapping[str, Field],
    *,
    field_limit: int = FIELD_LIMIT,
    open: bool = True,  # noqa: A002 (as an index is)
    iso_dates: bool = True,
) -> EngineSchema:
    """The engine schema of declared fields. Raises ConfigError for a reserved name or unknown analyzer."""
    builder = SchemaBuilder()
    _add_hidden(builder)
    own = [
        name for name, declared in fields.items() if declared.index and declared.kind is not FieldType.JSON
    ]
    columns = {name: engine_name(name) for name in own[:field_limit]}
    for name, declared in fields.items():
        _check(name, declared, fields)
        if name in columns:
            _add(builder, columns[name], declared)
    declared_fields, own_columns = MappingProxyType(dict(fields)), MappingProxyType(columns)
    return EngineSchema(builder.build(), declared_fields, own_columns, open, iso_dates)


def engine_name(name: str) -> str:
    """A name the engine's schema, parser and aggregations all read as one plain word, and back to one field.

    Plain names stay; in others each other character is its code point in hex between dollar signs, so that
    two names never meet, a dot is no path, and nothing looks like a hidden field.
    """
    if _PLAIN.fullmatch(name):
        return name
    return "x$" + re.sub(r"[^A-Za-z0-9_]", lambda match: f"${ord(match.group()):x}$", name)


def _check(name: str, declared: Field, fields: Mapping[str, Field]) -> None:
    if not name or name in RESERVED:
        raise ConfigError(f"the field name {name!r} is reserved; use another", path=("fields", name))
    if declared.kind is FieldType.TEXT:
        try:
            check_analyzer(declared.analyzer)
        except ValueError as error:
            raise ConfigError(str(error), path=("fields", name, "analyzer")) from None
    for option, others in (("of", (declared.of,) if declared.of else ()), ("copies", declared.copies)):
        for other in others:
            if other not in fields or fields[other].of or fields[other].kind is FieldType.JSON:
                raise ConfigError(
                    f"{option} names {other!r}, which is no declared field with values of its own",
                    path=("fields", name, option),
                )
    if declared.copies and declared.kind not in (FieldType.TEXT, FieldType.KEYWORD):
        raise ConfigError(
            f"values are copied to text and keyword fields, not to {declared.type}",
            path=("fields", name, "copies"),
        )


def _add_hidden(builder: SchemaBuilder) -> None:
    builder.add_text_field(ID, stored=True, **_RAW_OPTIONS)
    builder.add_integer_field(SEQ, stored=True, indexed=True, fast=True)
    builder.add_bytes_field(SOURCE, stored=True)
    builder.add_text_field(POSITION, stored=True, **_RAW_OPTIONS)
    builder.add_bytes_field(POSITION_DATA, stored=True)
    builder.add_json_field(DYNAMIC, fast=True, expand_dots_enabled=True, **_RAW_OPTIONS)
    builder.add_json_field(DYNAMIC_TEXT, expand_dots_enabled=True, tokenizer_name=tokenizer("default"))


def _add(builder: SchemaBuilder, name: str, declared: Field) -> None:
    searchable = {"indexed": True, "fast": True}
    ranged = {"indexed": False, "fast": True}
    match declared.kind:
        case FieldType.TEXT:
            builder.add_text_field(name, tokenizer_name=tokenizer(declared.analyzer))
        case FieldType.KEYWORD:
            builder.add_text_field(name, fast=True, **_RAW_OPTIONS)
        case FieldType.INTEGER:
            builder.add_integer_field(name, **searchable)
        case FieldType.UNSIGNED:
            builder.add_unsigned_field(name, **searchable)
        case FieldType.FLOAT:
            builder.add_float_field(name, **ranged)
        case FieldType.BOOLEAN:
            builder.add_boolean_field(name, **searchable)
        case FieldType.DATE:
            builder.add_date_field(name, **ranged)
        case _:  # ip: json has no field of its own
            builder.add_ip_addr_field(name, **searchable)


def exclude_positions(query: Query, schema: tantivy.Schema) -> Query:
    """The query, blind to position documents. Every query that comes from a user is wrapped, once."""
    positions = Query.term_query(schema, POSITION, POSITION_MARK)
    return Query.boolean_query([(Occur.Must, query), (Occur.MustNot, positions)])


def positions_query(schema: tantivy.Schema) -> Query:
    """All position documents, and nothing else."""
    return Query.term_query(schema, POSITION, POSITION_MARK)


def dynamic_date(text: str) -> datetime | None:
    """The date as which the dynamic pair holds this text, or None where it holds the text itself.

    A term query on `_dyn.path` takes this date (its terms have whole seconds, so compare `_source` or use
    a range where that matters).
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2].upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if tantivy.MIN_DATETIME <= moment <= tantivy.MAX_DATETIME else None


def patched(meta: dict[str, Any]) -> dict[str, Any]:
    """An empty index's `meta.json` with what the binding has no option for.

    Dates exact to the microsecond; no lengths of whole values, all of which are one term long (so has
    Elasticsearch); larger blocks of stored documents.
    """
    for entry in meta["schema"]:
        options = entry["options"]
        if entry["type"] == "date":
            options["precision"] = "microseconds"
        elif entry["type"] == "text" and options["indexing"]["tokenizer"] == "raw":
            options["indexing"]["fieldnorms"] = False
    meta["index_settings"]["docstore_blocksize"] = STORED_BLOCK_BYTES
    return meta


def inexact_dates(meta: Mapping[str, Any]) -> list[str]:
    """Engine names of date fields that are not exact to the microsecond: none, unless something is wrong."""
    return [
        entry["name"]
        for entry in meta["schema"]
        if entry["type"] == "date" and entry["options"].get("precision") != "microseconds"
    ]
