"""The search page: three static files of ours, no build step, nothing from another host."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.serve.banner import ES_VERSION, banner
from headrace.serve.responses import PRODUCT, answered, error_answer

TYPES: Final = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(version: str = ES_VERSION) -> list[BaseRoute]:
    """`/` (the page for browsers, the banner for clients) and the page's files."""

    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return await _page(request)
        return await banner(request, version)

    return [
        Route("/", answered(root), methods=["GET", "HEAD"]),
        Route("/ui/", _page, methods=["GET", "HEAD"]),
        Route("/ui/{name}", _file, methods=["GET", "HEAD"]),
    ]


async def _page(_: Request) -> Response:
    return _static("page.html")


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in TYPES:
        error = RequestError(404, "resource_not_found_exception", f"no such page: {name}")
        return error_answer(request, error)
    return _static(name)


def _static(name: str) -> Response:
    headers = {
        **PRODUCT,
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "Vary": "Accept",
    }
    return Response(_content(name), headers=headers, media_type=TYPES[name])


@cache
def _content(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()
