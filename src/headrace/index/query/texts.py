"""The queries of words: `match` and its kin, on one field or (`multi_match`) on several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from headrace.index.query import tree
from headrace.index.query.options import (
    bad,
    boosted,
    conjunction,
    empty_is_all,
    flag,
    fuzziness,
    known_options,
    lenient,
    number,
    one_field,
    scalar,
    whole,
)
from headrace.index.query.tree import Node

_FUZZY: Final = "fuzziness fuzzy_transpositions prefix_length max_expansions fuzzy_rewrite"
_WORDS: Final = (
    f"operator minimum_should_match lenient zero_terms_query auto_generate_synonyms_phrase_query {_FUZZY}"
)
_PHRASE: Final = "slop zero_terms_query"
TYPES: Final = ("best_fields", "most_fields", "cross_fields", "phrase", "phrase_prefix", "bool_prefix")


def match(body: Any) -> Node:
    field, options = one_field("match", body, "query", _WORDS)
    return boosted(lenient(_match("match", field, options), options), options)


def match_bool_prefix(body: Any) -> Node:
    field, options = one_field("match_bool_prefix", body, "query", f"operator minimum_should_match {_FUZZY}")
    node = replace(_match("match_bool_prefix", field, options), prefix=True)
    return boosted(node, options)


def match_phrase(body: Any) -> Node:
    field, options = one_field("match_phrase", body, "query", _PHRASE)
    return boosted(_phrase("match_phrase", field, options), options)


def match_phrase_prefix(body: Any) -> Node:
    field, options = one_field("match_phrase_prefix", body, "query", f"{_PHRASE} max_expansions")
    return boosted(_phrase("match_phrase_prefix", field, options, prefix=True), options)


def _match(kind: str, field: str, options: Mapping[str, Any]) -> tree.Match:
    if options.get("fuzzy_rewrite") not in (None, "constant_score", "constant_score_boolean"):
        bad(f"[{kind}] query does not support [fuzzy_rewrite] as [{options['fuzzy_rewrite']}]; leave it out")
    whole(options, "max_expansions", tree.EXPANSIONS, least=1)  # a bound of cost: all words are found here
    return tree.Match(
        field,
        scalar(kind, field, options["query"]),
        conjunction=conjunction(options),
        fuzziness=fuzziness(options.get("fuzziness", 0)),
        minimum=options.get("minimum_should_match"),
        exact_start=whole(options, "prefix_length", 0),
        swaps=flag(options, "fuzzy_transpositions", default=True),
        empty_is_all=empty_is_all(kind, options),
    )


def _phrase(kind: str, field: str, options: Mapping[str, Any], *, prefix: bool = False) -> tree.Phrase:
    return tree.Phrase(
        field,
        scalar(kind, field, options["query"]),
        whole(options, "slop", 0),
        prefix,
        expansions=whole(options, "max_expansions", tree.EXPANSIONS, least=1),
        empty_is_all=empty_is_all(kind, options),
    )


def multi_match(body: Any, default: tuple[str, ...]) -> Node:
    options = known_options("multi_match", body, f"query fields type slop tie_breaker {_WORDS}")
    if options.get("query") is None:
        bad("[multi_match] query must have a [query]")
    kind = options.get("type", "best_fields")
    if kind not in TYPES:
        bad(f"[multi_match] query does not support the type [{kind}]; supported: {', '.join(TYPES)}")
    fields = options.get("fields") or list(default)
    if not isinstance(fields, list | str):
        bad("[multi_match] query takes [fields] as a list of names")
    pairs = tuple(split(name) for name in ([fields] if isinstance(fields, str) else fields))
    node = _across(options, pairs) if kind == "cross_fields" else _each(kind, options, pairs)
    return boosted(lenient(node, options), options)


def split(given: Any) -> tuple[str, float]:
    """`title^3` → its field and its boost."""
    name, separator, factor = str(given).rpartition("^")
    if not separator:
        return str(given), 1.0
    return name, number(factor, f"boost of {name}", least=0)


def _across(options: Mapping[str, Any], fields: tuple[tuple[str, float], ...]) -> Node:
    if fuzziness(options.get("fuzziness", 0)):
        bad("[multi_match] query does not support [fuzziness] with the type cross_fields; use best_fields")
    return tree.Across(
        fields,
        scalar("multi_match", "query", options["query"]),
        conjunction(options),
        options.get("minimum_should_match"),
        number(options.get("tie_breaker", 0.0), "tie_breaker", least=0),
        empty_is_all("multi_match", options),
    )


def _each(kind: str, options: Mapping[str, Any], fields: tuple[tuple[str, float], ...]) -> Node:
    """One query for each field, and the best or the sum of their scores."""
    parts: list[Node] = []
    for field, factor in fields:
        node = _one(kind, field, options)
        parts.append(node if factor == 1.0 else tree.Boost(node, factor))
    summed = kind in ("most_fields", "bool_prefix")
    tie = number(options.get("tie_breaker", 1.0 if summed else 0.0), "tie_breaker", least=0)
    if summed and tie == 1.0:
        return tree.Bool(should=tuple(parts), minimum=1) if parts else tree.Nothing()
    return tree.Best(tuple(parts), tie)


def _one(kind: str, field: str, options: Mapping[str, Any]) -> Node:
    if kind in ("phrase", "phrase_prefix"):
        phrase = _phrase("multi_match", field, options, prefix=kind == "phrase_prefix")
        return replace(phrase, loose=True)
    return replace(_match("multi_match", field, options), loose=True, prefix=kind == "bool_prefix")
