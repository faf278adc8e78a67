"""`/api/breakers`: how each dependency's breaker is, and an operator's hand on it."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.breaker import Force
from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.core.watch import BreakerStatus
from headrace.serve.bodies import read_body
from headrace.serve.responses import json_response


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `POST /api/breakers/{name}` takes; null lets the breaker decide again, starting from closed."""

    force: Literal["open", "closed"] | None


class Breakers(Protocol):
    def breakers(self) -> list[BreakerStatus]:
        """All of them, by name."""
        ...

    def force_breaker(self, name: str, state: Force | None) -> BreakerStatus | None:
        """The new state; None where nothing has that name."""
        ...


def routes(source: Breakers) -> list[BaseRoute]:
    async def every(request: Request) -> Response:
        return json_response(request, {"breakers": msgspec.to_builtins(source.breakers())})

    async def one(request: Request) -> Response:
        name = request.path_params["name"]
        found = [status for status in source.breakers() if status.name == name]
        if not found:
            raise _unknown(name)
        return json_response(request, msgspec.to_builtins(found[0]))

    async def force(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            command = msgspec.convert(await read_body(request), Command)
        except msgspec.ValidationError as error:
            reason = f'the body must be {{"force": "open"}}, "closed" or null: {error}'
            raise RequestError(400, "illegal_argument_exception", reason) from None
        status = source.force_breaker(name, command.force)
        if status is None:
            raise _unknown(name)
        return json_response(request, msgspec.to_builtins(status))

    def _unknown(name: str) -> RequestError:
        have = suggest(name, [status.name for status in source.breakers()])
        return RequestError(404, "resource_not_found_exception", f"no breaker is called {name!r}, {have}")

    return [
        Route("/api/breakers", every, methods=["GET"]),
        Route("/api/breakers/{name}", one, methods=["GET"]),
        Route("/api/breakers/{name}", force, methods=["POST"]),
    ]
