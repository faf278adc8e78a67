"""The query DSL's JSON → tree; whatever is unknown in it is an error that names what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from headrace.core.registry import suggest
from headrace.index.query import functions, patterns, strings, texts, tree
from headrace.index.query.bounds import bounded, check_size
from headrace.index.query.options import (
    COMMON,
    bad,
    boosted,
    edit_distance,
    flag,
    found,
    fuzziness,
    known_options,
    number,
    one_field,
    rewrite,
    scalar,
    whole,
)
from headrace.index.query.refused import INSTEAD
from headrace.index.query.regexps import check_regexp
from headrace.index.query.tree import Node
from headrace.index.query.zones import time_zone

DEEPEST: Final = 40
"""Nested queries; the engine recurses on its own stack."""


def parse_query(query: Any, *, default_fields: tuple[str, ...] = ("*",)) -> Node:
    """A query as JSON gives it → its tree; nothing (None, {}) matches all. Raises RequestError."""
    if query is None or query == {}:
        return tree.All()
    check_size(query)
    found: Node = bounded(_node(query, default_fields, 0))
    return found


def _node(query: Any, default: tuple[str, ...], depth: int) -> Node:
    if depth > DEEPEST:
        bad(f"the query is nested deeper than {DEEPEST} levels; flatten it", "illegal_argument_exception")
    if not isinstance(query, Mapping) or len(query) != 1:
        bad(f"a query is an object with exactly one key, its kind; found {found(query)}")
    kind, body = next(iter(query.items()))
    if kind in _COMPOUND:
        return _COMPOUND[kind](body, default, depth + 1)
    if kind in _ON_FIELDS:
        return _ON_FIELDS[kind](body, default)
    if kind in INSTEAD:
        bad(f"[{kind}] query is not supported; instead: {INSTEAD[kind]}")
    if kind not in _LEAVES:
        known = sorted([*_LEAVES, *_COMPOUND, *_ON_FIELDS])
        near = suggest(str(kind), known).split(" (have")[0]
        hint = f", {near}" if near.startswith("did") else ""
        bad(f"unknown query [{kind}]; supported: {', '.join(known)}{hint}")
    return _LEAVES[kind](body)


def _match_all(body: Any) -> Node:
    return boosted(tree.All(), known_options("match_all", body, ""))


def _match_none(body: Any) -> Node:
    known_options("match_none", body, "")
    return tree.Nothing()


def _term(body: Any) -> Node:
    field, options = one_field("term", body, "value", "case_insensitive")
    value = scalar("term", field, options["value"])
    if flag(options, "case_insensitive"):
        regex = patterns.regexp(patterns.escape(str(value)), ignore_case=True)
        return boosted(tree.Pattern(field, regex, "term"), options)
    return boosted(tree.Terms(field, (value,), scored=True), options)


def _terms(body: Any) -> Node:
    if not isinstance(body, Mapping):
        bad(f"[terms] query: expected an object with a field, found {found(body)}")
    names = [name for name in body if name not in COMMON]
    if len(names) != 1:
        bad(f"[terms] query takes exactly one field, found {found(body)}")
    values = body[names[0]]
    if isinstance(values, Mapping):
        bad(
            f"[terms] query on [{names[0]}]: terms lookup is not supported; get the document first,"
            " and give its values as a list"
        )
    if not isinstance(values, list):
        bad(f"[terms] query on [{names[0]}] takes a list of values, found {found(values)}")
    if len(values) > 65_536:
        bad(f"[terms] query on [{names[0]}] has {len(values)} values; the most is 65536")
    wanted = tuple(scalar("terms", names[0], value) for value in values)
    return boosted(tree.Terms(names[0], wanted), body)


def _range(body: Any) -> Node:
    if not isinstance(body, Mapping) or len(names := [name for name in body if name not in COMMON]) != 1:
        bad(f"[range] query takes exactly one field, found {found(body)}")
    field = names[0]
    options = known_options(
        "range", body[field], "gt gte lt lte format time_zone relation from to include_lower include_upper"
    )
    if options.get("relation") is not None:
        bad("[range] query does not support [relation]; there are no range fields: leave it out")
    for older, bound in (("from", "lower"), ("to", "upper")):
        if options.get(older) is not None:
            exact = flag(options, f"include_{bound}", default=True)
            options[("gte" if exact else "gt") if older == "from" else ("lte" if exact else "lt")] = options[
                older
            ]
    lower, upper = options.get("gt", options.get("gte")), options.get("lt", options.get("lte"))
    for both in (("gt", "gte"), ("lt", "lte")):
        if all(options.get(name) is not None for name in both):
            bad(f"[range] query on [{field}] has both [{both[0]}] and [{both[1]}]; give one")
    lower = options.get("gte") if lower is None else lower
    upper = options.get("lte") if upper is None else upper
    node = tree.Range(
        field,
        None if lower is None else scalar("range", field, lower),
        None if upper is None else scalar("range", field, upper),
        include_lower=options.get("gt") is None,
        include_upper=options.get("lt") is None,
        format=_format(options.get("format")),
        zone=time_zone(options.get("time_zone")),
    )
    return boosted(node, {**options, "boost": options.get("boost", body.get("boost", 1.0))})


def _format(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        bad(f"[format] is a text like epoch_millis, found {found(given)}")
    return given


def _ids(body: Any) -> Node:
    options = known_options("ids", body, "values")
    values = options.get("values", [])
    if not isinstance(values, list):
        values = [values]
    return boosted(tree.Ids(tuple(str(value) for value in values)), options)


def _exists(body: Any) -> Node:
    options = known_options("exists", body, "field")
    if not isinstance(options.get("field"), str):
        bad("[exists] query must have a [field]")
    return boosted(tree.Exists(options["field"]), options)


def _pattern(kind: str, make: Callable[..., str]) -> Callable[[Any], Node]:
    def read(body: Any) -> Node:
        allowed = "case_insensitive rewrite" + (" flags max_determinized_states" if kind == "regexp" else "")
        field, options = one_field(kind, _wildcard_alias(kind, body), "value", allowed)
        rewrite(kind, options)
        if options.get("flags") not in (None, "ALL", "NONE", ""):
            bad(f"[{kind}] query does not support [flags] as [{options['flags']}]; leave it out")
        text = str(scalar(kind, field, options["value"]))
        if kind == "regexp":
            check_regexp(text)
        regex = make(text, ignore_case=flag(options, "case_insensitive"))
        return boosted(tree.Pattern(field, regex, kind), options)

    return read


def _wildcard_alias(kind: str, body: Any) -> Any:
    """`{wildcard: {f: {wildcard: …}}}` is an older spelling of `value`."""
    if kind != "wildcard" or not isinstance(body, Mapping):
        return body
    return {
        field: {"value" if name == "wildcard" else name: entry for name, entry in given.items()}
        if isinstance(given, Mapping)
        else given
        for field, given in body.items()
    }


def _fuzzy(body: Any) -> Node:
    allowed = "fuzziness transpositions max_expansions prefix_length rewrite"
    field, options = one_field("fuzzy", body, "value", allowed)
    rewrite("fuzzy", options)
    whole(options, "max_expansions", tree.EXPANSIONS, least=1)  # a bound of cost: all words are found here
    text = str(scalar("fuzzy", field, options["value"]))
    node = tree.Fuzzy(
        field,
        text,
        edit_distance(fuzziness(options.get("fuzziness", "AUTO")), text),
        flag(options, "transpositions", default=True),
        exact_start=whole(options, "prefix_length", 0),
    )
    return boosted(node, options)


def _bool(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = known_options(
        "bool", body, "must should must_not filter minimum_should_match adjust_pure_negative"
    )

    def clauses(name: str) -> tuple[Node, ...]:
        given = options.get(name) or []
        given = given if isinstance(given, list) else [given]
        return tuple(_node(query, default, depth) for query in given)

    node = tree.Bool(
        clauses("must"),
        clauses("should"),
        clauses("must_not"),
        clauses("filter"),
        options.get("minimum_should_match"),
    )
    return boosted(node, options)


def _constant(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = known_options("constant_score", body, "filter")
    if "filter" not in options:
        bad("[constant_score] query must have a [filter]")
    score = number(options.get("boost", 1.0), "boost", least=0)
    return tree.Constant(_node(options["filter"], default, depth), score)


def _dis_max(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = known_options("dis_max", body, "queries tie_breaker")
    given = options.get("queries")
    if not isinstance(given, list):
        bad("[dis_max] query must have [queries], a list")
    queries = tuple(_node(query, default, depth) for query in given)
    tie = number(options.get("tie_breaker", 0.0), "tie_breaker", least=0)
    return boosted(tree.Best(queries, tie), options)


def _boosting(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = known_options("boosting", body, "positive negative negative_boost")
    for name in ("positive", "negative", "negative_boost"):
        if options.get(name) is None:
            bad(f"[boosting] query must have [{name}]")
    factor = number(options["negative_boost"], "negative_boost", least=0)
    positive, negative = (_node(options[name], default, depth) for name in ("positive", "negative"))
    return boosted(tree.Demote(positive, negative, factor), options)


def _function_score(body: Any, default: tuple[str, ...], depth: int) -> Node:
    """Weights, of all or of what filters find; what is computed from a field the engine cannot make."""
    options = known_options(
        "function_score",
        body,
        "query weight functions score_mode boost_mode max_boost min_score script_score field_value_factor"
        " random_score gauss exp linear",
    )
    if options.get("min_score") is not None:
        bad("[function_score] query does not support [min_score]; give it beside the [query] of the search")
    query = _node(options["query"], default, depth) if options.get("query") else tree.All()
    found = functions.functions(
        options, lambda given: _node(given, default, depth), INSTEAD["function_score"]
    )
    return boosted(functions.scored(query, found, options), options)


_COMPOUND: Final[dict[str, Callable[[Any, tuple[str, ...], int], Node]]] = {
    "bool": _bool,
    "constant_score": _constant,
    "dis_max": _dis_max,
    "boosting": _boosting,
    "function_score": _function_score,
}

_ON_FIELDS: Final[dict[str, Callable[[Any, tuple[str, ...]], Node]]] = {
    "multi_match": texts.multi_match,
    "query_string": strings.query_string,
    "simple_query_string": strings.simple_query_string,
}
"""Those on all fields by default."""

_LEAVES: Final[dict[str, Callable[[Any], Node]]] = {
    "match_all": _match_all,
    "match_none": _match_none,
    "match": texts.match,
    "match_phrase": texts.match_phrase,
    "match_phrase_prefix": texts.match_phrase_prefix,
    "match_bool_prefix": texts.match_bool_prefix,
    "term": _term,
    "terms": _terms,
    "range": _range,
    "exists": _exists,
    "ids": _ids,
    "prefix": _pattern("prefix", patterns.prefix),
    "wildcard": _pattern("wildcard", patterns.wildcard),
    "regexp": _pattern("regexp", patterns.regexp),
    "fuzzy": _fuzzy,
}
