"""A search's URL parameters and body → SearchRequest; what neither Elasticsearch nor we know is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
from starlette.requests import Request

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.index.base import SearchRequest, SortKey

COMMON: Final = frozenset({"pretty", "human", "filter_path", "error_trace", "format"})
QUERY: Final = frozenset({"q", "df", "default_operator", "analyze_wildcard", "lenient"})
TARGETS: Final = frozenset(
    {"ignore_unavailable", "allow_no_indices", "expand_wildcards", "preference", "routing"}
)
SOURCE: Final = frozenset({"_source", "_source_includes", "_source_excludes"})
SEARCH: Final = COMMON | QUERY | TARGETS | SOURCE | {
    "from", "size", "sort", "track_total_hits", "typed_keys", "rest_total_hits_as_int", "request_cache",
    "search_type", "timeout", "allow_partial_search_results", "batched_reduce_size",
    "max_concurrent_shard_requests", "ccs_minimize_roundtrips", "track_scores", "version",
    "seq_no_primary_term",
}  # fmt: skip
BODY: Final = (
    "query", "from", "size", "sort", "search_after", "_source", "highlight", "aggs", "aggregations",
    "track_total_hits", "track_scores", "timeout", "version", "seq_no_primary_term",
)  # fmt: skip
NEEDLESS: Final = ("fields", "docvalue_fields", "stored_fields")
"""Asked for by dashboards beside `_source`, which holds the same; accepted empty or as `*`, else 400."""

LARGEST_BODY: Final = 10 << 20


def fail(reason: str, kind: str = "illegal_argument_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def check_parameters(request: Request, known: frozenset[str]) -> None:
    """Refuses what is not known. Raises RequestError."""
    for name in request.query_params:
        if name not in known:
            hint = suggest(name, sorted(known))
            fail(f"request [{request.url.path}] contains unrecognized parameter: [{name}]; {hint}")


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON body, {} where there is none. Raises RequestError."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LARGEST_BODY:
            raise RequestError(
                413, "content_too_long_exception", f"the body is larger than {LARGEST_BODY} bytes"
            )
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        fail(f"the body is no JSON: {error}", "parsing_exception")
    if not isinstance(body, dict):
        fail(f"the body must be an object, found {type(body).__name__}", "parsing_exception")
    return body


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
    return parsed(body, request.query_params)


def parsed(body: Mapping[str, Any], parameters: Mapping[str, str]) -> SearchRequest:
    """A search body and URL parameters; the body wins, as in Elasticsearch. Raises RequestError."""
    for name in body:
        if name not in BODY and not (name in NEEDLESS and not _needed(body[name])):
            fail(f"unknown key [{name}] in the search body; {suggest(name, list(BODY))}", "parsing_exception")
    total = body.get("track_total_hits", parameters.get("track_total_hits", True))
    return SearchRequest(
        query=query_of(parameters, body),
        start=whole(body.get("from", parameters.get("from", 0)), "from"),
        size=whole(body.get("size", parameters.get("size", 10)), "size"),
        sort=sort_keys(body["sort"]) if "sort" in body else _sort_parameter(parameters.get("sort")),
        search_after=_search_after(body),
        source=_source(body, parameters),
        highlight=_object(body, "highlight"),
        aggregations=_object(body, "aggs") or _object(body, "aggregations"),
        count=total not in (False, "false"),
    )


def _needed(value: Any) -> bool:
    return bool(value) and value not in [["*"], "*"]


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


def source_parameters(parameters: Mapping[str, str]) -> bool | tuple[tuple[str, ...], tuple[str, ...]]:
    """`_source`, `_source_includes` and `_source_excludes` of a URL."""
    includes = _list(parameters.get("_source_includes"))
    excludes = _list(parameters.get("_source_excludes"))
    given = parameters.get("_source")
    if given in ("true", "false", "", None):
        return (includes, excludes) if includes or excludes else given != "false"
    return (*_list(given), *includes), excludes


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


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _sort_parameter(text: str | None) -> tuple[SortKey, ...]:
    """`a:desc,b` of a URL."""
    keys = []
    for entry in _list(text):
        name, _, order = entry.rpartition(":") if entry.endswith((":asc", ":desc")) else (entry, "", "")
        keys.append(_key(name, order or None, None))
    return tuple(keys)


def sort_keys(given: Any) -> tuple[SortKey, ...]:
    """The `sort` of a body: names, `{name: order}`, `{name: {order, missing}}`. Raises RequestError."""
    keys: list[SortKey] = []
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, str):
            keys += _sort_parameter(entry) if entry.endswith((":asc", ":desc")) else [_key(entry, None, None)]
        elif isinstance(entry, dict):
            keys += [_sort_entry(name, options) for name, options in entry.items()]
        else:
            fail(f"a sort key is a name or an object, found [{entry}]", "parsing_exception")
    return tuple(keys)


def _sort_entry(name: str, options: Any) -> SortKey:
    if isinstance(options, str):
        return _key(name, options, None)
    if not isinstance(options, dict):
        fail(f"the sort on [{name}] is an order or an object, found [{options}]", "parsing_exception")
    for option in options:
        if option not in ("order", "missing", "unmapped_type", "mode"):
            fail(f"the sort on [{name}] has no option [{option}]; have: missing, order", "parsing_exception")
    descending = str(options.get("order", "desc" if name == "_score" else "asc")).lower() == "desc"
    if options.get("mode") not in (None, "max" if descending else "min"):
        fail(f"the sort on [{name}] supports [mode] only as {'max' if descending else 'min'}")
    return _key(name, options.get("order"), options.get("missing"))


def _key(name: str, order: Any, missing: Any) -> SortKey:
    order = str(order or ("desc" if name == "_score" else "asc")).lower()
    if order not in ("asc", "desc"):
        fail(f"the sort order of [{name}] is asc or desc, found [{order}]")
    if missing not in (None, "_first", "_last"):
        fail(f"[missing] of the sort on [{name}] is _first or _last, found [{missing}]")
    return SortKey(name, order == "desc", missing != "_first")
