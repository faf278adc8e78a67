"""Fragments of `_source` texts with the found words marked, by the field's own analyzer."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.core.errors import RequestError
from headrace.core.glob import matches
from headrace.core.registry import suggest
from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.options import edit_distance
from headrace.index.query.source import values_at
from headrace.index.tantivy.marker import Marker, marker
from headrace.index.tantivy.snapshot import Snapshot
from headrace.index.tantivy.targets import Target, analyzer, names_like, resolve, words

OPTIONS = (
    "fields", "pre_tags", "post_tags", "number_of_fragments", "fragment_size", "encoder", "type",
    "require_field_match",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    before: str = "<em>"
    after: str = "</em>"
    fragments: int = 5
    size: int = 100
    escape: bool = False


@dataclass(frozen=True, slots=True)
class Highlighter:
    """What to mark in each field; made once per search, then applied to each hit."""

    fields: Mapping[str, tuple[Target, Marker, Style]]

    def apply(self, source: Mapping[str, Any]) -> dict[str, list[str]]:
        """Field → fragments of one document; fields with nothing found are left out."""
        found = {}
        for name, (target, marks, style) in self.fields.items():
            texts = [
                str(value)
                for value in values_at(source, target.path_in_source)
                if isinstance(value, str | int | float)
            ]
            fragments = [part for text in texts for part in _fragments(text, target, marks, style)]
            if fragments:
                found[name] = fragments[: style.fragments] if style.fragments else fragments
        return found


def highlighter(snapshot: Snapshot, request: Mapping[str, Any], node: tree.Node) -> Highlighter:
    """Reads `highlight`. Raises RequestError for an option that is not known."""
    _check(request)
    given = request.get("fields")
    if isinstance(given, list):
        given = {name: options for entry in given for name, options in entry.items()}
    if not isinstance(given, Mapping) or not given:
        raise RequestError(400, "parsing_exception", "[highlight] needs [fields]")
    strict = request.get("require_field_match", True)
    fields = {}
    for pattern, options in given.items():
        _check(options)
        for name in names_like(snapshot, pattern) if "*" in pattern else [pattern]:
            target = resolve(snapshot, name)
            style = _style({**request, **options})
            fields[name] = (target, _marker(target, tree.positive(node), strict=bool(strict)), style)
    return Highlighter(fields)


def _check(options: Mapping[str, Any]) -> None:
    for option in options:
        if option not in OPTIONS:
            raise RequestError(
                400,
                "parsing_exception",
                f"[highlight] has no option [{option}]; {suggest(option, list(OPTIONS))}",
            )


def _style(options: Mapping[str, Any]) -> Style:
    def first(name: str, default: str) -> str:
        given = options.get(name, default)
        return str(given[0]) if isinstance(given, list) and given else str(given)

    try:
        return Style(
            first("pre_tags", "<em>"),
            first("post_tags", "</em>"),
            max(int(options.get("number_of_fragments", 5)), 0),
            max(int(options.get("fragment_size", 100)), 18),
            options.get("encoder") == "html",
        )
    except (TypeError, ValueError):
        raise RequestError(
            400, "parsing_exception", "[highlight]: number_of_fragments and fragment_size are numbers"
        ) from None


def _marker(target: Target, leaves: Iterable[Any], *, strict: bool) -> Marker:
    """What the query's leaves look for in a field."""
    exact: set[str] = set()
    starts: list[str] = []
    close: list[tuple[str, int]] = []
    regexes: list[str] = []
    for leaf in leaves:
        name = getattr(leaf, "field", None)
        if name is None or (strict and not matches(name, target.name)):
            continue
        match target.asked(leaf):
            case tree.Match() | tree.Phrase() as asked:
                tokens = _tokens(target, values.as_text(asked.text))
                if isinstance(asked, tree.Match) and asked.fuzziness:
                    close += [(token, edit_distance(asked.fuzziness, token)) for token in tokens]
                starts += tokens[-1:] if asked.prefix else []
                exact.update(tokens)
            case tree.Terms() as asked:
                exact.update(map(values.as_text, asked.values))
            case tree.Pattern() as asked:
                regexes.append(f"(?i:{asked.regex})" if asked.analysed else asked.regex)
            case tree.Fuzzy() as asked:
                close.append((asked.text, asked.distance))
    return marker(exact, starts, close, regexes)


def _tokens(target: Target, text: str) -> list[str]:
    if _whole(target):
        return [text]
    return [token[1] for token in words(target, text)]


def _whole(target: Target) -> bool:
    return target.raw or (target.column is not None and target.kind is not FieldType.TEXT)


def _fragments(text: str, target: Target, marker: Marker, style: Style) -> list[str]:
    marks = _marks(text, target, marker)
    if not marks:
        return []
    if style.fragments == 0 or len(text) <= style.size:
        return [_marked(text, 0, len(text), marks, style)]
    found, done = [], 0
    for start, _ in marks:
        if start < done:
            continue
        first, done = _window(text, start, done, style.size)
        found.append(_marked(text, first, done, marks, style))
        if len(found) == style.fragments:
            break
    return found


def _marks(text: str, target: Target, marker: Marker) -> list[tuple[int, int]]:
    if _whole(target):
        indexed = [str(value) for value in target.values([text])]
        return [(0, len(text))] if text and marker.among(indexed) else []
    tokens = analyzer(target.analyzer).pre_tokenize(text).tokens
    found = marker.among(token.text for token in tokens)
    # The analyzer counts characters of the text, not bytes.
    return [
        (token.char_offset_from, token.char_offset_to or token.char_offset_from)
        for token in tokens
        if token.text in found
    ]


def _window(text: str, start: int, done: int, size: int) -> tuple[int, int]:
    """A piece of the text round `start`, cut at spaces where there are some."""
    first = max(done, start - size // 3)
    if first > done and (space := text.find(" ", first, start)) >= 0:
        first = space + 1
    last = min(len(text), first + size)
    if last < len(text) and (space := text.rfind(" ", start + 1, last)) > start:
        last = space
    return first, last


def _marked(text: str, first: int, last: int, marks: Sequence[tuple[int, int]], style: Style) -> str:
    plain = html.escape if style.escape else str
    out, place = [], first
    for start, end in marks:
        if start < place or start >= last:
            continue
        out += [plain(text[place:start]), style.before, plain(text[start:end]), style.after]
        place = end
    return "".join([*out, plain(text[place : max(last, place)])])
