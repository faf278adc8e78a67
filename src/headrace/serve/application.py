"""What every application of ours has: errors in one shape, and each request timed under its route."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import quote

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
from headrace.serve.responses import error_answer
from headrace.serve.unrouted import unrouted

PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: traced only where the asker traces."""

FOLDERS = frozenset({"/ui", "/es"})
"""The only paths whose name ends with a slash."""


def application(
    routes: Sequence[BaseRoute], metrics: Metrics, *, inner: Sequence[Middleware] = ()
) -> Starlette:
    """The routes with all of it; `inner` is measured too, and stands before the routes."""
    without_route = unrouted(routes)
    made = Starlette(
        routes=routes,
        middleware=[
            Middleware(Trimmed),
            Middleware(Observed, routes=routes, metrics=metrics),
            *inner,
            Middleware(Spelled),
        ],
        exception_handlers={
            HeadraceError: _answer_error,
            Exception: _answer_error,
            404: without_route,
            405: without_route,
        },
    )
    made.router.redirect_slashes = False
    return made


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HeadraceError):
        return error_answer(request, error)
    # The traceback is in the log (the server writes it); a stranger is told no more than that.
    reason = f"{type(error).__name__}, see the log"
    return error_answer(request, RequestError(500, "internal_error", reason))


class Trimmed:
    """Takes a path with slashes at its end as the path without, as Elasticsearch does; before all else.

    A redirect would lead where the client's Host header says, and shippers do not follow one with a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = _trimmed(scope)
        await self._app(scope, receive, send)


def _trimmed(scope: Scope) -> Scope:
    """Only slashes that came as such: one that is escaped belongs to an id."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    plain = raw.rstrip(b"/")
    if plain == raw and scope["path"] not in FOLDERS:
        return scope
    path = scope["path"][: len(scope["path"]) - (len(raw) - len(plain))]
    if path in FOLDERS or not path:
        path, plain = f"{path}/", plain + b"/"
    return {**scope, "path": path, "raw_path": plain}


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
