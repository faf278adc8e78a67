"""`/api/buffer`: what waits in the durable buffer, who holds it, and how to let go of a subscriber."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.buffer.status import BufferStatus
from headrace.core.errors import RequestError
from headrace.serve.responses import json_response


class Buffered(Protocol):
    """The buffer as an operator sees it."""

    def status(self) -> BufferStatus: ...

    def release(self, subscriber: str) -> None:
        """End a subscription: what only it held is released."""
        ...


def held_by(buffer: Buffered) -> dict[str, Any]:
    """For `GET /api/pipelines`: who keeps the oldest file of the buffer from being released (PROTOCOL 14)."""
    return {"buffer": {"holder": msgspec.to_builtins(buffer.status().holder)}}


def routes(buffer: Buffered) -> list[BaseRoute]:
    async def shown(request: Request) -> Response:
        return json_response(request, msgspec.to_builtins(buffer.status()))

    async def released(request: Request) -> Response:
        name = request.path_params["name"]
        if not any(name in log.positions for log in buffer.status().logs.values()):
            reason = f"no subscriber is called {name!r}; GET /api/buffer lists them"
            raise RequestError(404, "resource_not_found_exception", reason)
        buffer.release(name)
        return json_response(request, {"released": name})

    return [
        Route("/api/buffer", shown, methods=["GET"]),
        Route("/api/buffer/subscribers/{name:path}", released, methods=["DELETE"]),
    ]
