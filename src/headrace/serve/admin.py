"""`/api/…`: what the ingester knows about its pipelines; the server only passes it on."""

from __future__ import annotations

from typing import Protocol

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


def routes(admin: Admin) -> list[BaseRoute]:
    async def pipelines(request: Request) -> Response:
        return json_response(request, {"pipelines": msgspec.to_builtins(admin.pipelines())})

    async def pipeline(request: Request) -> Response:
        name = request.path_params["name"]
        found = [status for status in admin.pipelines() if status.name == name]
        if not found:
            raise RequestError(404, "resource_not_found_exception", f"no pipeline is called {name!r}")
        return json_response(request, msgspec.to_builtins(found[0]))

    return [
        Route("/api/pipelines", pipelines, methods=["GET"]),
        Route("/api/pipelines/{name}", pipeline, methods=["GET"]),
    ]
