"""What log shippers ask and set up before their first write, answered so that they start as they come.

Nothing is pretended: a template or a lifecycle policy is taken from those who insist on it, not kept, and the
answer says so as a warning; what would change documents (an ingest pipeline) is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, acknowledged, unsupported
from headrace.serve.resolving import missing
from headrace.serve.responses import JSON_TYPE, PRODUCT, json_response
from headrace.serve.search import answered

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

UNKEPT: Final = {
    "_index_template": "fields are found as they come, or declared by PUT /{index} with its mappings",
    "_component_template": "fields are found as they come, or declared by PUT /{index} with its mappings",
    "_template": "fields are found as they come, or declared by PUT /{index} with its mappings",
    "_ilm/policy": "the retention of an index is declared in the configuration",
}
LISTED: Final[dict[str, dict[str, Any]]] = {
    "_index_template": {"index_templates": []},
    "_component_template": {"component_templates": []},
}
"""What is answered where all are asked for, and there are none."""


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def license_(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        return json_response(request, {"license": LICENSE})

    async def features(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        body = {"license": LICENSE, "features": {"ilm": OFF, "security": OFF}, "tagline": "You know, for X"}
        return json_response(request, body)

    async def stream(request: Request) -> Response:
        requests.check_parameters(request, SETUP | {"verbose"})
        name = request.path_params["index"]
        if name not in indices.places():
            raise missing(name)
        body = {"name": name, "timestamp_field": {"name": "@timestamp"}, "generation": 1, "status": "GREEN"}
        return json_response(request, {"data_streams": [{**body, "indices": [{"index_name": name}]}]})

    async def make_stream(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        name = request.path_params["index"]
        target = indices.target(name) or await indices.create(name)
        return acknowledged(request, [f"[{target.index}] is an ordinary index, not a stream of several"])

    async def streams(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        return json_response(request, {"data_streams": []})

    async def pipeline(request: Request) -> Response:
        if request.method == "GET":
            return json_response(request, {}, 404 if "name" in request.path_params else 200)
        raise unsupported(
            "an ingest pipeline", "declare the steps as `transform` of a pipeline in the configuration"
        )

    found: list[BaseRoute] = [
        Route("/_license", answered(license_), methods=["GET"]),
        Route("/_xpack", answered(features), methods=["GET"]),
        Route("/_data_stream", answered(streams), methods=["GET"]),
        Route(f"/_data_stream{INDEX}", answered(stream), methods=["GET", "HEAD"]),
        Route(f"/_data_stream{INDEX}", answered(make_stream), methods=["PUT"]),
        Route("/_ingest/pipeline", answered(pipeline), methods=["GET"]),
        Route("/_ingest/pipeline/{name}", answered(pipeline), methods=["GET", "PUT", "DELETE"]),
    ]
    for kind in UNKEPT:
        found += _unkept(kind)
    return found


def _unkept(kind: str) -> list[BaseRoute]:
    """Routes of a kind of thing of which there is never one."""

    async def every(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        return json_response(request, LISTED.get(kind, {}))

    async def one(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        if request.method == "HEAD":
            return Response(status_code=404, headers={**PRODUCT, "Content-Type": JSON_TYPE})
        reason = f"{kind} [{request.path_params['name']}] not found: none are kept; {UNKEPT[kind]}"
        raise RequestError(404, "resource_not_found_exception", reason)

    async def put(request: Request) -> Response:
        requests.check_parameters(request, SETUP)
        await requests.read_body(request)
        return acknowledged(request, [f"{kind} [{request.path_params['name']}] is not kept: {UNKEPT[kind]}"])

    handlers: list[tuple[str, Answering, list[str]]] = [
        (f"/{kind}", every, ["GET"]),
        (f"/{kind}/{{name}}", one, ["GET", "HEAD", "DELETE"]),
        (f"/{kind}/{{name}}", put, ["PUT", "POST"]),
    ]
    return [Route(path, answered(handler), methods=methods) for path, handler, methods in handlers]
