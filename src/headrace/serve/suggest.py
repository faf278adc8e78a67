"""`suggest`: words of a field that are near those of a text, the term suggester of Elasticsearch.

The words come from the engine's own list, of deleted documents too until their segment is merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from headrace.fields import FieldType
from headrace.index.tantivy import tokens
from headrace.index.tantivy.snapshot import guarded
from headrace.index.tantivy.targets import Target, resolve
from headrace.index.tantivy.view import TantivyView
from headrace.index.tantivy.words import edits
from headrace.serve import requests
from headrace.serve.searches import Part

MOST_NEAR: Final = 10_000
"""Words with the same beginning that are compared, the most frequent ones: about 0.2 s at worst."""

MOST_WORDS: Final = 10
MOST_EDITS: Final = 2
OPTIONS: Final = (
    "field", "size", "sort", "suggest_mode", "max_edits", "prefix_length", "min_word_length", "analyzer",
    "text", "shard_size",
)  # fmt: skip
REFUSED: Final = {
    "phrase": "ask for single words with [term], and put the text together",
    "completion": "use a [match_bool_prefix] query, or a [prefix] query on a keyword",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One suggestion as asked for, with Elasticsearch's defaults."""

    field: str
    text: str
    size: int = 5
    mode: str = "missing"
    by_frequency: bool = False
    most_edits: int = MOST_EDITS
    prefix: int = 1
    shortest: int = 4


def parse(body: Any) -> dict[str, Asked]:
    """`suggest` of a search. Raises RequestError."""
    if not isinstance(body, Mapping):
        _bad("[suggest] must be an object")
    shared = body.get("text")
    return {name: _one(name, given, shared) for name, given in body.items() if name != "text"}


def _one(name: str, given: Any, shared: Any) -> Asked:
    if not isinstance(given, Mapping):
        _bad(f"suggestion [{name}] must be an object")
    text = given.get("text", shared)
    for kind in given:
        if kind in REFUSED:
            _bad(f"suggester [{kind}] is not supported: {REFUSED[kind]}")
        if kind not in ("text", "term", "prefix", "regex"):
            _bad(f"suggestion [{name}] does not support [{kind}]; have: text, term")
    term = given.get("term")
    if not isinstance(term, Mapping) or not isinstance(term.get("field"), str):
        _bad(f"suggestion [{name}] needs a [term] with a [field]")
    for option in term:
        if option not in OPTIONS:
            _bad(f"[term] of suggestion [{name}] has no option [{option}]; have: {', '.join(OPTIONS)}")
    text = term.get("text", text)
    if not isinstance(text, str):
        _bad(f"suggestion [{name}] needs a [text]")
    mode, sort = term.get("suggest_mode", "missing"), term.get("sort", "score")
    if mode not in ("missing", "popular", "always"):
        _bad(f"[suggest_mode] is missing, popular or always, found [{mode}]")
    if sort not in ("score", "frequency"):
        _bad(f"[sort] of suggestion [{name}] is score or frequency, found [{sort}]")
    return Asked(
        term["field"],
        text,
        _whole(term, "size", 5, 1, 1000),
        mode,
        sort == "frequency",
        _whole(term, "max_edits", MOST_EDITS, 1, MOST_EDITS),
        _whole(term, "prefix_length", 1, 0, 100),
        _whole(term, "min_word_length", 4, 1, 100),
    )


def _whole(given: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = requests.whole(given.get(name, default), name)
    if not least <= value <= most:
        _bad(f"[{name}] of a suggestion is from {least} to {most}, found [{value}]")
    return value


def suggested(parts: Sequence[Part], asked: Mapping[str, Asked]) -> dict[str, Any]:
    """Each suggestion by its name, over all indexes. Raises RequestError."""
    return {name: _entries(parts, each) for name, each in asked.items()}


def _entries(parts: Sequence[Part], asked: Asked) -> list[dict[str, Any]]:
    views = [_view(part) for part in parts]
    targets = [(view, _target(view, asked.field)) for view in views]
    if not targets:
        return []
    words = tokens.analysed(targets[0][1].analyzer, asked.text)
    if targets[0][1].kind is FieldType.KEYWORD:
        words = tokens.analysed("raw", asked.text)
    if len(words) > MOST_WORDS:
        _bad(f"a suggestion is for at most {MOST_WORDS} words, found {len(words)}")
    return [
        {
            "text": word.text,
            "offset": word.start,
            "length": word.end - word.start,
            "options": _options(targets, word.text, asked),
        }
        for word in words
    ]


def _view(part: Part) -> TantivyView:
    if not isinstance(part.view, TantivyView):
        _bad("[suggest] is for indexes of type tantivy")
    return part.view


def _target(view: TantivyView, field: str) -> Target:
    target = resolve(view.snapshot, field)
    if target.column is None:
        # The engine has one list of words for all dynamic fields together.
        _bad(
            f"[suggest] needs a field with a list of words of its own, and [{field}] is a dynamic one: "
            f"declare it as text or keyword (PUT /{{index}}/_mapping), or ask a [match] with [fuzziness]"
        )
    if target.kind not in (FieldType.TEXT, FieldType.KEYWORD):
        _bad(f"[suggest] is for fields of type text and keyword, [{field}] is {target.kind}")
    return target


def _options(targets: Sequence[tuple[TantivyView, Target]], word: str, asked: Asked) -> list[dict[str, Any]]:
    if len(word) < asked.shortest:
        return []
    found: dict[str, int] = {}
    own = 0
    for view, target in targets:
        own += _frequency(view, target, word)
        for near, frequency in _near(view, target, word, asked):
            found[near] = found.get(near, 0) + frequency
    if asked.mode == "missing" and own:
        return []
    options: list[dict[str, Any]] = [
        {"text": near, "score": _score(word, near), "freq": frequency}
        for near, frequency in found.items()
        if asked.mode != "popular" or frequency > own
    ]
    first, second = ("freq", "score") if asked.by_frequency else ("score", "freq")
    options.sort(key=lambda option: (-float(option[first]), -float(option[second]), str(option["text"])))
    return options[: asked.size]


def _frequency(view: TantivyView, target: Target, word: str) -> int:
    searcher, column = view.snapshot.searcher, str(target.column)
    return int(guarded(lambda: searcher.doc_freq(column, word)))


def _near(view: TantivyView, target: Target, word: str, asked: Asked) -> list[tuple[str, int]]:
    searcher, column = view.snapshot.searcher, str(target.column)
    start = word[: asked.prefix]
    found = guarded(lambda: searcher.terms_with_prefix(column, start, limit=MOST_NEAR))
    most = asked.most_edits
    return [
        (term, int(frequency))
        for term, frequency in found
        if term != word and abs(len(term) - len(word)) <= most and edits(word, term, most) <= most
    ]


def _score(word: str, near: str) -> float:
    """As Lucene: edits by the length of the shorter one."""
    return round(1 - edits(word, near, MOST_EDITS) / min(len(word), len(near)), 7)


def _bad(reason: str) -> NoReturn:
    requests.fail(reason)
