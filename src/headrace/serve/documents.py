"""Documents by their id: `_doc`, `_source` and `_mget`, which see all that was accepted before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, RequestError
from headrace.index.base import Hit
from headrace.index.query.source import filtered
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.freshness import Realtime, never
from headrace.serve.lists import list_of
from headrace.serve.names import Indices, Named
from headrace.serve.reads import Reads
from headrace.serve.responses import JSON_TYPE, PRODUCT, answered, error_body, json_response
from headrace.serve.threads import in_thread

PARAMETERS: Final = requests.COMMON | requests.SOURCE | requests.FRESH | {
    "realtime", "refresh", "routing", "preference", "version", "version_type", "stored_fields",
}  # fmt: skip
DOC: Final = frozenset(
    {"_index", "_id", "_source", "routing", "_routing", "_type", "stored_fields", "version", "version_type"}
)
MOST: Final = 10_000
"""Documents of one `_mget`: as many as a page of a search."""

Source = bool | tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One document of an `_mget`."""

    index: str
    id: str
    source: Source


def routes(
    indices: Indices,
    *,
    realtime: Realtime | None = None,
    clock: Clock | None = None,
    stopping: Callable[[], bool] = never,
) -> list[BaseRoute]:
    """The reading routes of the document API."""
    reads = Reads(indices, realtime, clock, stopping)

    async def find(request: Request) -> tuple[str, Hit | None, dict[str, str]]:
        requests.check_parameters(request, PARAMETERS)
        if list_of(request.query_params.get("stored_fields")):
            requests.fail("[stored_fields] is not supported here: use [_source_includes]")
        expression, name = request.path_params["index"], request.path_params["id"]
        named = reads.single(expression)
        await reads.fresh.realtime(request, [named.name])
        parts = await reads.fresh.parts(request, lambda: [reads.single(expression)])

        def get() -> Hit | None:
            parts[0].view.watermarks()
            return parts[0].view.get([name])[0]

        return parts[0].name, await in_thread(get), reads.fresh.header(parts)

    async def document(request: Request) -> Response:
        index, hit, headers = await find(request)
        wanted = requests.source_parameters(request.query_params)
        body = _body(index, request.path_params["id"], hit, wanted)
        return json_response(request, body, 404 if hit is None else 200, headers)

    async def source(request: Request) -> Response:
        index, hit, headers = await find(request)
        if hit is None:
            reason = f"Document not found [{index}]/[{request.path_params['id']}]"
            raise RequestError(404, "resource_not_found_exception", reason)
        part = part_of(hit, requests.source_parameters(request.query_params))
        return Response(part or b"{}", headers={**PRODUCT, **headers, "Content-Type": JSON_TYPE})

    async def several(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        asked = _asked(await read_body(request), request)
        return await _several(reads, request, asked)

    reading = ["GET", "HEAD"]
    both = ["GET", "POST"]
    return [
        Route("/_mget", answered(several), methods=both),
        Route("/{index}/_mget", answered(several), methods=both),
        Route("/{index}/_doc/{id:path}", answered(document), methods=reading),
        Route("/{index}/_source/{id:path}", answered(source), methods=reading),
    ]


async def _several(reads: Reads, request: Request, asked: Sequence[_Asked]) -> Response:
    """All documents, those of one index from one commit."""
    named: dict[str, Named | HeadraceError] = {}
    for expression in dict.fromkeys(each.index for each in asked):
        try:
            named[expression] = reads.single(expression)
        except RequestError as error:
            named[expression] = error
    there = {each.name: each for each in named.values() if isinstance(each, Named)}
    await reads.fresh.realtime(request, list(there))
    parts = await reads.fresh.parts(request, lambda: list(there.values()))

    def get() -> list[dict[str, Any]]:
        views = {part.name: part.view for part in parts}
        for view in views.values():
            view.watermarks()
        found = []
        for each in asked:
            one = named[each.index]
            if isinstance(one, HeadraceError):
                error = error_body(one, each.index)["error"]
                found.append({"_index": each.index, "_id": each.id, "error": error})
                continue
            found.append(_body(one.name, each.id, views[one.name].get([each.id])[0], each.source))
        return found

    docs = await in_thread(get)
    return json_response(request, {"docs": docs}, headers=reads.fresh.header(parts))


def _asked(body: Mapping[str, Any], request: Request) -> list[_Asked]:
    """What an `_mget` asks for: `docs`, each with its own index and parts, or `ids`. Raises RequestError."""
    index = request.path_params.get("index")
    source = requests.source_parameters(request.query_params)
    if set(body) - {"docs", "ids"} or bool(body.get("docs")) == bool(body.get("ids")):
        requests.fail("an _mget takes either [docs] or [ids]", "action_request_validation_exception")
    entries = body.get("docs") or [{"_id": name} for name in body["ids"]]
    if not isinstance(entries, list) or len(entries) > MOST:
        requests.fail(f"[docs] and [ids] are lists of at most {MOST}")
    return [_one(entry, index, source) for entry in entries]


def _one(entry: Any, index: str | None, source: Source) -> _Asked:
    if isinstance(entry, str):
        entry = {"_id": entry}
    if not isinstance(entry, dict):
        requests.fail(f"[docs] takes objects with an [_id], found [{entry}]", "parsing_exception")
    for name in entry:
        if name not in DOC:
            requests.fail(f"unknown key [{name}] for a document of [docs]", "parsing_exception")
    if entry.get("stored_fields"):
        requests.fail("[stored_fields] is not supported here: use [_source]")
    where, name = entry.get("_index", index), entry.get("_id")
    if not isinstance(where, str) or not where:
        requests.fail("Validation Failed: 1: index is missing;", "action_request_validation_exception")
    if isinstance(name, bool) or not isinstance(name, str | int):
        requests.fail("Validation Failed: 1: id is missing;", "action_request_validation_exception")
    own = requests.parse_source(entry["_source"]) if "_source" in entry else source
    return _Asked(where, str(name), own)


def _body(index: str, name: str, hit: Hit | None, wanted: Source) -> dict[str, Any]:
    if hit is None:
        return {"_index": index, "_id": name, "found": False}
    body: dict[str, Any] = {
        "_index": index,
        "_id": name,
        "_version": hit.seq + 1,  # what the write was answered with
        "_seq_no": hit.seq,
        "_primary_term": 1,
        "found": True,
    }
    part = part_of(hit, wanted)
    if part is not None:
        body["_source"] = msgspec.Raw(part)
    return body


def part_of(hit: Hit, wanted: Source) -> bytes | None:
    """The asked part of a document's `_source`; None for none of it."""
    if isinstance(wanted, tuple):
        return filtered(hit.source, wanted)
    return hit.source if wanted else None
