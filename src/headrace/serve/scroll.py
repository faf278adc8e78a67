"""Reading on in one commit: scrolls, which remember where they are, and points in time, which do not.

Both hold the very searchers of the moment they were opened (`leases`): what is written, deleted or merged
meanwhile changes nothing in their pages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest, SortKey
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.given import seconds
from headrace.serve.hits import Shown, shards
from headrace.serve.leases import Lease
from headrace.serve.reads import Reads
from headrace.serve.responses import answered, json_response
from headrace.serve.searches import Answered

PAGE_PARAMETERS = requests.COMMON | {"scroll", "scroll_id", "rest_total_hits_as_int"}
PIT_PARAMETERS = requests.COMMON | requests.TARGETS | requests.FRESH | {
    "keep_alive", "allow_partial_search_results", "allow_partial_pit_creation",
}  # fmt: skip


def routes(reads: Reads) -> list[BaseRoute]:
    """Scrolls, and points in time under Elasticsearch's paths and OpenSearch's."""

    async def scrolled(request: Request) -> Response:
        started = time.perf_counter()
        body = await _body(request, PAGE_PARAMETERS)
        name = _text(body, request, "scroll_id")
        keep = body.get("scroll", request.query_params.get("scroll"))
        lease = reads.leases.find(name, None if keep is None else seconds(str(keep), "scroll"), scroll=True)
        return await _next(reads, request, lease, started)

    async def clear(request: Request) -> Response:
        body = await _body(request, PAGE_PARAMETERS)
        return _released(reads, request, body.get("scroll_id", _in_url(request, "scroll_id")), scroll=True)

    async def open_point(request: Request) -> Response:
        lease = await _open(reads, request)
        return json_response(request, {"id": lease.id, "_shards": shards(len(lease.parts))})

    async def close_point(request: Request) -> Response:
        body = await _body(request, requests.COMMON)
        return _released(reads, request, body.get("id"), scroll=False)

    async def open_point_there(request: Request) -> Response:
        lease = await _open(reads, request)
        body = {"pit_id": lease.id, "_shards": shards(len(lease.parts)), "creation_time": _millis(lease)}
        return json_response(request, body)

    async def close_points_there(request: Request) -> Response:
        body = await _body(request, requests.COMMON)
        names = _names(body.get("pit_id"), "pit_id")
        found = reads.leases.release(names, scroll=False)
        answers = [{"successful": name in found, "pit_id": name} for name in names]
        return json_response(request, {"pits": answers}, 200 if found else 404)

    async def close_all_there(request: Request) -> Response:
        names = [lease.id for lease in reads.leases.all(scroll=False)]
        reads.leases.release(names, scroll=False)
        return json_response(request, {"pits": [{"successful": True, "pit_id": name} for name in names]})

    async def list_points(request: Request) -> Response:
        rows = [
            {
                "pit_id": lease.id,
                "creation_time": _millis(lease),
                "keep_alive": round(lease.keep_alive * 1000),
            }
            for lease in reads.leases.all(scroll=False)
        ]
        return json_response(request, {"pits": rows})

    both = ["GET", "POST"]
    there = "_search/point_in_time"
    return [
        Route("/_search/scroll", answered(scrolled), methods=both),
        Route("/_search/scroll", answered(clear), methods=["DELETE"]),
        Route("/_search/scroll/{scroll_id}", answered(scrolled), methods=both),
        Route("/_search/scroll/{scroll_id}", answered(clear), methods=["DELETE"]),
        Route(f"/{there}/_all", answered(list_points), methods=["GET"]),
        Route(f"/{there}/_all", answered(close_all_there), methods=["DELETE"]),
        Route(f"/{there}", answered(close_points_there), methods=["DELETE"]),
        Route("/_pit", answered(close_point), methods=["DELETE"]),
        Route("/{index}/_pit", answered(open_point), methods=["POST"]),
        Route(f"/{{index}}/{there}", answered(open_point_there), methods=["POST"]),
    ]


async def begin(
    reads: Reads, request: Request, wanted: SearchRequest, shown: Shown, started: float
) -> Response:
    """The first page of a scroll. Raises RequestError."""
    keep = seconds(request.query_params["scroll"], "scroll")
    if wanted.start or wanted.search_after is not None:
        requests.fail("a scroll begins at the first hit: [from] and [search_after] cannot be used in it")
    if wanted.collapse is not None:
        requests.fail("cannot use [collapse] in a scroll context")
    if not wanted.size:
        requests.fail("[size] cannot be [0] in a scroll context")
    parts = await reads.parts(request)
    if not wanted.sort:
        wanted, shown = replace(wanted, sort=(SortKey("_score", True),)), replace(shown, hide_sort=True)
    found = await reads.search(parts, wanted)
    lease = reads.leases.hold(
        parts, keep, request=replace(wanted, aggregations=None, count=False), shown=shown
    )
    lease.total = found.total
    _remember(lease, found)
    return await reads.page(request, parts, found, shown, started=started, _scroll_id=lease.id)


async def _next(reads: Reads, request: Request, lease: Lease, started: float) -> Response:
    assert lease.request is not None
    assert lease.shown is not None
    shown = lease.shown
    if "rest_total_hits_as_int" in request.query_params:
        as_int = requests.flag(request.query_params["rest_total_hits_as_int"], "rest_total_hits_as_int")
        shown = replace(shown, total_as_int=as_int)
    found = replace(await reads.search(lease.parts, lease.request), total=lease.total)
    _remember(lease, found)
    return await reads.page(request, lease.parts, found, shown, started=started, _scroll_id=lease.id)


def _remember(lease: Lease, found: Answered) -> None:
    """Where the next page begins."""
    if found.hits and lease.request is not None:
        lease.request = replace(lease.request, search_after=list(found.hits[-1].hit.sort))


async def at_point(
    reads: Reads, request: Request, pit: Any, wanted: SearchRequest, shown: Shown, started: float
) -> Response:
    """A search in a point in time. Raises RequestError."""
    if not isinstance(pit, Mapping) or not isinstance(pit.get("id"), str) or set(pit) - {"id", "keep_alive"}:
        requests.fail("[pit] is an object of [id] and [keep_alive]", "parsing_exception")
    if "index" in request.path_params:
        requests.fail(
            "[indices] cannot be used with point in time. Do not specify any index with point in time."
        )
    keep = pit.get("keep_alive")
    lease = reads.leases.find(
        pit["id"], None if keep is None else seconds(str(keep), "keep_alive"), scroll=False
    )
    found = await reads.search(lease.parts, wanted)
    return await reads.page(request, lease.parts, found, shown, started=started, pit_id=lease.id)


async def _open(reads: Reads, request: Request) -> Lease:
    await _body(request, PIT_PARAMETERS)
    keep = request.query_params.get("keep_alive")
    if keep is None:
        raise RequestError(
            400, "action_request_validation_exception", "Validation Failed: 1: [keep_alive] is not specified;"
        )
    return reads.leases.hold(await reads.parts(request), seconds(keep, "keep_alive"))


def _released(reads: Reads, request: Request, given: Any, *, scroll: bool) -> Response:
    names = _names(given, "scroll_id" if scroll else "id")
    if scroll and names == ["_all"]:
        names = [lease.id for lease in reads.leases.all(scroll=True)]
        freed = reads.leases.release(names, scroll=True)
        return json_response(request, {"succeeded": True, "num_freed": len(freed)})
    freed = reads.leases.release(names, scroll=scroll)
    return json_response(request, {"succeeded": True, "num_freed": len(freed)}, 200 if freed else 404)


def _names(given: Any, name: str) -> list[str]:
    found = given.split(",") if isinstance(given, str) else given
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        requests.fail(f"[{name}] is needed, a text or a list of them", "action_request_validation_exception")
    return found


def _text(body: Mapping[str, Any], request: Request, name: str) -> str:
    given = body.get(name, _in_url(request, name))
    if not isinstance(given, str) or not given:
        requests.fail(f"Validation Failed: 1: {name} is missing;", "action_request_validation_exception")
    return given


def _in_url(request: Request, name: str) -> str | None:
    found: str | None = request.path_params.get(name, request.query_params.get(name))
    return found


async def _body(request: Request, known: frozenset[str]) -> dict[str, Any]:
    requests.check_parameters(request, known)
    return await read_body(request)


def _millis(lease: Lease) -> int:
    return round(lease.created * 1000)
