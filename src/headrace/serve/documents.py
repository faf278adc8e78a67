"""Single documents over HTTP: `_doc/{id}` and `_source/{id}`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.index.base import Hit
from headrace.index.query.source import filtered
from headrace.serve import requests
from headrace.serve.responses import JSON_TYPE, PRODUCT, json_response
from headrace.serve.search import Readers, answered, in_thread, reader_of

PARAMETERS = requests.COMMON | requests.SOURCE | {"realtime", "refresh", "routing", "preference", "version"}


def routes(readers: Readers) -> list[BaseRoute]:
    """The routes of the document API."""

    async def find(request: Request) -> Hit | None:
        requests.check_parameters(request, PARAMETERS)
        reader = reader_of(readers, request)
        wanted = request.path_params["id"]
        return (await in_thread(lambda: reader.get([wanted])))[0]

    async def document(request: Request) -> Response:
        hit = await find(request)
        named = {"_index": request.path_params["index"], "_id": request.path_params["id"]}
        if hit is None:
            return json_response(request, {**named, "found": False}, 404)
        body: dict[str, Any] = {**named, "_version": 1, "_seq_no": hit.seq, "_primary_term": 1, "found": True}
        part = _part(request, hit)
        if part is not None:
            body["_source"] = msgspec.Raw(part)
        return json_response(request, body)

    async def source(request: Request) -> Response:
        hit = await find(request)
        if hit is None:
            reason = f"Document not found [{request.path_params['index']}]/[{request.path_params['id']}]"
            raise RequestError(404, "resource_not_found_exception", reason)
        return Response(_part(request, hit) or b"{}", headers={**PRODUCT, "Content-Type": JSON_TYPE})

    reading = ["GET", "HEAD"]
    return [
        Route("/{index}/_doc/{id:path}", answered(document), methods=reading),
        Route("/{index}/_source/{id:path}", answered(source), methods=reading),
    ]


def _part(request: Request, hit: Hit) -> bytes | None:
    """The asked part of a document's `_source`; None for none of it."""
    wanted = requests.source_parameters(request.query_params)
    if isinstance(wanted, tuple):
        return filtered(hit.source, wanted)
    return hit.source if wanted else None
