"""The server's line to the ingester: a Unix socket, over which `/api/…`, health and metrics are asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from headrace.core import telemetry
from headrace.core.errors import Retryable
from headrace.model import Json
from headrace.serve.http import reachable

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

    async def get(self, path: str) -> bytes:
        """The body of a page of the ingester's. Raises Retryable when it does not answer."""
        return (await self.ask("GET", path)).content

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
        answer = await self.ask("POST", path, body, within)
        return answer.status_code, answer.content

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        within: float = TIMEOUT_SECONDS,
        parameters: Sequence[tuple[str, str]] = (),
    ) -> httpx2.Response:
        """Raises Retryable without an answer. The path is the server's own, never a client's."""
        import httpx2

        if self._client is None:
            transport = httpx2.AsyncHTTPTransport(uds=reachable(self._socket))
            self._client = httpx2.AsyncClient(transport=transport, base_url="http://ingester")
        try:
            answer = await self._client.request(
                method,
                path,
                content=body,
                params=list(parameters),
                headers=telemetry.headers(),
                timeout=within,
            )
        except (httpx2.TransportError, OSError) as error:
            self.away_since = self.away_since or time.time()
            raise Retryable(f"the ingester does not answer on {self._socket}: {error}") from error
        self.away_since, self.seen = None, True
        return answer
