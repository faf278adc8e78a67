"""Search over HTTP: `_search`, `_count`, `_mapping`, `_cat/indices`, and the banner clients look for.

Searches run in worker threads, at most `AT_ONCE` of them: the engine leaves the GIL while it works.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace import __version__
from headrace.core.errors import HeadraceError, RequestError
from headrace.index.base import Hit, Reader, SearchResult
from headrace.index.mapping import mapping
from headrace.serve import requests
from headrace.serve.responses import PRODUCT, error_response, json_response

T = TypeVar("T")

AT_ONCE: Final = max(4, 2 * (os.cpu_count() or 1))
"""Searches under way; more would only share the same cores and hold more memory."""

UNITS: Final = ("b", "kb", "mb", "gb", "tb")
ES_VERSION: Final = "8.17.0"
SHARDS: Final = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


class Readers(Protocol):
    """The indexes there are, by name."""

    def get(self, name: str) -> Reader:
        """Raises RequestError 404 `index_not_found_exception`."""
        ...

    def names(self) -> list[str]: ...


@functools.cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(AT_ONCE)


async def in_thread(call: Callable[[], T]) -> T:
    """Run a search beside the event loop."""
    return await anyio.to_thread.run_sync(call, limiter=_limiter())


def answered(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The handler, its errors answered in Elasticsearch's shape wherever it is mounted."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HeadraceError as error:
            return error_response(error, request.path_params.get("index"))

    return answer


def reader_of(readers: Readers, request: Request) -> Reader:
    """The one index a path names. Several at once are refused, with the reason."""
    name = request.path_params["index"]
    if "," in name or "*" in name or name == "_all":
        found = [known for known in readers.names() if any(fnmatchcase(known, p) for p in name.split(","))]
        if name == "_all":
            found = readers.names()
        if len(found) == 1:
            return readers.get(found[0])
        reason = f"searching several indexes at once is not supported: [{name}] names {len(found)}; name one"
        raise RequestError(400, "illegal_argument_exception", reason)
    return readers.get(name)


def routes(readers: Readers) -> list[BaseRoute]:
    """The routes of the search API; the caller mounts them, at the root and elsewhere."""

    async def search(request: Request) -> Response:
        started = time.perf_counter()
        reader = reader_of(readers, request)
        wanted = requests.search_request(request, await requests.read_body(request))
        result = await in_thread(lambda: reader.search(wanted))
        took = round((time.perf_counter() - started) * 1000)
        body = search_body(
            request.path_params["index"], result, took, counted=wanted.count, source=wanted.source
        )
        if request.query_params.get("rest_total_hits_as_int") == "true":
            body["hits"]["total"] = result.total
        return json_response(request, body)

    async def count(request: Request) -> Response:
        requests.check_parameters(request, requests.COMMON | requests.QUERY | requests.TARGETS)
        reader = reader_of(readers, request)
        body = await requests.read_body(request)
        if set(body) - {"query"}:
            requests.fail(f"a count takes only [query], found [{', '.join(body)}]", "parsing_exception")
        query = requests.query_of(request.query_params, body)
        return json_response(
            request, {"count": await in_thread(lambda: reader.count(query)), "_shards": SHARDS}
        )

    async def mappings(request: Request) -> Response:
        requests.check_parameters(request, requests.COMMON | requests.TARGETS)
        reader = reader_of(readers, request)
        found = await in_thread(lambda: mapping(reader.fields, _dynamic(reader)))
        return json_response(request, {request.path_params["index"]: {"mappings": found}})

    async def indices(request: Request) -> Response:
        requests.check_parameters(request, requests.COMMON | requests.TARGETS | {"v", "h", "s", "bytes"})
        rows = await in_thread(lambda: [_row(name, readers.get(name)) for name in sorted(readers.names())])
        if request.query_params.get("format") == "json":
            return json_response(request, rows)
        lines = [
            f"{row['health']} open {row['index']} {row['docs.count']} {row['store.size']}\n" for row in rows
        ]
        return Response("".join(lines), headers=PRODUCT, media_type="text/plain")

    both = ["GET", "POST"]
    return [
        Route("/", answered(banner), methods=["GET", "HEAD"]),
        Route("/_cat/indices", answered(indices), methods=["GET"]),
        Route("/{index}/_search", answered(search), methods=both),
        Route("/{index}/_count", answered(count), methods=both),
        Route("/{index}/_mapping", answered(mappings), methods=["GET"]),
        Route("/{index}/_mappings", answered(mappings), methods=["GET"]),
    ]


async def banner(request: Request) -> Response:
    """What clients ask first."""
    version = {
        "number": ES_VERSION,
        "build_flavor": "default",
        "build_type": "headrace",
        "build_hash": f"headrace-{__version__}",
        "lucene_version": "9.12.0",
        "minimum_wire_compatibility_version": "7.17.0",
        "minimum_index_compatibility_version": "7.0.0",
    }
    body = {
        "name": "headrace",
        "cluster_name": "headrace",
        "cluster_uuid": "headrace",
        "version": version,
        "tagline": "You Know, for Search",
    }
    return json_response(request, body)


def search_body(
    index: str, result: SearchResult, took: int, *, counted: bool = True, source: object = True
) -> dict[str, Any]:
    """A search's answer; `_source` is the stored bytes themselves."""
    hits: dict[str, Any] = {"max_score": result.max_score}
    if counted:
        hits = {"total": {"value": result.total, "relation": "eq"}, **hits}
    hits["hits"] = [hit_body(index, hit, source=source is not False) for hit in result.hits]
    body: dict[str, Any] = {"took": took, "timed_out": False, "_shards": SHARDS, "hits": hits}
    if result.aggregations is not None:
        body["aggregations"] = result.aggregations
    return body


def hit_body(index: str, hit: Hit, *, source: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {"_index": index, "_id": hit.id, "_score": hit.score}
    if source:
        body["_source"] = msgspec.Raw(hit.source)
    if hit.highlight:
        body["highlight"] = hit.highlight
    if hit.sort:
        body["sort"] = hit.sort
    return body


def _dynamic(reader: Reader) -> dict[str, str]:
    """Undeclared fields, where the kind of index knows them."""
    fields = getattr(reader, "dynamic_fields", None)
    found: dict[str, str] = fields() if callable(fields) else {}
    return found


def _row(name: str, reader: Reader) -> dict[str, str]:
    stats = reader.stats()
    return {
        "health": "green",
        "status": "open",
        "index": name,
        "docs.count": str(stats.documents),
        "store.size": _bytes(stats.size),
    }


def _bytes(size: float) -> str:
    """A size as `_cat` shows it: 12b, 3.4kb."""
    step = 0
    while size >= 1024 and step < len(UNITS) - 1:
        size, step = size / 1024, step + 1
    return f"{size:.1f}{UNITS[step]}".replace(".0", "")
