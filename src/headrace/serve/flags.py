"""`GET /api/flags`: which flags there are, what each does where it is used, what is wrong with them."""

from __future__ import annotations

from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.flags import FlagsStatus
from headrace.serve.responses import json_response


class FlagSource(Protocol):
    def flags(self) -> FlagsStatus:
        """Every flag of the file and of the configuration; may read the file."""
        ...


def routes(source: FlagSource) -> list[BaseRoute]:
    async def every(request: Request) -> Response:
        return json_response(request, msgspec.to_builtins(source.flags()))

    return [Route("/api/flags", every, methods=["GET"])]
