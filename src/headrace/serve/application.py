"""What every application of ours has: errors in one shape, and each request timed under its route."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.core import telemetry
from headrace.core.errors import HeadraceError, RequestError
from headrace.core.metrics import Metrics
from headrace.serve.doors.spelling import Spelled
from headrace.serve.responses import error_response

PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: traced only where the asker traces."""


def application(
    routes: Sequence[BaseRoute], metrics: Metrics, *, inner: Sequence[Middleware] = ()
) -> Starlette:
    """The routes with all of it; `inner` is measured too, and stands before the routes."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(Observed, routes=routes, metrics=metrics), *inner, Middleware(Spelled)],
        exception_handlers={
            HeadraceError: _answer_error,
            Exception: _answer_error,
            404: _not_found,
            405: _not_found,
        },
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    accept = request.headers.get("accept", "")
    if isinstance(error, HeadraceError):
        return error_response(error, accept=accept)
    # The traceback is in the log (the server writes it); a stranger is told no more than that.
    return error_response(
        RequestError(500, "internal_error", f"{type(error).__name__}, see the log"), accept=accept
    )


async def _not_found(request: Request, _: Exception) -> Response:
    reason = f"no handler found for uri [{request.url.path}] and method [{request.method}]"
    error = RequestError(400, "illegal_argument_exception", reason)
    return error_response(error, accept=request.headers.get("accept", ""))


class Observed:
    """Times every request under its route (never its path: labels are bounded), and traces it if asked to."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], metrics: Metrics) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif telemetry.is_on():
            await self._traced(scope, receive, send)
        else:
            await self._timed(scope, receive, send)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route(scope)
        if route in PROBES and not any(name == b"traceparent" for name, _ in scope["headers"]):
            await self._timed(scope, receive, send)
            return
        with telemetry.request_span(scope["method"], route, scope["headers"]) as answered:
            answered(await self._timed(scope, receive, send))

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer; the status of the answer."""
        started = time.perf_counter()
        status = 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            labels = {"route": self._route(scope), "method": scope["method"], "code": str(status)}
            self._metrics.http_seconds.labels(**labels).observe(time.perf_counter() - started)
        return status

    def _route(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return getattr(route, "path", "other")
        return "other"
