"""Who we are, put into each request: basic, bearer, API key, or an OAuth2 token that is renewed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol
from urllib.parse import quote_plus, urlencode

import anyio
import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import Fatal, Retryable
from headrace.ingest.http_pull.options import Auth
from headrace.ingest.http_pull.trouble import excerpt, of_status
from headrace.units import Secret

EARLY: Final = 30.0
"""Seconds before its end that a token is renewed: a request may take as long."""


class Reply(Protocol):
    """What is needed of an answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes: ...


Post = Callable[[str, dict[str, str], bytes], Awaitable[Reply]]
"""POST to a URL, with these headers and this body."""


class Credentials(Protocol):
    async def sign(self, headers: dict[str, str], params: dict[str, str]) -> None:
        """Add what proves who we are."""

    async def refused(self, headers: dict[str, str]) -> bool:
        """A request with these headers was answered 401: is it worth another try?"""


class Fixed:
    """The same in each request."""

    def __init__(self, headers: dict[str, Secret], params: dict[str, Secret]) -> None:
        self._headers = headers
        self._params = params

    async def sign(self, headers: dict[str, str], params: dict[str, str]) -> None:
        headers |= {name: value.reveal() for name, value in self._headers.items()}
        params |= {name: value.reveal() for name, value in self._params.items()}

    async def refused(self, headers: dict[str, str]) -> bool:  # noqa: ARG002  another try would say the same
        return False


class ClientCredentials:
    """RFC 6749 §4.4: a token for client id and secret, renewed shortly before it ends and when refused."""

    def __init__(self, auth: Auth, post: Post, clock: Clock) -> None:
        self._auth = auth
        self._post = post
        self._clock = clock
        self._token: Secret | None = None
        self._until = 0.0
        # Partitions are read at once, and a token endpoint may end the last token with each new one.
        self._one_at_a_time = anyio.Lock()

    async def sign(self, headers: dict[str, str], params: dict[str, str]) -> None:  # noqa: ARG002
        async with self._one_at_a_time:
            if self._token is None or self._clock.monotonic() >= self._until:
                await self._renew()
            assert self._token is not None
            headers["authorization"] = f"Bearer {self._token.reveal()}"

    async def refused(self, headers: dict[str, str]) -> bool:
        """The token is thrown away, unless another request has replaced it meanwhile."""
        async with self._one_at_a_time:
            if self._token is not None and headers.get("authorization") == f"Bearer {self._token.reveal()}":
                self._token = None
        return True

    async def _renew(self) -> None:
        auth = self._auth
        assert auth.token_url is not None
        assert auth.client_id is not None
        assert auth.client_secret is not None
        form = {"grant_type": "client_credentials", **({"scope": auth.scope} if auth.scope else {})}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if auth.send == "body":
            form |= {"client_id": auth.client_id, "client_secret": auth.client_secret.reveal()}
        else:  # RFC 6749 §2.3.1: encoded as a form before they are joined
            headers["authorization"] = basic(
                quote_plus(auth.client_id), quote_plus(auth.client_secret.reveal())
            )
        reply = await self._post(auth.token_url, headers, urlencode(form).encode())
        token, lasts = self._read(reply, auth.token_url)
        self._token = Secret(token)
        self._until = self._clock.monotonic() + max(0.0, lasts - EARLY)

    def _read(self, reply: Reply, url: str) -> tuple[str, float]:
        where = f"token endpoint {url}"
        if reply.status in {400, 401, 403}:
            raise Fatal(
                f"{where}: no token for this client id and secret: {reply.status}{excerpt(reply.body)}"
            )
        if not 200 <= reply.status < 300:
            raise of_status(reply.status, reply.headers, reply.body, where, self._clock.time())
        try:
            found: Any = msgspec.json.decode(reply.body)
        except msgspec.DecodeError as error:
            raise Retryable(f"{where}: answered what is not JSON: {error}") from None
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token.strip():
            raise Fatal(f"{where}: answered {reply.status} without an `access_token`")
        return token, _seconds(found.get("expires_in"))


def credentials(auth: Auth | None, post: Post, clock: Clock) -> Credentials:
    """What the options say."""
    if auth is None:
        return Fixed({}, {})
    if auth.type == "oauth2":
        return ClientCredentials(auth, post, clock)
    if auth.type == "basic":
        assert auth.username is not None
        assert auth.password is not None
        return Fixed({"authorization": Secret(basic(auth.username, auth.password.reveal()))}, {})
    if auth.type == "bearer":
        assert auth.token is not None
        return Fixed({"authorization": Secret(f"Bearer {auth.token.reveal()}")}, {})
    assert auth.name is not None
    assert auth.key is not None
    if auth.place == "query":
        return Fixed({}, {auth.name: auth.key})
    return Fixed({auth.name.lower(): auth.key}, {})


def basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def _seconds(given: object) -> float:
    """How long a token lasts; an hour where that is not said, and a 401 tells us if it is less."""
    try:
        return float(str(given))
    except ValueError:
        return 3600.0
