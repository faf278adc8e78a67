"""`_validate/query` and `_explain`: whether a query can be answered, whether it finds a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.index.query.parse import parse_query
from headrace.serve import requests, searches
from headrace.serve.bodies import read_body
from headrace.serve.documents import Source, part_of
from headrace.serve.lists import list_of
from headrace.serve.reads import Reads
from headrace.serve.responses import answered, json_response
from headrace.serve.searches import Part
from headrace.serve.threads import in_thread

VALIDATE: Final = requests.COMMON | requests.QUERY | requests.TARGETS | requests.FRESH | {
    "explain", "rewrite", "all_shards",
}  # fmt: skip
EXPLAIN: Final = requests.COMMON | requests.QUERY | requests.TARGETS | requests.SOURCE | requests.FRESH | {
    "stored_fields",
}  # fmt: skip


def routes(reads: Reads) -> list[BaseRoute]:
    async def validate(request: Request) -> Response:
        requests.check_parameters(request, VALIDATE)
        explained = requests.flag(request.query_params.get("explain"), "explain")
        try:
            query = _query(request, await read_body(request))
            parse_query(query)
        except RequestError as error:
            if error.status != 400:
                raise
            return _invalid(request, error, explained=explained)
        parts = await reads.parts(request)
        found = await in_thread(lambda: [_judged(part, query) for part in parts])
        failed = [each["error"] for each in found if "error" in each]
        body: dict[str, Any] = {"_shards": _shards(len(parts)), "valid": not failed}
        if explained:
            body["explanations"] = found
        elif failed:
            body["error"] = failed[0]
        return json_response(request, body, headers=reads.fresh.header(parts))

    async def explain(request: Request) -> Response:
        requests.check_parameters(request, EXPLAIN)
        query = _query(request, await read_body(request))
        if query is None:
            raise RequestError(
                400, "action_request_validation_exception", "Validation Failed: 1: query is missing;"
            )
        if list_of(request.query_params.get("stored_fields")):
            requests.fail("[stored_fields] is not supported here: use [_source_includes]")
        expression, name = request.path_params["index"], request.path_params["id"]
        # As Elasticsearch: the document is given where its source is asked for, and not else.
        asked = any(parameter in request.query_params for parameter in requests.SOURCE)
        source = requests.source_parameters(request.query_params) if asked else False
        parts = await reads.fresh.parts(request, lambda: [reads.single(expression)])
        body, status = await in_thread(lambda: _explained(parts[0], query, name, source))
        return json_response(request, body, status, headers=reads.fresh.header(parts))

    both = ["GET", "POST"]
    return [
        Route("/_validate/query", answered(validate), methods=both),
        Route("/{index}/_validate/query", answered(validate), methods=both),
        Route("/{index}/_explain/{id:path}", answered(explain), methods=both),
    ]


def _query(request: Request, body: Mapping[str, Any]) -> Any:
    for name in body:
        if name != "query":
            requests.fail(f"request does not support [{name}]", "parsing_exception")
    return requests.query_of(request.query_params, body)


def _invalid(request: Request, error: RequestError, *, explained: bool) -> Response:
    """Not valid is an answer, no error."""
    body: dict[str, Any] = {"valid": False}
    if explained:
        body["error"] = f"{error.kind}: {error.reason}"
    return json_response(request, body)


def _judged(part: Part, query: Any) -> dict[str, Any]:
    """What one index makes of a query: a type that cannot hold a value is known only there."""
    try:
        part.view.count(searches.narrowed(query, part.filter))
    except RequestError as error:
        if error.status != 400:
            raise
        return {"index": part.name, "valid": False, "error": f"{error.kind}: {error.reason}"}
    shown = msgspec.json.encode({"match_all": {}} if query is None else query).decode()
    return {"index": part.name, "valid": True, "explanation": shown}


def _shards(count: int) -> dict[str, int]:
    return {"total": count, "successful": count, "failed": 0}


def _explained(part: Part, query: Any, name: str, source: Source) -> tuple[dict[str, Any], int]:
    body: dict[str, Any] = {"_index": part.name, "_id": name}
    hit = part.view.get([name])[0]
    if hit is None:
        return {**body, "matched": False}, 404
    given: dict[str, Any] = {}
    if (document := part_of(hit, source)) is not None:
        known = {"_seq_no": hit.seq, "_primary_term": 1, "found": True}
        given = {"get": {**known, "_source": msgspec.Raw(document)}}
    asked: Any = {
        "bool": {"must": [searches.narrowed(query, part.filter)], "filter": [{"ids": {"values": [name]}}]}
    }
    hits = part.view.search(SearchRequest(query=asked, size=1)).hits
    if not hits:
        nothing = {"value": 0.0, "description": "no matching clause", "details": []}
        return {**body, "matched": False, "explanation": nothing, **given}, 200
    shown = msgspec.json.encode(query).decode()
    why: dict[str, Any] = {"value": hits[0].score, "description": f"score of {shown}, by BM25", "details": []}
    return {**body, "matched": True, "explanation": why, **given}, 200
