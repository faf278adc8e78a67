"""`_bulk`: many writes in one request, the API that every shipper and client of Elasticsearch uses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.serve.bulk.request import bulk
from headrace.serve.push import Push
from headrace.serve.responses import answered

__all__ = ["routes"]


def routes(push: Push) -> list[BaseRoute]:
    """The routes of bulk requests; the caller mounts them, at the root and elsewhere."""

    async def answer(request: Request) -> Response:
        return await bulk(push, request)

    both = ["POST", "PUT"]
    return [
        Route("/_bulk", answered(answer), methods=both),
        Route("/{index}/_bulk", answered(answer), methods=both),
    ]
