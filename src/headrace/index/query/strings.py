"""The options of the two query string queries; their languages are read elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from headrace.index.query import tree
from headrace.index.query.options import (
    bad,
    boosted,
    conjunction,
    flag,
    fuzziness,
    known_options,
    lenient,
    number,
    only,
    rewrite,
    whole,
)
from headrace.index.query.query_string import parse_query_string
from headrace.index.query.simple_query_string import FLAGS, parse_simple_query_string
from headrace.index.query.tree import Node
from headrace.index.query.zones import time_zone

_EITHER: Final = (
    "query fields default_operator analyze_wildcard lenient minimum_should_match"
    " auto_generate_synonyms_phrase_query fuzzy_max_expansions fuzzy_prefix_length fuzzy_transpositions"
)
_STRING: Final = (
    f"{_EITHER} default_field fuzziness phrase_slop allow_leading_wildcard tie_breaker time_zone type rewrite"
    " max_determinized_states enable_position_increments"
)


def query_string(body: Any, default: tuple[str, ...]) -> Node:
    options = _read("query_string", {"query": body} if isinstance(body, str) else body, _STRING)
    only("query_string", "allow_leading_wildcard", options, True)
    only("query_string", "type", options, "best_fields")
    rewrite("query_string", options)
    fields = options.get("fields") or [options.get("default_field") or default]
    node = parse_query_string(
        options["query"],
        fields=_names("query_string", fields),
        conjunction=conjunction(options, "default_operator"),
        slop=whole(options, "phrase_slop", 0),
        zone=time_zone(options.get("time_zone")),
        fuzziness=fuzziness(options.get("fuzziness", "AUTO")),
        tie=number(options.get("tie_breaker", 0.0), "tie_breaker", least=0),
    )
    return boosted(lenient(_with_minimum(node, options), options), options)


def simple_query_string(body: Any, default: tuple[str, ...]) -> Node:
    options = _read("simple_query_string", body, f"{_EITHER} flags quote_field_suffix")
    only("simple_query_string", "quote_field_suffix", options, None)
    node = parse_simple_query_string(
        options["query"],
        fields=_names("simple_query_string", options.get("fields") or list(default)),
        conjunction=conjunction(options, "default_operator"),
        flags=_flags(options.get("flags", "ALL")),
        exact_start=whole(options, "fuzzy_prefix_length", 0),
    )
    return boosted(lenient(_with_minimum(node, options), options), options)


def _read(kind: str, body: Any, allowed: str) -> dict[str, Any]:
    options = known_options(kind, body, allowed)
    if not isinstance(options.get("query"), str):
        bad(f"[{kind}] query must have a [query] of text")
    flag(options, "analyze_wildcard")  # words of a wildcard are always compared as the field's are
    only(kind, "fuzzy_transpositions", options, True)
    if kind == "query_string":
        only(kind, "fuzzy_prefix_length", options, 0)
    return options


def _names(kind: str, given: Any) -> tuple[str, ...]:
    entries = given if isinstance(given, list | tuple) else [given]
    names = tuple(
        name for entry in entries for name in (entry if isinstance(entry, list | tuple) else [entry])
    )
    for name in names:
        if not isinstance(name, str):
            bad(f"[{kind}] query takes [fields] as a list of names")
        _, separator, factor = name.rpartition("^")
        if separator:
            number(factor, f"boost of {name}", least=0)
    return names


def _with_minimum(node: Node, options: Mapping[str, Any]) -> Node:
    """`minimum_should_match` is about the clauses of the outermost level."""
    given = options.get("minimum_should_match")
    if given is not None and isinstance(node, tree.Bool) and node.should:
        return replace(node, minimum=given)
    return node


def _flags(given: Any) -> frozenset[str]:
    names = frozenset(name.strip().upper() for name in str(given).split("|") if name.strip())
    for name in names:
        if name not in (*FLAGS, "ALL", "NONE", "SLOP"):
            bad(
                f"[simple_query_string] query has no flag [{name}]; have: ALL, NONE, {', '.join(FLAGS)}, SLOP"
            )
    if "ALL" in names or not names:
        return FLAGS
    return frozenset(name.replace("SLOP", "NEAR") for name in names if name != "NONE")
