"""`/api/buffer`: what waits in the durable buffer, who holds it, and how to let go of a subscriber."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.buffer.status import BufferStatus
from headrace.core.errors import RequestError
from headrace.serve.belonging import Belonging
from headrace.serve.doors.principal import bound
from headrace.serve.responses import json_response


class Buffered(Protocol):
    """The buffer as an operator sees it."""

    def status(self) -> BufferStatus: ...

    def release(self, subscriber: str) -> None:
        """End a subscription: what only it held is released."""
        ...


def held_by(buffer: Buffered, belonging: Belonging) -> dict[str, Any]:
    """For `GET /api/pipelines`: who keeps the oldest file of the buffer from being released (PROTOCOL 14)."""
    return {"buffer": {"holder": msgspec.to_builtins(_seen(buffer.status(), belonging).holder)}}


def routes(buffer: Buffered, belonging: Belonging) -> list[BaseRoute]:
    async def shown(request: Request) -> Response:
        return json_response(request, msgspec.to_builtins(_seen(buffer.status(), belonging)))

    async def released(request: Request) -> Response:
        name = request.path_params["name"]
        belonging.check_subscriber(name)
        if not any(name in log.positions for log in buffer.status().logs.values()):
            reason = f"no subscriber is called {name!r}; GET /api/buffer lists them"
            raise RequestError(404, "resource_not_found_exception", reason)
        buffer.release(name)
        return json_response(request, {"released": name})

    return [
        Route("/api/buffer", shown, methods=["GET"]),
        Route("/api/buffer/subscribers/{name:path}", released, methods=["DELETE"]),
    ]


def _seen(status: BufferStatus, belonging: Belonging) -> BufferStatus:
    """What whoever asks may see: the logs and subscribers of its own indexes, and the sizes of the whole."""
    if bound() is None:
        return status
    logs = {}
    for name, log in status.logs.items():
        mine = {each: at for each, at in log.positions.items() if belonging.shows_subscriber(each)}
        if mine:
            logs[name] = replace(log, positions=mine)
    holder = status.holder
    if holder is not None and not belonging.shows_subscriber(holder.subscriber):
        holder = None
    missing = [each for each in status.missing if each.log in logs]
    return replace(status, logs=logs, holder=holder, missing=missing)
