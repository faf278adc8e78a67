"""`/api/…` that only the ingester knows: each of its routes passed on by name, and nothing else.

The path is made anew from the parts that were matched, never taken as it came: what a client folds (`..`) or
escapes would lead to routes of the inner socket that are for the server alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError, Retryable
from headrace.serve import requests
from headrace.serve.belonging import Belonging
from headrace.serve.bodies import Body
from headrace.serve.doors.principal import allowed, bound
from headrace.serve.responses import answered, json_response
from headrace.serve.upstream import Upstream

OK: Final = 200
LARGEST_BODY: Final = 1 << 20
"""Bytes: what is taken are commands of a few words."""

Beside = Callable[[], Mapping[str, Any]]


def routes(upstream: Upstream, belonging: Belonging, beside: Beside) -> list[BaseRoute]:
    """`beside`: what the server itself adds to the list of pipelines."""

    def shown(body: dict[str, Any]) -> dict[str, Any]:
        return {
            **body,
            "pipelines": [each for each in body["pipelines"] if allowed(each["index"])],
            **beside(),
        }

    def known(body: dict[str, Any]) -> dict[str, Any]:
        mine = [each for each in body["breakers"] if belonging.shows_dependency(each["name"])]
        return {**body, "breakers": mine}

    async def pipelines(request: Request) -> Response:
        return _changed(request, await _asked(upstream, request, "/api/pipelines"), shown)

    async def pipeline(request: Request) -> Response:
        belonging.check_pipeline(request.path_params["name"])
        return await _asked(upstream, request, "/api/pipelines/{name}")

    async def purge(request: Request) -> Response:
        belonging.check_pipeline(request.path_params["name"])
        return await _asked(upstream, request, "/api/pipelines/{name}/dead-letters")

    async def breakers(request: Request) -> Response:
        answer = await _asked(upstream, request, "/api/breakers")
        return answer if bound() is None else _changed(request, answer, known)

    async def breaker(request: Request) -> Response:
        belonging.check_dependency(request.path_params["name"])
        return await _asked(upstream, request, "/api/breakers/{name}")

    async def flags(request: Request) -> Response:
        return await _asked(upstream, request, "/api/flags")

    return [
        Route("/api/pipelines", answered(pipelines), methods=["GET"]),
        Route("/api/pipelines/{name}", answered(pipeline), methods=["GET"]),
        Route("/api/pipelines/{name}/dead-letters", answered(purge), methods=["DELETE"]),
        Route("/api/breakers", answered(breakers), methods=["GET"]),
        Route("/api/breakers/{name}", answered(breaker), methods=["GET", "POST"]),
        Route("/api/flags", answered(flags), methods=["GET"]),
    ]


async def _asked(upstream: Upstream, request: Request, template: str) -> Response:
    """The ingester's answer. Raises RequestError 503 where it is away."""
    path = template.format_map({name: _part(given) for name, given in request.path_params.items()})
    body = await Body(request, LARGEST_BODY).whole()
    method = "GET" if request.method == "HEAD" else request.method
    try:
        answer = await upstream.ask(method, path, body, parameters=request.query_params.multi_items())
    except Retryable as error:
        since = upstream.away_since or time.time()
        reason = f"the ingester has been away for {time.time() - since:.0f} s: {error}"
        raise RequestError(503, "ingester_unavailable", reason) from error
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))


def _part(given: str) -> str:
    """One part of a path, escaped. Raises RequestError 400 for those that mean another folder."""
    if given in (".", ".."):
        requests.fail(f"[{given}] is no name")
    return quote(given, safe="")


def _changed(
    request: Request, answer: Response, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Response:
    if answer.status_code != OK:
        return answer
    return json_response(request, change(msgspec.json.decode(answer.body)))
