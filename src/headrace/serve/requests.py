"""A search's URL parameters and body → SearchRequest; what neither Elasticsearch nor we know is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.requests import Request

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.index.base import SearchRequest
from headrace.index.query.formats import formats
from headrace.serve.given import check_format, check_times, seconds
from headrace.serve.hits import Shown, Wanted, sort_formats
from headrace.serve.lists import few, list_of
from headrace.serve.sorts import given_formats, sort_keys, sort_parameter

COMMON: Final = frozenset(
    {"pretty", "human", "filter_path", "error_trace", "format", "source", "source_content_type"}
)
QUERY: Final = frozenset({"q", "df", "default_operator", "analyze_wildcard", "lenient"})
TARGETS: Final = frozenset(
    {"ignore_unavailable", "allow_no_indices", "expand_wildcards", "preference", "routing"}
)
SOURCE: Final = frozenset({"_source", "_source_includes", "_source_excludes"})
FRESH: Final = frozenset({"after", "timeout"})
"""Until when and how long a read waits for writes (`freshness`)."""

COUNT: Final = frozenset({"terminate_after", "ignore_throttled"})
MSEARCH_DEFAULTS: Final = frozenset({"rest_total_hits_as_int", "typed_keys"})
"""Parameters of an `_msearch` that are meant for each of its searches."""

SEARCH: Final = COMMON | QUERY | TARGETS | SOURCE | FRESH | {
    "from", "size", "sort", "track_total_hits", "typed_keys", "rest_total_hits_as_int", "request_cache",
    "search_type", "allow_partial_search_results", "batched_reduce_size", "scroll", "ignore_throttled",
    "max_concurrent_shard_requests", "ccs_minimize_roundtrips", "track_scores", "version",
    "seq_no_primary_term", "terminate_after", "pre_filter_shard_size", "explain", "stored_fields",
    "docvalue_fields",
}  # fmt: skip
BODY: Final = (
    "query", "from", "size", "sort", "search_after", "_source", "highlight", "aggs", "aggregations",
    "track_total_hits", "track_scores", "timeout", "version", "seq_no_primary_term", "post_filter",
    "min_score", "terminate_after", "fields", "docvalue_fields", "stored_fields", "pit", "collapse",
    "suggest",
)  # fmt: skip
INSTEAD: Final = {
    "rescore": "put the second query into [bool] [should] with a [boost]",
    "script_fields": "compute the field by a transform of the pipeline, when it is indexed",
    "runtime_mappings": "compute the field by a transform of the pipeline, when it is indexed",
    "knn": "there are no vectors; use [match], [multi_match] or [query_string]",
    "explain": "there is no explanation of scores; [highlight] shows what matched",
    "profile": "[took] says how long a search was",
    "stats": "searches are counted under their route in /metrics",
    "indices_boost": "use a [boost] in the query",
    "slice": "several readers can each take a [range] of a field, or use /{index}/_scan",
    "ext": "there are no extensions",
    "rank": "use [bool] [should] with boosts",
    "retriever": "use [query]",
    "min_doc_count": "it belongs into an aggregation",
}
"""What Elasticsearch knows and we do not, and what there is instead; empty or false changes nothing."""

LISTS: Final = (
    "sort", "search_after", "_source", "fields", "docvalue_fields", "stored_fields", "highlight", "suggest",
)  # fmt: skip


def fail(reason: str, kind: str = "illegal_argument_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def check_parameters(request: Request, known: frozenset[str]) -> None:
    """Refuses what is not known. Raises RequestError."""
    check_format(request.query_params)
    check_times(request.query_params)
    for name in request.query_params:
        if name not in known:
            hint = suggest(name, sorted(known))
            fail(f"request [{request.url.path}] contains unrecognized parameter: [{name}]; {hint}")


def query_of(parameters: Mapping[str, str], body: Mapping[str, Any]) -> Any:
    """The query of the body or of `q`. Raises RequestError for both."""
    text = parameters.get("q")
    if text is None:
        return body.get("query")
    if body.get("query") is not None:
        fail("give the query either as [q] or in the body, not both")
    options: dict[str, Any] = {"query": text}
    if "df" in parameters:
        options["default_field"] = parameters["df"]
    if "default_operator" in parameters:
        options["default_operator"] = parameters["default_operator"]
    return {"query_string": options}


def search_request(request: Request, body: Mapping[str, Any]) -> SearchRequest:
    """The whole request, its parameters checked. Raises RequestError."""
    check_parameters(request, SEARCH)
    return parsed(body, request.query_params, suggests=True)


def parsed(
    body: Mapping[str, Any], parameters: Mapping[str, str], *, suggests: bool = False
) -> SearchRequest:
    """A search body and URL parameters; the body wins, as in Elasticsearch. Raises RequestError.

    suggests: the caller answers `suggest`, which is no part of the request"""
    _check_body(body, parameters)
    if body.get("suggest") and not suggests:
        fail("[suggest] is answered by _search alone")
    total = body.get("track_total_hits", parameters.get("track_total_hits", True))
    return SearchRequest(
        query=query_of(parameters, body),
        start=whole(body.get("from", parameters.get("from", 0)), "from"),
        size=whole(body.get("size", parameters.get("size", 10)), "size"),
        sort=sort_keys(body["sort"]) if "sort" in body else sort_parameter(parameters.get("sort")),
        search_after=_search_after(body),
        source=True if _reads_whole(body, parameters) else _source(body, parameters),
        highlight=_object(body, "highlight"),
        aggregations=_aggregations(body),
        count=total not in (False, "false"),
        post_filter=_object(body, "post_filter"),
        min_score=_min_score(body),
        scores=flag(body.get("track_scores", parameters.get("track_scores")), "track_scores"),
        collapse=_collapse(body),
    )


def _check_body(body: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    """Refuses what would change the answer and is not known. Raises RequestError."""
    for name, value in body.items():
        if name in LISTS:
            _few(value.get("fields", ()) if name == "highlight" and isinstance(value, dict) else value, name)
        if name in INSTEAD:
            if value not in (None, False, [], {}):
                fail(f"[{name}] is not supported: {INSTEAD[name]}")
        elif name not in BODY:
            fail(f"unknown key [{name}] in the search body; {suggest(name, list(BODY))}", "parsing_exception")
    if isinstance(body.get("timeout"), str):
        seconds(body["timeout"], "timeout")
    if flag(parameters.get("explain"), "explain"):
        fail(f"[explain] is not supported: {INSTEAD['explain']}")


def _few(given: Any, name: str) -> None:
    """Raises RequestError for more names than a search may have."""
    inside = given.values() if isinstance(given, dict) else ()
    for each in (given, *inside):
        if isinstance(each, list | dict):
            few(each, name)


def flag(value: Any, name: str) -> bool:
    """True or false of a body or a URL, where a bare name is true. Raises RequestError."""
    if value in (None, False, "false"):
        return False
    if value in (True, "true", ""):
        return True
    fail(f"[{name}] must be true or false, found [{value}]")


def _collapse(body: Mapping[str, Any]) -> str | None:
    """The field of `collapse`. Raises RequestError."""
    given = body.get("collapse")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("field"), str):
        fail("[collapse] is an object with a [field]", "parsing_exception")
    if given.get("inner_hits"):
        fail("[inner_hits] of [collapse] are not supported: use a [terms] aggregation with [top_hits] in it")
    for name in given:
        if name not in ("field", "inner_hits", "max_concurrent_group_searches"):
            fail(f"[collapse] has no option [{name}]; have: field", "parsing_exception")
    return str(given["field"])


def _min_score(body: Mapping[str, Any]) -> float | None:
    value = body.get("min_score")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        fail(f"[min_score] must be a number, found [{value}]", "parsing_exception")
    return None if value is None else float(value)


def shown(body: Mapping[str, Any], parameters: Mapping[str, str]) -> Shown:
    """How the answer is to look. Raises RequestError."""
    source = _source(body, parameters)
    stored = _wanted(body.get("stored_fields", list_of(parameters.get("stored_fields"))), "stored_fields")
    if stored and "_source" not in body and not SOURCE & set(parameters):
        source = any(wanted.pattern in ("*", "_source") for wanted in stored)
    stored = [wanted for wanted in stored if wanted.pattern not in ("*", "_source", "_none_")]
    columns = body.get("docvalue_fields", list_of(parameters.get("docvalue_fields")))
    sort = sort_keys(body["sort"]) if "sort" in body else sort_parameter(parameters.get("sort"))
    whether = {name: body.get(name, parameters.get(name)) for name in ("version", "seq_no_primary_term")}
    groups = [field] if (field := _collapse(body)) is not None else []
    terminate = body.get("terminate_after", parameters.get("terminate_after", 0))
    return Shown(
        source=source is not False,
        parts=source if isinstance(source, tuple) and _reads_whole(body, parameters) else None,
        version=flag(whether["version"], "version"),
        seq_no=flag(whether["seq_no_primary_term"], "seq_no_primary_term"),
        fields=[*_wanted([*_fields(body), *groups], "fields"), *stored],
        docvalues=_wanted(columns, "docvalue_fields"),
        sort_formats=sort_formats(sort, given_formats(body.get("sort"))),
        total=_tracked(body.get("track_total_hits", parameters.get("track_total_hits", True))),
        total_as_int=flag(parameters.get("rest_total_hits_as_int"), "rest_total_hits_as_int"),
        terminated=whole(terminate, "terminate_after") > 0,
        typed=_aggregations(body) if flag(parameters.get("typed_keys"), "typed_keys") else None,
    )


def _aggregations(body: Mapping[str, Any]) -> dict[str, Any] | None:
    return _object(body, "aggs") or _object(body, "aggregations")


def _fields(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("fields", [])
    return given if isinstance(given, list) else [given]


def _tracked(value: Any) -> int | None:
    """How far hits are counted: None to the end, 0 not at all."""
    if value in (True, "true", "") or value is None:
        return None
    if value in (False, "false"):
        return 0
    limit = whole(value, "track_total_hits")
    return None if limit < 0 else limit


def _wanted(given: Any, name: str) -> list[Wanted]:
    """`fields`: names, patterns, or objects of [field] and [format]."""
    found = []
    for entry in given if isinstance(given, list | tuple) else [given]:
        if isinstance(entry, str):
            found.append(Wanted(entry))
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("field"), str):
            fail(f"[{name}] takes names and objects with a [field], found [{entry}]", "parsing_exception")
        for option in entry:
            if option not in ("field", "format", "include_unmapped"):
                fail(f"[{name}] has no option [{option}]; have: field, format", "parsing_exception")
        style = entry.get("format")
        if style is not None:
            formats(str(style))
        found.append(Wanted(entry["field"], style))
    return found


def whole(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        fail(f"failed to parse [{name}] with value [{value}]: not a whole number")


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        fail(f"[{name}] must be an object", "parsing_exception")
    return value


def _search_after(body: Mapping[str, Any]) -> list[Any] | None:
    value = body.get("search_after")
    if value is not None and not isinstance(value, list):
        fail("[search_after] must be a list of values", "parsing_exception")
    return value


def _source(body: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
    if "_source" in body:
        return parse_source(body["_source"])
    return source_parameters(parameters)


def _reads_whole(body: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:
    """Whether other values of a hit than those of the wanted part of `_source` are asked for."""
    names = ("fields", "docvalue_fields", "stored_fields", "collapse")
    return any(body.get(name) or parameters.get(name) for name in names)


def source_parameters(parameters: Mapping[str, str]) -> bool | tuple[tuple[str, ...], tuple[str, ...]]:
    """`_source`, `_source_includes` and `_source_excludes` of a URL."""
    includes = list_of(parameters.get("_source_includes"))
    excludes = list_of(parameters.get("_source_excludes"))
    given = parameters.get("_source")
    if given in ("true", "false", "", None):
        return (includes, excludes) if includes or excludes else given != "false"
    return (*list_of(given), *includes), excludes


def parse_source(given: Any) -> bool | tuple[tuple[str, ...], tuple[str, ...]]:
    """The `_source` of a body: true, false, names, or {includes, excludes}. Raises RequestError."""
    if given is None or isinstance(given, bool):
        return given is not False
    if isinstance(given, str | list):
        return _names(given), ()
    if isinstance(given, dict) and set(given) <= {"includes", "excludes", "include", "exclude"}:
        includes = given.get("includes", given.get("include", []))
        return _names(includes), _names(given.get("excludes", given.get("exclude", [])))
    fail("[_source] is true, false, names, or an object of [includes] and [excludes]", "parsing_exception")


def _names(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(str(name) for name in given)
