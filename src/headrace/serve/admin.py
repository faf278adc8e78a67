"""`/api/…`: what the ingester knows about its pipelines; the server only passes it on."""

from __future__ import annotations

from typing import Protocol

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.core.watch import BreakerStatus
from headrace.model import Ledger, Position
from headrace.serve.breakers import Breakers
from headrace.serve.flags import FlagSource
from headrace.serve.responses import json_response


class PartitionStatus(msgspec.Struct, frozen=True):
    """How far one partition is: `position` is durable, `ledger` counts what became of its records."""

    partition: str
    position: Position
    ledger: Ledger


class PipelineStatus(msgspec.Struct, frozen=True):
    """One pipeline as `GET /api/pipelines` shows it; `since` is unix time, `lag` in bytes where known."""

    name: str
    index: str
    state: str
    reason: str
    since: float
    restarts: int
    channel_fill: float
    lag: int | None
    dead_letters: int
    ledger: Ledger
    partitions: list[PartitionStatus]
    breakers: list[BreakerStatus]


class Admin(Breakers, FlagSource, Protocol):
    def pipelines(self) -> list[PipelineStatus]: ...

    def purge(self, pipeline: str, reason: str | None) -> int:
        """Delete a pipeline's dead letters for good; how many."""
        ...


def routes(admin: Admin) -> list[BaseRoute]:
    async def pipelines(request: Request) -> Response:
        return json_response(request, {"pipelines": msgspec.to_builtins(admin.pipelines())})

    async def pipeline(request: Request) -> Response:
        return json_response(request, msgspec.to_builtins(status_of(request)))

    async def purge(request: Request) -> Response:
        name, reason = status_of(request).name, request.query_params.get("reason")
        purged = await anyio.to_thread.run_sync(admin.purge, name, reason)
        return json_response(request, {"purged": purged})

    def status_of(request: Request) -> PipelineStatus:
        name = request.path_params["name"]
        found = [status for status in admin.pipelines() if status.name == name]
        if not found:
            raise RequestError(404, "resource_not_found_exception", f"no pipeline is called {name!r}")
        return found[0]

    return [
        Route("/api/pipelines", pipelines, methods=["GET"]),
        Route("/api/pipelines/{name}", pipeline, methods=["GET"]),
        Route("/api/pipelines/{name}/dead-letters", purge, methods=["DELETE"]),
    ]
