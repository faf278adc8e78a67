"""`/health/live`, `/health/ready` and `/metrics`: whether the service works, with reasons, and how much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from headrace.core.health import State
from headrace.model import Json
from headrace.serve.responses import json_response


class HealthSource(Protocol):
    """What the routes ask of the process they run in."""

    async def readiness(self) -> tuple[State, Json]:
        """The overall state, and what `/health/ready` answers with."""
        ...

    async def metrics(self) -> bytes:
        """A page in Prometheus's text format."""
        ...


def routes(source: HealthSource) -> list[BaseRoute]:
    async def live(request: Request) -> Response:
        return json_response(request, {"status": "alive"})

    async def ready(request: Request) -> Response:
        state, body = await source.readiness()
        return json_response(request, body, status=200 if state.serves else 503)

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(
            await source.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    pages: Mapping[str, Callable[[Request], Awaitable[Response]]] = {
        "/health/live": live,
        "/health/ready": ready,
        "/metrics": metrics,
    }
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in pages.items()]
