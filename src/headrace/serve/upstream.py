"""The server's line to the ingester: a Unix socket, over which `/api/…`, health and metrics are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core import telemetry
from headrace.core.errors import RequestError, Retryable
from headrace.model import Json
from headrace.serve.http import reachable
from headrace.serve.responses import json_response

if TYPE_CHECKING:
    import httpx2

OK: Final = 200
TIMEOUT_SECONDS = 2.0
"""The ingester answers from memory, in milliseconds; who asks for readiness does not want to wait."""


class Upstream:
    """Asks the ingester; knows since when it has been away."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._client: httpx2.AsyncClient | None = None
        self.away_since: float | None = time.time()
        self.seen = False
        self._beside: Mapping[str, Callable[[], Mapping[str, Any]]] = {}

    def routes(self, beside: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None) -> list[BaseRoute]:
        """`beside`: by path, what the server itself adds to the ingester's answer to a GET."""
        self._beside = beside or {}
        return [Route("/api/{path:path}", self._forward, methods=["GET", "POST", "PUT", "DELETE"])]

    async def get(self, path: str) -> bytes:
        """The body of a page of the ingester's. Raises Retryable when it does not answer."""
        return (await self._ask("GET", path)).content

    async def readiness(self) -> Json:
        """What the ingester says of itself."""
        answer: Json = msgspec.json.decode(await self.get("/health/ready"))
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def post(self, path: str, body: bytes, within: float) -> tuple[int, bytes]:
        """Status and body of an answer that may take `within` seconds. Raises Retryable without one."""
        answer = await self._ask("POST", path, body, within)
        return answer.status_code, answer.content

    async def _ask(
        self, method: str, path: str, body: bytes = b"", within: float = TIMEOUT_SECONDS
    ) -> httpx2.Response:
        import httpx2

        if self._client is None:
            transport = httpx2.AsyncHTTPTransport(uds=reachable(self._socket))
            self._client = httpx2.AsyncClient(transport=transport, base_url="http://ingester")
        try:
            answer = await self._client.request(
                method, path, content=body, headers=telemetry.headers(), timeout=within
            )
        except (httpx2.TransportError, OSError) as error:
            self.away_since = self.away_since or time.time()
            raise Retryable(f"the ingester does not answer on {self._socket}: {error}") from error
        self.away_since, self.seen = None, True
        return answer

    async def _forward(self, request: Request) -> Response:
        # As it came: what is escaped in a path would mean something else undone.
        path = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"]:
            path += f"?{query.decode('latin-1')}"
        try:
            answer = await self._ask(request.method, path, await request.body())
        except Retryable as error:
            since = self.away_since or time.time()
            reason = f"the ingester has been away for {time.time() - since:.0f} s: {error}"
            raise RequestError(503, "ingester_unavailable", reason) from error
        added = self._beside.get(request.url.path) if request.method == "GET" else None
        if added is not None and answer.status_code == OK:
            return json_response(request, {**msgspec.json.decode(answer.content), **added()})
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))
