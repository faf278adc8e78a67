"""What log shippers ask before their first write, answered so that they start as they come.

What would change documents (an ingest pipeline) is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.serve import requests
from headrace.serve.manage.base import PARAMETERS, Surroundings, unsupported
from headrace.serve.responses import answered, json_response

Answering = Callable[[Request], Awaitable[Response]]

LICENSE: Final = {"uid": "headrace", "type": "basic", "mode": "basic", "status": "active"}
"""Shippers send nothing to a node whose license is not active."""

OFF: Final = {"available": False, "enabled": False}

SETUP: Final = PARAMETERS | {
    "create",
    "order",
    "cause",
    "accept_enterprise",
    "categories",
    "include_type_name",
}


def routes(around: Surroundings) -> list[BaseRoute]:
    del around

    async def license_(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        return json_response(request, {"license": LICENSE})

    async def features(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        body = {"license": LICENSE, "features": {"ilm": OFF, "security": OFF}, "tagline": "You know, for X"}
        return json_response(request, body)

    async def pipeline(request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return json_response(request, {}, 404 if "name" in request.path_params else 200)
        raise unsupported(
            "an ingest pipeline", "declare the steps as `transform` of a pipeline in the configuration"
        )

    return [
        Route("/_license", answered(license_), methods=["GET"]),
        Route("/_xpack", answered(features), methods=["GET"]),
        Route("/_ingest/pipeline", answered(pipeline), methods=["GET"]),
        Route("/_ingest/pipeline/{name}", answered(pipeline), methods=["GET", "PUT", "DELETE"]),
    ]
