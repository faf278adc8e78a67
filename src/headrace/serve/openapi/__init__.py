"""`/openapi.json`: everything that is served, described; made once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.serve.responses import PRODUCT

__all__ = ["routes"]


def routes(served: Callable[[], Sequence[BaseRoute]]) -> list[BaseRoute]:
    """The route of the document of all that is served beside it."""

    @cache
    def page() -> bytes:
        # Imported here: it costs a start nothing, and few ever ask.
        from headrace.serve.openapi.document import document

        return msgspec.json.encode(document(served()))

    async def shown(_: Request) -> Response:
        return Response(page(), headers=PRODUCT, media_type="application/json")

    return [Route("/openapi.json", shown, methods=["GET"])]
