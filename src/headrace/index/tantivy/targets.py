"""Which engine fields a name in a request means: the declared column, the dynamic pair, or both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import tantivy

from headrace.core.errors import RequestError
from headrace.core.glob import matches
from headrace.fields import FieldType
from headrace.fields.declared import normalizers
from headrace.index.query import tree
from headrace.index.query.bounds import check_words
from headrace.index.tantivy import analysis
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.normalizing import normalized_text
from headrace.index.tantivy.snapshot import Snapshot, in_engine

KEYWORD_SUFFIX: Final = ".keyword"


@dataclass(frozen=True, slots=True)
class Target:
    """One field of a request.

    name:     as asked for
    path:     its path in documents and in the dynamic pair
    column:   its engine field, where it is declared and has one
    raw:      asked for as `name.keyword`: whole values, not words
    source:   its path in documents, where that is another's (a multi-field)
    normalizer: what was done to its values, and so has to be done to those that are asked for
    ignore_above, coerce: what else was done to them
    whole: of text: the keyword field with its whole values, where there is one
    beside: the values of a declared field that did not fit it, and live in the dynamic pair: the type that
        those asked for must be comparable with; JSON where they do not fit it either
    """

    name: str
    path: str
    kind: FieldType
    column: str | None = None
    analyzer: str = "default"
    raw: bool = False
    source: str = ""
    normalizer: str | None = None
    ignore_above: int | None = None
    coerce: bool = False
    whole: str | None = None
    beside: FieldType | None = None

    def values(self, found: Sequence[Any]) -> list[Any]:
        """Values of a document as they are indexed; those too long to be so are left out."""
        if self.ignore_above is not None:
            found = [v for v in found if not isinstance(v, str) or len(v) <= self.ignore_above]
        if self.normalizer is not None:
            return [normalized_text(v, self.normalizer) if isinstance(v, str) else v for v in found]
        return [_coerced(value, self.kind) for value in found] if self.coerce else list(found)

    def asked(self, node: Any) -> Any:
        """A node of a query with its values changed as the field's are."""
        if self.normalizer is None:
            return node
        changed: dict[str, Any] = {}
        for name in ("text", "lower", "upper"):
            if isinstance(value := getattr(node, name, None), str):
                changed[name] = normalized_text(value, self.normalizer)
        if isinstance(node, tree.Terms):
            changed["values"] = tuple(self.values(node.values))
        if isinstance(node, tree.Pattern):
            changed["regex"] = self._pattern(node.regex)
        return replace(node, **changed) if changed else node

    def _pattern(self, regex: str) -> str:
        """The regular expression as it finds normalized values: in any case, with plain letters."""
        steps = normalizers(str(self.normalizer))
        if "asciifolding" in steps:
            regex = normalized_text(regex, "asciifolding")
        return f"(?i:{regex})" if "lowercase" in steps else regex

    def misfits(self, kind: FieldType) -> Target:
        """The values of this declared field that did not fit it, for what is of this type."""
        return Target(self.name, self.path, FieldType.JSON, raw=self.raw, beside=kind)

    @property
    def path_in_source(self) -> str:
        return self.source or self.path

    @property
    def dynamic(self) -> str:
        return f"{engine.DYNAMIC}.{in_engine(self.path)}"

    @property
    def dynamic_text(self) -> str:
        return f"{engine.DYNAMIC_TEXT}.{in_engine(self.path)}"

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
                + (f"use [{self.whole}]" if self.whole else "declare a keyword field beside it"),
            )
        return self.column


def resolve(snapshot: Snapshot, name: str) -> Target:
    """The target of a name; an unknown one is a dynamic field that no document has."""
    found = resolve_declared(snapshot, name)
    return found.misfits(found.kind) if found.path in snapshot.beside and found.column else found


def resolve_declared(snapshot: Snapshot, name: str) -> Target:
    """As `resolve`, wherever a part of a commit has the field's values."""
    fields = snapshot.fields
    if name == engine.ID:
        return Target(name, name, FieldType.KEYWORD, engine.ID)
    if name == engine.SEQ:
        return Target(name, name, FieldType.INTEGER, engine.SEQ)
    if name in fields.columns:
        return _declared(fields, name, name)
    if fields.kept and (hidden := _kept(fields, name)):
        raise RequestError(
            400,
            "query_shard_exception",
            f"Cannot search on field [{hidden}] since it is not indexed nor has doc values.",
        )
    base = name.removesuffix(KEYWORD_SUFFIX)
    if base == name or base not in fields.columns:
        return Target(name, base, FieldType.JSON, raw=base != name)
    if fields.fields[base].kind is FieldType.TEXT:
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"field [{base}] is declared as text and has no keyword form; declare a keyword field beside it, "
            "or in its [fields]",
        )
    return _declared(fields, name, base)


def _declared(fields: engine.EngineSchema, name: str, path: str) -> Target:
    declared = fields.fields[path]
    return Target(
        name,
        path,
        declared.kind,
        fields.columns[path],
        analysis.canonical(declared.analyzer)
        if not analysis.spelled(declared.analyzer)
        else declared.analyzer,
        raw=name != path,
        source=declared.of or "",
        normalizer=declared.normalizer,
        ignore_above=declared.ignore_above,
        coerce=declared.coerce,
        whole=_whole(fields, path) if declared.kind is FieldType.TEXT else None,
    )


def _whole(fields: engine.EngineSchema, path: str) -> str | None:
    """The keyword field that has the whole values of a text."""
    inner = (name for name, field in fields.fields.items() if field.of == path)
    return next((name for name in inner if fields.fields[name].kind is FieldType.KEYWORD), None)


def _coerced(value: Any, kind: FieldType) -> Any:
    """A value as `coerce` has it; what cannot be coerced is not in the column, and stays as it is."""
    try:
        match kind:
            case FieldType.INTEGER | FieldType.UNSIGNED if not isinstance(value, int):
                return int(value) if isinstance(value, str) and "." not in value else int(float(value))
            case FieldType.FLOAT if isinstance(value, str):
                return float(value)
            case FieldType.BOOLEAN if isinstance(value, str):
                return value == "true"
            case _:
                return value
    except (TypeError, ValueError, OverflowError):
        return value


def _kept(fields: engine.EngineSchema, name: str) -> str | None:
    """The field, or the object round it, that is only kept."""
    parts = name.split(".")
    paths = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return next((path for path in paths if path in fields.kept), None)


def names_like(snapshot: Snapshot, pattern: str) -> list[str]:
    """All fields there are, declared and dynamic, whose name matches `a.*`."""
    known = dict.fromkeys([*snapshot.fields.columns, *snapshot.dynamic_values])
    return [name for name in known if matches(pattern, name)]


@lru_cache(maxsize=64)
def analyzer(name: str) -> tantivy.TextAnalyzer:
    return analysis.analyze(name)


def words(target: Target, text: str) -> list[str | tuple[int, str]]:
    """The tokens of a query text with their positions, by the field's own analyzer."""
    tokens = analyzer(target.analyzer).pre_tokenize(text).tokens
    check_words(len(tokens))
    return [(token.position, token.text) for token in tokens]


def parser_path(path: str) -> str:
    """A path as the engine's query parser reads it back; what a range makes of it is read once more."""
    return re.sub(r"([^A-Za-z0-9_.])", r"\\\1", in_engine(in_engine(path)))
