"""The query DSL's JSON → tree; whatever is unknown in it is an error that names what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.index.query import patterns, tree
from headrace.index.query.query_string import parse_query_string
from headrace.index.query.tree import Node

DEEPEST: Final = 40
"""Nested queries; the engine recurses on its own stack."""

_COMMON: Final = frozenset({"boost", "_name"})


def parse_query(query: Any, *, default_fields: tuple[str, ...] = ("*",)) -> Node:
    """A query as JSON gives it → its tree; nothing (None, {}) matches all. Raises RequestError."""
    if query is None or query == {}:
        return tree.All()
    return _node(query, default_fields, 0)


def bad(reason: str, kind: str = "parsing_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def _node(query: Any, default: tuple[str, ...], depth: int) -> Node:
    if depth > DEEPEST:
        bad(f"the query is nested deeper than {DEEPEST} levels; flatten it", "illegal_argument_exception")
    if not isinstance(query, Mapping) or len(query) != 1:
        bad(f"a query is an object with exactly one key, its kind; found {_shown(query)}")
    kind, body = next(iter(query.items()))
    if kind in _COMPOUND:
        return _COMPOUND[kind](body, default, depth + 1)
    if kind == "query_string":
        return _query_string(body, default)
    if kind == "multi_match":
        return _multi_match(body, default)
    if kind not in _LEAVES:
        known = sorted([*_LEAVES, *_COMPOUND, "query_string", "multi_match"])
        near = suggest(str(kind), known).split(" (have")[0]
        hint = f", {near}" if near.startswith("did") else ""
        bad(f"unknown query [{kind}]; supported: {', '.join(known)}{hint}")
    return _LEAVES[kind](body)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return f"the keys [{', '.join(map(str, value))}]"
    return f"[{value}]"


def _options(kind: str, body: Any, allowed: str) -> dict[str, Any]:
    """The body's options, all of them known."""
    if not isinstance(body, Mapping):
        bad(f"[{kind}] query: expected an object, found {_shown(body)}")
    known = _COMMON | set(allowed.split())
    for name in body:
        if name not in known:
            bad(f"[{kind}] query does not support [{name}]; {suggest(str(name), sorted(known))}")
    return dict(body)


def _one_field(kind: str, body: Any, short: str, allowed: str) -> tuple[str, dict[str, Any]]:
    """`{field: value}` or `{field: {short: value, …}}`."""
    if not isinstance(body, Mapping):
        bad(f"[{kind}] query: expected an object with a field, found {_shown(body)}")
    names = [name for name in body if name not in _COMMON] or list(body)
    if len(names) != 1:
        bad(f"[{kind}] query takes exactly one field, found {_shown(body)}")
    value = body[names[0]]
    given = {name: body[name] for name in body if name in _COMMON and name != names[0]}
    options = _options(kind, value, f"{short} {allowed}") if isinstance(value, Mapping) else {short: value}
    if options.get(short) is None:
        bad(f"[{kind}] query on [{names[0]}] has no [{short}]")
    return names[0], given | options


def _scalar(kind: str, field: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        bad(f"[{kind}] query on [{field}] takes one value, found {type(value).__name__}")
    return value


def number(value: Any, what: str, *, least: float | None = None) -> float:
    """An option's number. Raises RequestError."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            bad(f"[{what}] must be a number, found [{value}]")
    if isinstance(value, bool) or not isinstance(value, int | float):
        bad(f"[{what}] must be a number, found [{value}]")
    if least is not None and value < least:
        bad(f"[{what}] must be at least {least:g}, found [{value}]", "illegal_argument_exception")
    return float(value)


def _only(kind: str, name: str, options: Mapping[str, Any], value: Any) -> None:
    """Refuses an option that is known, but has only one value here."""
    if options.get(name, value) not in (value, str(value).lower()):
        bad(f"[{kind}] query supports [{name}] only as [{str(value).lower()}]")


def _flag(value: Any, what: str) -> bool:
    if value in (True, False, "true", "false"):
        return value in (True, "true")
    bad(f"[{what}] must be true or false, found [{value}]")


def boosted(node: Node, options: Mapping[str, Any]) -> Node:
    factor = number(options.get("boost", 1.0), "boost", least=0)
    return node if factor == 1.0 else tree.Boost(node, factor)


def _match_all(body: Any) -> Node:
    return boosted(tree.All(), _options("match_all", body, ""))


def _match_none(body: Any) -> Node:
    _options("match_none", body, "")
    return tree.Nothing()


def _conjunction(options: Mapping[str, Any], name: str = "operator") -> bool:
    operator = str(options.get(name, "or")).lower()
    if operator not in ("and", "or"):
        bad(f"[{name}] must be [and] or [or], found [{operator}]")
    return operator == "and"


def fuzziness(value: Any) -> str | int:
    """0, 1, 2 or AUTO. Raises RequestError."""
    text = str(value).upper()
    if text.startswith("AUTO"):
        return "AUTO"
    if text in ("0", "1", "2", "0.0", "1.0", "2.0"):
        return int(float(text))
    bad(f"[fuzziness] must be 0, 1, 2 or AUTO, found [{value}]")


def _match(body: Any) -> Node:
    allowed = "operator fuzziness minimum_should_match lenient zero_terms_query fuzzy_transpositions"
    field, options = _one_field("match", body, "query", allowed)
    for name, neutral in (("lenient", False), ("zero_terms_query", "none"), ("fuzzy_transpositions", True)):
        _only("match", name, options, neutral)
    node = tree.Match(
        field,
        _scalar("match", field, options["query"]),
        conjunction=_conjunction(options),
        fuzziness=fuzziness(options.get("fuzziness", 0)),
        minimum=options.get("minimum_should_match"),
    )
    return boosted(node, options)


def _phrase(kind: str) -> Callable[[Any], Node]:
    def read(body: Any) -> Node:
        allowed = "slop" if kind == "match_phrase" else "max_expansions"
        field, options = _one_field(kind, body, "query", allowed)
        slop = int(number(options.get("slop", 0), "slop", least=0))
        _only(kind, "max_expansions", options, 50)
        text = _scalar(kind, field, options["query"])
        return boosted(tree.Phrase(field, text, slop, kind == "match_phrase_prefix"), options)

    return read


def _term(body: Any) -> Node:
    field, options = _one_field("term", body, "value", "case_insensitive")
    value = _scalar("term", field, options["value"])
    if _flag(options.get("case_insensitive", False), "case_insensitive"):
        regex = patterns.regexp(patterns.escape(str(value)), ignore_case=True)
        return boosted(tree.Pattern(field, regex, "term"), options)
    return boosted(tree.Terms(field, (value,), scored=True), options)


def _terms(body: Any) -> Node:
    if not isinstance(body, Mapping):
        bad(f"[terms] query: expected an object with a field, found {_shown(body)}")
    names = [name for name in body if name not in _COMMON]
    if len(names) != 1:
        bad(f"[terms] query takes exactly one field, found {_shown(body)}")
    values = body[names[0]]
    if not isinstance(values, list):
        bad(f"[terms] query on [{names[0]}] takes a list of values, found {_shown(values)}")
    if len(values) > 65_536:
        bad(f"[terms] query on [{names[0]}] has {len(values)} values; the most is 65536")
    found = tuple(_scalar("terms", names[0], value) for value in values)
    return boosted(tree.Terms(names[0], found), body)


def _range(body: Any) -> Node:
    if not isinstance(body, Mapping) or len(names := [name for name in body if name not in _COMMON]) != 1:
        bad(f"[range] query takes exactly one field, found {_shown(body)}")
    field = names[0]
    options = _options("range", body[field], "gt gte lt lte format time_zone relation from to")
    if options.get("time_zone", "UTC") not in ("UTC", "Z", "+00:00"):
        bad("[range] query supports [time_zone] only as [UTC]; write the offset into the date")
    for unsupported in ("relation", "from", "to"):
        if options.get(unsupported) is not None:
            bad(f"[range] query does not support [{unsupported}]; use gt, gte, lt, lte")
    lower, upper = options.get("gt", options.get("gte")), options.get("lt", options.get("lte"))
    for both in (("gt", "gte"), ("lt", "lte")):
        if all(options.get(name) is not None for name in both):
            bad(f"[range] query on [{field}] has both [{both[0]}] and [{both[1]}]; give one")
    lower = options.get("gte") if lower is None else lower
    upper = options.get("lte") if upper is None else upper
    node = tree.Range(
        field,
        None if lower is None else _scalar("range", field, lower),
        None if upper is None else _scalar("range", field, upper),
        include_lower=options.get("gt") is None,
        include_upper=options.get("lt") is None,
        format=options.get("format"),
    )
    return boosted(node, {**options, "boost": options.get("boost", body.get("boost", 1.0))})


def _ids(body: Any) -> Node:
    options = _options("ids", body, "values")
    values = options.get("values", [])
    if not isinstance(values, list):
        values = [values]
    return boosted(tree.Ids(tuple(str(value) for value in values)), options)


def _exists(body: Any) -> Node:
    options = _options("exists", body, "field")
    if not isinstance(options.get("field"), str):
        bad("[exists] query must have a [field]")
    return boosted(tree.Exists(options["field"]), options)


def _pattern(kind: str, make: Callable[..., str]) -> Callable[[Any], Node]:
    def read(body: Any) -> Node:
        field, options = _one_field(
            kind, _wildcard_alias(kind, body), "value", "case_insensitive rewrite flags"
        )
        for unsupported in ("rewrite", "flags"):
            if options.get(unsupported) not in (None, "constant_score", "ALL", "NONE"):
                bad(f"[{kind}] query does not support [{unsupported}]")
        ignore_case = _flag(options.get("case_insensitive", False), "case_insensitive")
        text = str(_scalar(kind, field, options["value"]))
        return boosted(tree.Pattern(field, make(text, ignore_case=ignore_case), kind), options)

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
    allowed = "fuzziness transpositions max_expansions prefix_length"
    field, options = _one_field("fuzzy", body, "value", allowed)
    if number(options.get("prefix_length", 0), "prefix_length"):
        bad("[fuzzy] query does not support [prefix_length]")
    _only("fuzzy", "max_expansions", options, 50)
    text = str(_scalar("fuzzy", field, options["value"]))
    distance = edit_distance(fuzziness(options.get("fuzziness", "AUTO")), text)
    swaps = _flag(options.get("transpositions", True), "transpositions")
    return boosted(tree.Fuzzy(field, text, distance, swaps), options)


def edit_distance(fuzzy: str | int, word: str) -> int:
    """How many edits AUTO allows a word of this length."""
    if isinstance(fuzzy, int):
        return fuzzy
    return 0 if len(word) < 3 else 1 if len(word) < 6 else 2


def _bool(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = _options("bool", body, "must should must_not filter minimum_should_match")

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
    options = _options("constant_score", body, "filter")
    if "filter" not in options:
        bad("[constant_score] query must have a [filter]")
    score = number(options.get("boost", 1.0), "boost", least=0)
    return tree.Constant(_node(options["filter"], default, depth), score)


def _dis_max(body: Any, default: tuple[str, ...], depth: int) -> Node:
    options = _options("dis_max", body, "queries tie_breaker")
    queries = tuple(_node(query, default, depth) for query in options.get("queries", []))
    tie = number(options.get("tie_breaker", 0.0), "tie_breaker", least=0)
    return boosted(tree.Best(queries, tie), options)


def _multi_match(body: Any, default: tuple[str, ...]) -> Node:
    allowed = "query fields type operator fuzziness minimum_should_match slop tie_breaker lenient"
    options = _options("multi_match", body, allowed)
    if options.get("query") is None:
        bad("[multi_match] query must have a [query]")
    text = _scalar("multi_match", "query", options["query"])
    kind = options.get("type", "best_fields")
    fields = options.get("fields") or list(default)
    parts = [_multi_part(kind, name, text, options) for name in map(str, fields)]
    if kind == "most_fields":
        return boosted(tree.Bool(should=tuple(parts)), options)
    tie = number(options.get("tie_breaker", 0.0), "tie_breaker", least=0)
    return boosted(tree.Best(tuple(parts), tie), options)


def _multi_part(kind: str, name: str, text: Any, options: Mapping[str, Any]) -> Node:
    field, _, factor = name.partition("^")
    if kind in ("best_fields", "most_fields"):
        node: Node = tree.Match(
            field,
            text,
            conjunction=_conjunction(options),
            fuzziness=fuzziness(options.get("fuzziness", 0)),
            minimum=options.get("minimum_should_match"),
            loose=True,
        )
    elif kind in ("phrase", "phrase_prefix"):
        slop = int(number(options.get("slop", 0), "slop", least=0))
        node = tree.Phrase(field, text, slop, kind == "phrase_prefix", loose=True)
    else:
        bad(
            f"[multi_match] query does not support the type [{kind}]; "
            "supported: best_fields, most_fields, phrase, phrase_prefix"
        )
    return tree.Boost(node, number(factor, f"boost of {field}", least=0)) if factor else node


def _query_string(body: Any, default: tuple[str, ...]) -> Node:
    allowed = (
        "query fields default_field default_operator analyze_wildcard lenient fuzziness phrase_slop"
        " allow_leading_wildcard minimum_should_match tie_breaker time_zone"
    )
    options = _options("query_string", {"query": body} if isinstance(body, str) else body, allowed)
    if not isinstance(options.get("query"), str):
        bad("[query_string] query must have a [query] of text")
    _only("query_string", "allow_leading_wildcard", options, True)
    for unsupported in ("minimum_should_match", "time_zone", "fuzziness", "tie_breaker"):
        if unsupported in options:
            bad(f"[query_string] query does not support [{unsupported}]")
    fields = options.get("fields") or [options.get("default_field") or default]
    names = tuple(name for entry in fields for name in ([entry] if isinstance(entry, str) else entry))
    node = parse_query_string(
        options["query"],
        fields=names,
        conjunction=_conjunction(options, "default_operator"),
        slop=int(number(options.get("phrase_slop", 0), "phrase_slop", least=0)),
    )
    return boosted(node, options)


_COMPOUND: Final[dict[str, Callable[[Any, tuple[str, ...], int], Node]]] = {
    "bool": _bool,
    "constant_score": _constant,
    "dis_max": _dis_max,
}

_LEAVES: Final[dict[str, Callable[[Any], Node]]] = {
    "match_all": _match_all,
    "match_none": _match_none,
    "match": _match,
    "match_phrase": _phrase("match_phrase"),
    "match_phrase_prefix": _phrase("match_phrase_prefix"),
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
