"""Writes to all that a query finds: `_delete_by_query`, `_update_by_query`, `_reindex`.

What is found is one commit's; each document is written under the condition that it is still what was found,
through the same log as every other write (PROTOCOL 21).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.serve.byquery import options
from headrace.serve.byquery.copies import copy
from headrace.serve.byquery.work import Work
from headrace.serve.push import Push
from headrace.serve.reads import Reads
from headrace.serve.responses import answered


def routes(reads: Reads, push: Push) -> list[BaseRoute]:
    """The caller mounts them, at the root and elsewhere."""

    async def delete(request: Request) -> Response:
        asked = options.parse(request, await options.body_of(request), options.DELETE)
        return await Work(reads, push, request, asked).run("d")

    async def update(request: Request) -> Response:
        asked = options.parse(request, await options.body_of(request), options.UPDATE)
        return await Work(reads, push, request, asked).run("u")

    async def reindex(request: Request) -> Response:
        return await copy(reads, push, request)

    return [
        Route("/{index}/_delete_by_query", answered(delete), methods=["POST"]),
        Route("/{index}/_update_by_query", answered(update), methods=["POST"]),
        Route("/_reindex", answered(reindex), methods=["POST"]),
    ]
