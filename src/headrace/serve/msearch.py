"""Several searches in one request (`_msearch`): an error of one is its own answer, and costs no other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import HeadraceError, RequestError
from headrace.serve import requests
from headrace.serve.bodies import read_bytes
from headrace.serve.hits import answer_body
from headrace.serve.reads import EVERYTHING, Reads, declared
from headrace.serve.responses import answered, error_body, json_response
from headrace.serve.searches import Part

MOST: Final = 1_000
"""Searches of one request: they run one after another, and their answers are held together."""

PARAMETERS: Final = requests.COMMON | requests.TARGETS | requests.FRESH | {
    "max_concurrent_searches", "max_concurrent_shard_requests", "pre_filter_shard_size", "search_type",
    "rest_total_hits_as_int", "typed_keys", "ccs_minimize_roundtrips", "include_named_queries_score",
}  # fmt: skip
HEADER: Final = frozenset(
    {
        "index", "indices", "ignore_unavailable", "allow_no_indices", "expand_wildcards", "search_type",
        "preference", "routing", "request_cache", "ccs_minimize_roundtrips", "ignore_throttled",
        "allow_partial_search_results", "max_concurrent_shard_requests",
    }
)  # fmt: skip


def routes(reads: Reads) -> list[BaseRoute]:
    """`_msearch` with and without an index of its own."""

    async def several(request: Request) -> Response:
        started = time.perf_counter()
        requests.check_parameters(request, PARAMETERS)
        searches = _pairs(await read_bytes(request))
        seen: dict[str, Part] = {}
        answers = [await _answer(reads, request, *pair, seen) for pair in searches]
        took = round((time.perf_counter() - started) * 1000)
        headers = reads.fresh.header(list(seen.values()))
        return json_response(request, {"took": took, "responses": answers}, headers=headers)

    both = ["GET", "POST"]
    return [
        Route("/_msearch", answered(several), methods=both),
        Route("/{index}/_msearch", answered(several), methods=both),
    ]


def _pairs(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Header and body lines. Raises RequestError for what cannot be told apart at all."""
    if not raw.strip():
        _invalid("no requests added")
    if not raw.endswith(b"\n"):
        requests.fail("The msearch request must be terminated by a newline [\n]")
    lines = raw.removesuffix(b"\n").split(b"\n")
    pairs = list(_paired(lines))
    if len(pairs) > MOST:
        requests.fail(f"an _msearch takes at most {MOST} searches, found {len(pairs)}; send them in several")
    return pairs


def _paired(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """An empty header line means an empty header, as in Elasticsearch."""
    if len(lines) % 2:
        _invalid(f"a header line and a body line for each search, found {len(lines)} lines")
    yield from zip(lines[::2], lines[1::2], strict=True)


def _invalid(reason: str) -> None:
    raise RequestError(400, "action_request_validation_exception", f"Validation Failed: 1: {reason};")


async def _answer(
    reads: Reads, request: Request, header: bytes, body: bytes, seen: dict[str, Part]
) -> dict[str, Any]:
    try:
        return await _search(reads, request, header, body, seen)
    except HeadraceError as error:
        return error_body(error)


async def _search(
    reads: Reads, request: Request, header: bytes, body: bytes, seen: dict[str, Part]
) -> dict[str, Any]:
    started = time.perf_counter()
    options = _object(header, "header")
    for name in options:
        if name not in HEADER:
            requests.fail(f"key [{name}] is not supported in the metadata section")
    given = _object(body, "body")
    if given.get("pit") is not None:
        requests.fail("[pit] is not supported in _msearch; use _search")
    url = {name: value for name, value in request.query_params.items() if name in requests.MSEARCH_DEFAULTS}
    wanted, shown = requests.parsed(given, url), requests.shown(given, url)
    merged = {**request.query_params, **options}
    expression = _expression(options, request)
    parts = await reads.fresh.parts(request, lambda: reads.named(expression, merged), several=True)
    seen.update({part.name: part for part in parts})
    found = await reads.search(parts, wanted)
    took = round((time.perf_counter() - started) * 1000)
    return {**answer_body(found, took, shown, declared(parts)), "status": 200}


def _expression(options: Mapping[str, Any], request: Request) -> str:
    """The header's indexes, else the path's, else all."""
    given = options.get("index", options.get("indices"))
    if given in (None, "", []):
        return str(request.path_params.get("index", EVERYTHING))
    if isinstance(given, list):
        return ",".join(str(name) for name in given)
    if not isinstance(given, str):
        requests.fail(f"[index] of a header is a text or a list, found [{given}]")
    return given


def _object(line: bytes, what: str) -> dict[str, Any]:
    if not line.strip():
        return {}
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        requests.fail(f"the {what} line of a search is no JSON: {error}", "parsing_exception")
    if not isinstance(found, dict):
        requests.fail(f"the {what} line of a search must be an object", "parsing_exception")
    return found
