"""Requests that no route takes: of an unknown path, and of a known one with another method.

The first is a 400 to Elasticsearch, the second a 405 with the methods that there are; OPTIONS is told those.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from headrace.core.errors import RequestError
from headrace.serve.responses import PRODUCT, error_answer, plain_error


def unrouted(routes: Sequence[BaseRoute]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The answer to a request that none of the routes takes."""

    async def answer(request: Request, _: Exception) -> Response:
        path, method = request.url.path, request.method
        allowed = sorted(methods_of(routes, request.scope["path"]))
        if not allowed:
            reason = f"no handler found for uri [{path}] and method [{method}]"
            return error_answer(request, RequestError(400, "illegal_argument_exception", reason))
        headers = {"Allow": ",".join(allowed)}
        if method == "OPTIONS":
            return Response(headers={**PRODUCT, **headers}, media_type="text/plain")
        listed = ", ".join(allowed)
        reason = f"Incorrect HTTP method for uri [{path}] and method [{method}], allowed: [{listed}]"
        return plain_error(request, reason, 405, headers)

    return answer


def methods_of(routes: Iterable[BaseRoute], path: str) -> set[str]:
    """The methods that a path can be asked with; none of a path that there is not."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Mount) and path.startswith(f"{route.path}/"):
            return methods_of(route.routes, path[len(route.path) :])
        if isinstance(route, Route) and route.path_regex.match(path):
            found |= route.methods or set()
    return found
