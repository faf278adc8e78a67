"""Analyzers: how texts become words. A name, or the analyzer itself spelled as a tokenizer and filters.

A spelled one (`whitespace | lowercase | stop english | stem english`) needs no definition beside the field:
the engine keeps it as the tokenizer's name, so whoever opens the index can build it. A name in front
(`mine = keyword | asciifolding`) only names it, for those who look at the mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import tantivy
from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from headrace.core.registry import suggest

# fmt: off
STEMMED: Final = (
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian",
    "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish",
)
# fmt: on
ANALYZERS: Final = ("default", "raw", "whitespace", "ngram", *STEMMED)
ALIASES: Final = {"standard": "default", "keyword": "raw"}
"""Elasticsearch's names of ours."""

STOPPED: Final = (
    "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian",
    "portuguese", "russian", "spanish", "swedish",
)  # fmt: skip
"""Languages whose stop words the engine knows."""

LONGEST_TOKEN: Final = 255
"""Bytes of a token in text; the engine's own default of 40 would make a SHA-256 unfindable."""

TOKENIZERS: Final = ("standard", "whitespace", "keyword", "letter", "ngram", "edge_ngram")
FILTERS: Final = ("lowercase", "asciifolding", "stop", "stem", "longest")

_PREFIX: Final = "headrace_"
MOST_GRAM: Final = 50


def canonical(analyzer: str) -> str:
    """The analyzer without its name in front, by our name where it has one."""
    spec = analyzer.rpartition("=")[2].strip()
    if "=" not in analyzer and "|" not in analyzer:
        return ALIASES.get(spec, spec)
    return " | ".join(" ".join(step.split()) for step in spec.split("|"))


def spelled(analyzer: str) -> bool:
    """Whether it is made of a tokenizer and filters, and no known name."""
    return "=" in analyzer or "|" in analyzer


def check_analyzer(analyzer: str) -> None:
    """ValueError says what is unknown, and what there is."""
    if spelled(analyzer):
        _build(canonical(analyzer))
    elif canonical(analyzer) not in ANALYZERS:
        raise ValueError(f"unknown analyzer {analyzer!r}, {suggest(analyzer, [*ANALYZERS, *ALIASES])}")


def tokenizer(analyzer: str) -> str:
    """The engine's name of an analyzer: `raw` is the engine's own, the others are registered by us."""
    name = canonical(analyzer)
    if name == "raw":
        return name
    # A spelled analyzer of one word is not the one of that name.
    return f"{_PREFIX}={name}" if spelled(analyzer) else f"{_PREFIX}{name}"


def analyze(analyzer: str) -> TextAnalyzer:
    """The analyzer itself, for query texts: `.analyze(text)` gives its tokens."""
    name = canonical(analyzer)
    if spelled(analyzer):
        return _build(name)
    if name == "raw":
        return TextAnalyzerBuilder(Tokenizer.raw()).build()
    if name == "ngram":
        return TextAnalyzerBuilder(Tokenizer.ngram(2, 3)).filter(Filter.lowercase()).build()
    base = Tokenizer.whitespace() if name == "whitespace" else Tokenizer.simple()
    builder = TextAnalyzerBuilder(base).filter(Filter.remove_long(LONGEST_TOKEN)).filter(Filter.lowercase())
    if name in STEMMED:
        builder = builder.filter(Filter.stemmer(name))
    return builder.build()


def register_analyzers(index: tantivy.Index, tokenizers: Iterable[str] = ()) -> None:
    """Make every analyzer known to an opened index; the engine keeps only their names."""
    for name in ANALYZERS:
        if name != "raw":
            index.register_tokenizer(tokenizer(name), analyze(name))
    for name in tokenizers:
        if name.startswith(f"{_PREFIX}="):
            index.register_tokenizer(name, _build(name.removeprefix(f"{_PREFIX}=")))


def tokenizers_of(meta: Mapping[str, Any]) -> set[str]:
    """The engine's names of the tokenizers of text fields, from `meta.json`."""
    options = (entry["options"].get("indexing") for entry in meta["schema"] if entry["type"] == "text")
    return {str(indexing["tokenizer"]) for indexing in options if indexing}


def _build(spec: str) -> TextAnalyzer:
    first, *steps = [step.split() for step in spec.split("|")]
    if not first:
        raise ValueError(f"an analyzer begins with a tokenizer, {suggest('', list(TOKENIZERS))}")
    builder = TextAnalyzerBuilder(_tokenizer(*first))
    if first[0] != "keyword":
        builder = builder.filter(Filter.remove_long(LONGEST_TOKEN))
    for step in steps:
        if not step:
            raise ValueError(f"an analyzer with an empty step: {spec!r}")
        builder = builder.filter(_filter(*step))
    return builder.build()


def _tokenizer(name: str, *arguments: str) -> Tokenizer:
    match name:
        case "standard":
            return Tokenizer.simple()
        case "whitespace":
            return Tokenizer.whitespace()
        case "keyword" | "raw":
            return Tokenizer.raw()
        case "letter":
            return Tokenizer.regex(r"\p{L}+")
        case "ngram" | "edge_ngram":
            least, most = _grams(name, arguments)
            return Tokenizer.ngram(least, most, prefix_only=name == "edge_ngram")
        case _:
            raise ValueError(f"unknown tokenizer {name!r}, {suggest(name, list(TOKENIZERS))}")


def _grams(name: str, arguments: tuple[str, ...]) -> tuple[int, int]:
    if len(arguments) != 2 or not all(each.isdecimal() for each in arguments):
        raise ValueError(f"{name} takes two numbers, its shortest and longest piece, such as `{name} 2 3`")
    least, most = map(int, arguments)
    if not 1 <= least <= most <= MOST_GRAM:
        raise ValueError(f"{name} {least} {most}: from 1 to {MOST_GRAM}, the shorter one first")
    return least, most


def _filter(name: str, *arguments: str) -> Filter:
    match name, arguments:
        case "lowercase", ():
            return Filter.lowercase()
        case "asciifolding", ():
            return Filter.ascii_fold()
        case "stop", (language,) if language in STOPPED:
            return Filter.stopword(language)
        case "stop", (words,) if "," in words:
            return Filter.custom_stopword([word for word in words.split(",") if word])
        case "stem", (language,) if language in STEMMED:
            return Filter.stemmer(language)
        case "longest", (limit,) if limit.isdecimal() and int(limit):
            return Filter.remove_long(int(limit) + 1)
        case _ if name in FILTERS:
            raise ValueError(
                f"filter {' '.join((name, *arguments))!r}: lowercase and asciifolding take nothing, stem and"
                " stop a language the engine knows (or words with commas between), longest a number of bytes"
            )
        case _:
            raise ValueError(f"unknown filter {name!r}, {suggest(name, list(FILTERS))}")
