"""One request and its answer: signed, paced, bounded in time and size, redirected only where allowed.

The client library is imported here, when the source opens.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import anyio
import msgspec

from headrace import __version__
from headrace.core.clock import Clock
from headrace.core.errors import Fatal, TimedOut
from headrace.core.log import event
from headrace.ingest.http_pull.auth import credentials
from headrace.ingest.http_pull.options import Settings
from headrace.ingest.http_pull.trouble import EXCERPT, of_status, of_transport
from headrace.units import human

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS: Final = 5

NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: parameters are added to those in the URL; `body` is sent as JSON."""

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. Header names are in lower case; `url` is where it came from, redirects followed."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


class Exchange:
    """Asks the API. Only the origin of `url` is told who we are."""

    def __init__(self, settings: Settings, base: Path, clock: Clock) -> None:
        self._settings = settings
        self._base = base
        self._clock = clock
        self._client: httpx2.AsyncClient | None = None
        self._home = ""
        self._allowed: frozenset[str] = frozenset()
        self._credentials = credentials(settings.auth, self._post, clock)
        self._next_turn = 0.0

    def open(self) -> None:
        """Make the client; nothing is asked yet. Raises Fatal where a certificate file cannot be read."""
        import httpx2

        self._home = origin(self._settings.url)
        self._allowed = frozenset({self._home, *map(origin, self._settings.allow_redirects_to)})
        self._client = httpx2.AsyncClient(
            verify=self._trust() if self._encrypted() else False,
            timeout=None,
            headers={"user-agent": f"headrace/{__version__}", "accept": "application/json, */*;q=0.5"},
            limits=httpx2.Limits(max_connections=self._settings.concurrency + 1),
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ask(self, ask: Ask, conditions: Mapping[str, str]) -> Answer:
        """The answer, a success or 304. A 401 gets new credentials once. Raises Retryable, Fatal."""
        answer, sent = await self._signed(ask, conditions)
        if answer.status == 401 and await self._credentials.refused(sent):
            answer, _ = await self._signed(ask, conditions)
        if 200 <= answer.status < 300 or answer.status == NOT_MODIFIED:
            return answer
        raise of_status(answer.status, answer.headers, answer.body, shown(answer.url), self._clock.time())

    async def _signed(self, ask: Ask, conditions: Mapping[str, str]) -> tuple[Answer, dict[str, str]]:
        """Ask, and follow redirects; with the headers that were sent first."""
        method, url = self._settings.method, ask.url
        params, body = dict(ask.params), ask.body
        first: dict[str, str] | None = None
        for _ in range(MOST_REDIRECTS + 1):
            self._check_allowed(url)
            await self._pace()  # before signing: a token may end while we wait
            headers = dict(conditions)
            if origin(url) == self._home:
                headers |= {name.lower(): value for name, value in self._settings.headers.items()}
                await self._credentials.sign(headers, params)
            content = None if body is None else msgspec.json.encode(body)
            if content is not None:
                headers["content-type"] = "application/json"
            first = headers if first is None else first
            answer = await self._send(method, url, params, headers, content)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer, first
            url, params = joined(answer.url, answer.headers["location"]), {}
            if answer.status in {301, 302, 303} and method == "POST":  # as every browser does
                method, body = "GET", None
        raise Fatal(f"{shown(ask.url)}: redirected more than {MOST_REDIRECTS} times")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        return await self._send("POST", url, {}, headers, body)

    async def _send(
        self, method: str, url: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        import httpx2

        if self._client is None:
            raise Fatal("source http_pull is not open")
        where = shown(url)
        try:
            request = self._client.build_request(
                method, httpx2.URL(url).copy_merge_params(params), headers=headers, content=body
            )
        except (ValueError, httpx2.InvalidURL) as error:  # a header that is not ASCII, say
            raise Fatal(f"{where}: cannot be asked: {error}") from None
        try:
            with anyio.fail_after(self._settings.timeout):
                response = await self._client.send(request, stream=True)
                try:
                    content = await self._content(response, where)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise TimedOut(f"{where}: no whole answer within {self._settings.timeout}") from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise of_transport(error, where) from error
        return Answer(str(request.url), response.status_code, dict(response.headers.items()), content)

    async def _content(self, response: httpx2.Response, where: str) -> bytes:
        """The whole body, decompressed. Raises Fatal as soon as it is too large."""
        limit = self._settings.max_body
        pieces, size = [], 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > limit:
                raise Fatal(
                    f"{where}: the body is larger than `max_body` ({human(limit)}): "
                    "ask for smaller pages, or raise it"
                )
            pieces.append(piece)
        return b"".join(pieces)

    async def _pace(self) -> None:
        """Wait for this request's turn, where there is a rate limit."""
        if self._settings.rate_limit is None:
            return
        now = self._clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + 1 / self._settings.rate_limit
        if turn > now:
            await self._clock.sleep(turn - now)

    def _check_allowed(self, url: str) -> None:
        if origin(url) not in self._allowed:
            raise Fatal(
                f"{self._home} leads to {origin(url)}, which is refused: if that is right, put it into "
                "`allow_redirects_to` (it is sent no credentials), or into `url`"
            )

    def _encrypted(self) -> bool:
        token = self._settings.auth.token_url if self._settings.auth else None
        return any(url.startswith("https:") for url in (*self._allowed, token or ""))

    def _trust(self) -> ssl.SSLContext:
        tls = self._settings.tls
        file = None if tls.ca_file is None else self._base / tls.ca_file.expanduser()
        try:
            context = ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise Fatal(f"tls.ca_file {file}: cannot be used: {error}") from error
        if not tls.verify:
            event(log.warning, "http_pull.certificates_unchecked", origin=self._home)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def origin(url: str) -> str:
    """Scheme, host and port (RFC 6454), as the client itself reads them: two readings could differ.

    The port is left out where it is the scheme's own; what is no URL is its own origin, and allowed nowhere.
    """
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        return url
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    port = parsed.port if parsed.port != {"http": 80, "https": 443}.get(parsed.scheme) else None
    return f"{parsed.scheme}://{host}" + (f":{port}" if port is not None else "")


def joined(base: str, target: str) -> str:
    """A URL that an answer gave, made absolute. Raises Fatal where it is none."""
    try:
        return urljoin(base, target)
    except ValueError:
        raise Fatal(f"{shown(base)}: leads to {target[:EXCERPT]!r}, which is not a URL") from None


def shown(url: str) -> str:
    """A URL for messages: without its query, which may hold a key, and without a name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
