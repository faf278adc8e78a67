"""Which engine fields a name in a request means: the declared column, the dynamic pair, or both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

import tantivy

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.snapshot import Snapshot

KEYWORD_SUFFIX: Final = ".keyword"


@dataclass(frozen=True, slots=True)
class Target:
    """One field of a request.

    name:     as asked for
    path:     its path in documents and in the dynamic pair
    column:   its engine field, where it is declared and has one
    raw:      asked for as `name.keyword`: whole values, not words
    """

    name: str
    path: str
    kind: FieldType
    column: str | None = None
    analyzer: str = "default"
    raw: bool = False

    @property
    def dynamic(self) -> str:
        return f"{engine.DYNAMIC}.{self.path}"

    @property
    def dynamic_text(self) -> str:
        return f"{engine.DYNAMIC_TEXT}.{self.path}"

    @property
    def fast(self) -> str:
        """The engine's name for sorts and aggregations. Raises RequestError for text."""
        if self.column is None:
            return self.dynamic
        if self.kind is FieldType.TEXT:
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"field [{self.name}] of type [text] can be searched, but neither sorted nor aggregated; "
                "declare a keyword field beside it",
            )
        return self.column


def resolve(snapshot: Snapshot, name: str) -> Target:
    """The target of a name; an unknown one is a dynamic field that no document has."""
    fields = snapshot.fields
    if name == engine.ID:
        return Target(name, name, FieldType.KEYWORD, engine.ID)
    if name == engine.SEQ:
        return Target(name, name, FieldType.INTEGER, engine.SEQ)
    if name in fields.columns:
        declared = fields.fields[name]
        return Target(name, name, declared.kind, fields.columns[name], declared.analyzer)
    base = name.removesuffix(KEYWORD_SUFFIX)
    if base == name or base not in fields.columns:
        return Target(name, base, FieldType.JSON, raw=base != name)
    declared = fields.fields[base]
    if declared.kind is FieldType.TEXT:
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"field [{base}] is declared as text and has no keyword form; declare a keyword field beside it",
        )
    return Target(name, base, declared.kind, fields.columns[base], raw=True)


def names_like(snapshot: Snapshot, pattern: str) -> list[str]:
    """All fields there are, declared and dynamic, whose name matches `a.*`."""
    known = dict.fromkeys([*snapshot.fields.columns, *snapshot.dynamic_values])
    return [name for name in known if fnmatchcase(name, pattern.replace("[", "[[]"))]


@lru_cache(maxsize=64)
def analyzer(name: str) -> tantivy.TextAnalyzer:
    return engine.analyze(name)


def words(target: Target, text: str) -> list[str | tuple[int, str]]:
    """The tokens of a query text with their positions, by the field's own analyzer."""
    tokens = analyzer(target.analyzer).pre_tokenize(text).tokens
    return [(token.position, token.text) for token in tokens]


def parser_path(path: str) -> str:
    """A path as the engine's query parser reads it back."""
    return re.sub(r"([^A-Za-z0-9_.])", r"\\\1", path)
