"""`_refresh`: commit through all that was accepted when it arrived, then search sees it (PROTOCOL 21)."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, selected, unsupported, warning
from headrace.serve.names import Applier, Target
from headrace.serve.responses import answered, json_response

FLUSH = PARAMETERS | {"force", "wait_if_ongoing"}
MERGE = PARAMETERS | {"max_num_segments", "only_expunge_deletes", "flush", "wait_for_completion"}


def routes(around: Surroundings) -> list[BaseRoute]:
    async def refresh(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        names = selected(around, request)
        await refreshed(around, names)
        return _shards(request, len(names))

    async def flush(request: Request) -> Response:
        # A commit is on disk when it is made: to flush is to refresh.
        requests.check_parameters(request, FLUSH)
        names = selected(around, request)
        await refreshed(around, names)
        return _shards(request, len(names))

    async def merge(request: Request) -> Response:
        requests.check_parameters(request, MERGE)
        told = "nothing was merged: the engine merges its segments by itself as they grow"
        return _shards(request, len(selected(around, request)), [told])

    async def opened(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        selected(around, request)
        return json_response(request, {"acknowledged": True, "shards_acknowledged": True})

    async def closed(_: Request) -> Response:
        raise unsupported("closing an index", "one that is not used costs next to nothing, or DELETE it")

    both = ["GET", "POST"]
    found: list[BaseRoute] = []
    for prefix in ("", INDEX):
        found += [
            Route(f"{prefix}/_refresh", answered(refresh), methods=both),
            Route(f"{prefix}/_flush", answered(flush), methods=both),
            Route(f"{prefix}/_forcemerge", answered(merge), methods=["POST"]),
        ]
    return [
        *found,
        Route(f"{INDEX}/_open", answered(opened), methods=["POST"]),
        Route(f"{INDEX}/_close", answered(closed), methods=["POST"]),
    ]


async def refreshed(around: Surroundings, names: Sequence[str]) -> None:
    """Wait until all that these indexes were sent is searchable. Raises RequestError 503, 504."""
    applier = around.applier
    if applier is None:
        return
    waits = [
        (target, record)
        for name in names
        for target in around.indices.feeding(name)
        if (record := around.accepted(target.log)) > 0
    ]
    failures: list[RequestError] = []

    async def wait(applier: Applier, target: Target, record: int) -> None:
        try:
            await applier.wait(target, record, level="visible", force=True)
        except RequestError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for target, record in waits:
            group.start_soon(wait, applier, target, record)
    if failures:
        raise failures[0]


def _shards(request: Request, count: int, told: Sequence[str] = ()) -> Response:
    shards = {"total": count, "successful": count, "failed": 0}
    return json_response(request, {"_shards": shards}, headers=warning(told))
