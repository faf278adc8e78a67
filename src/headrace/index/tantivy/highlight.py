"""Fragments of `_source` texts with the found words marked, by the field's own analyzer."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.core.errors import RequestError
from headrace.core.glob import matches
from headrace.core.registry import suggest
from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.source import values_at
from headrace.index.tantivy.snapshot import Snapshot
from headrace.index.tantivy.targets import Target, analyzer, names_like, resolve, words

OPTIONS = (
    "fields", "pre_tags", "post_tags", "number_of_fragments", "fragment_size", "encoder", "type",
    "require_field_match",
)  # fmt: skip

Matcher = Callable[[str], bool]


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

    fields: Mapping[str, tuple[Target, Sequence[Matcher], Style]]

    def apply(self, source: Mapping[str, Any]) -> dict[str, list[str]]:
        """Field → fragments of one document; fields with nothing found are left out."""
        found = {}
        for name, (target, matchers, style) in self.fields.items():
            texts = [
                str(value)
                for value in values_at(source, target.path_in_source)
                if isinstance(value, str | int | float)
            ]
            fragments = [part for text in texts for part in _fragments(text, target, matchers, style)]
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
            fields[name] = (target, _matchers(target, tree.positive(node), strict=bool(strict)), style)
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


def _matchers(target: Target, leaves: Iterable[Any], *, strict: bool) -> list[Matcher]:
    found: list[Matcher] = []
    for leaf in leaves:
        name = getattr(leaf, "field", None)
        if name is None or (strict and not matches(name, target.name)):
            continue
        found += _of_leaf(target, target.asked(leaf))
    return found


def _of_leaf(target: Target, leaf: Any) -> list[Matcher]:
    match leaf:
        case tree.Match() | tree.Phrase():
            tokens = _tokens(target, values.as_text(leaf.text))
            if isinstance(leaf, tree.Match) and leaf.fuzziness:
                return [_close(token) for token in tokens]
            last = tokens[-1] if leaf.prefix and tokens else None
            exact = frozenset(tokens)
            return [lambda word: word in exact or (last is not None and word.startswith(last))]
        case tree.Terms():
            texts = frozenset(values.as_text(value) for value in leaf.values)
            return [lambda word: word in texts]
        case tree.Pattern():
            pattern = re.compile(_python(leaf.regex), re.IGNORECASE if leaf.analysed else 0)
            return [lambda word: pattern.fullmatch(word) is not None]
        case tree.Fuzzy():
            return [_close(leaf.text)]
        case _:
            return []


def _python(regex: str) -> str:
    """The engine's regular expression as Python reads it; one that only the engine knows marks nothing."""
    try:
        re.compile(regex)
    except re.error:
        return r"(?!)"
    return regex


def _close(word: str) -> Matcher:
    """Words at most two edits away, judged cheaply by what they share."""
    from difflib import SequenceMatcher

    return lambda other: (
        abs(len(other) - len(word)) <= 2
        and (other == word or SequenceMatcher(None, word, other).ratio() >= 1 - 2 / max(len(word), 3))
    )


def _tokens(target: Target, text: str) -> list[str]:
    if _whole(target):
        return [text]
    return [token[1] for token in words(target, text)]


def _whole(target: Target) -> bool:
    return target.raw or (target.column is not None and target.kind is not FieldType.TEXT)


def _fragments(text: str, target: Target, matchers: Sequence[Matcher], style: Style) -> list[str]:
    marks = _marks(text, target, matchers)
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


def _marks(text: str, target: Target, matchers: Sequence[Matcher]) -> list[tuple[int, int]]:
    if _whole(target):
        indexed = [str(value) for value in target.values([text])]
        found = text and any(match(value) for value in indexed for match in matchers)
        return [(0, len(text))] if found else []
    # The analyzer counts characters of the text, not bytes.
    return [
        (token.char_offset_from, token.char_offset_to or token.char_offset_from)
        for token in analyzer(target.analyzer).pre_tokenize(text).tokens
        if any(match(token.text) for match in matchers)
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
