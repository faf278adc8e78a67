"""The door: whose a request is, and whether there is room for it; before anything of it is read.

What needs no key passes as a principal without scopes and indexes, so that a route reached that way by
mistake still refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import RequestError
from headrace.index.query.bounds import CURRENT as BOUNDS
from headrace.index.query.bounds import HELD, Bounds, Held
from headrace.serve.doors.buckets import Buckets
from headrace.serve.doors.exposure import is_loopback
from headrace.serve.doors.keyring import Keyring
from headrace.serve.doors.principal import CURRENT, SECURITY, Principal
from headrace.serve.responses import error_body, error_response
from headrace.serve.threads import WITHIN
from headrace.settings import SearchLimits

PROBES: Final = frozenset({"/health/live", "/health/ready"})
STATIC: Final = frozenset({"/ui/", "/ui/page.html", "/ui/page.css", "/ui/page.js", "/ui/icon.svg"})
READING: Final = ("GET", "HEAD")

NOBODY: Final = Principal("none", frozenset(), ())
MONITOR: Final = Principal("loopback", frozenset({"monitor"}))
"""Of metrics alone."""

CHALLENGES: Final = ('Basic realm="headrace", charset="UTF-8"', "ApiKey", 'Bearer realm="headrace"')

BUSY_SECONDS: Final = 1


class Door:
    """What all requests of a server pass.

    rate: requests a second for each key, or for each address where no key is asked for
    most: requests under way at once; those of probes always pass
    search: what each search may cost
    """

    def __init__(
        self,
        keyring: Keyring | None = None,
        *,
        rate: float | None = None,
        most: int | None = None,
        search: SearchLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._keyring = keyring or Keyring()
        self._buckets = None if rate is None else Buckets(rate, clock or SystemClock())
        self._most = math.inf if most is None else most
        given = SearchLimits() if search is None else search
        bounds = Bounds(given.clauses, given.depth, given.terms, given.aggregations, given.buckets)
        # Those that hold anyway cost nothing.
        self._bounds = None if bounds == Bounds() else bounds
        self._memory = int(given.memory)
        self._within = None if given.time is None else float(given.time)
        self.inside = 0

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application behind this door."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            try:
                who = self.whose(scope)
            except RequestError as error:
                await refusal(error)(scope, receive, send)
                return
            self.inside += 1
            token = None if who is None else CURRENT.set(who)
            if self._bounds is not None:
                BOUNDS.set(self._bounds)
            WITHIN.set(self._within)
            HELD.set(Held(self._memory))
            try:
                await app(scope, receive, send)
            finally:
                self.inside -= 1
                if token is not None:
                    CURRENT.reset(token)

        return guarded

    def whose(self, scope: Scope) -> Principal | None:
        """Who asks; None where no keys are in use. Raises RequestError 401, 429."""
        if self._keyring.is_locked():
            who = self._identified(scope)
        else:
            who = None
            if scope["path"] not in PROBES:
                self._spend(_peer(scope))
        if self.inside >= self._most and scope["path"] not in PROBES:
            reason = (
                f"{self.inside} requests are under way, at most {self._most}; nothing was done, try again"
            )
            raise RequestError(429, "es_rejected_execution_exception", reason, retry_after=BUSY_SECONDS)
        return who

    def _identified(self, scope: Scope) -> Principal:
        open_to_all = _without_key(scope)
        if open_to_all is not None and scope["path"] in PROBES | STATIC:
            return open_to_all
        given = Headers(scope=scope).get("authorization", "")
        if not given and open_to_all is not None:
            return open_to_all
        who = self._keyring.find(given) if given else None
        if who is None:
            # Who guesses is counted by where it asks from.
            self._spend(_peer(scope))
            path = scope["path"]
            raise RequestError(401, SECURITY, _wrong(given, path))
        self._spend(f"key {who.name}")
        return who

    def _spend(self, name: str) -> None:
        wait = 0.0 if self._buckets is None else self._buckets.take(name)
        if wait:
            reason = f"[{name}] asks more often than server.rate_limit allows; nothing was done"
            after = max(1, math.ceil(wait))
            raise RequestError(429, "es_rejected_execution_exception", reason, retry_after=after)


def refusal(error: RequestError) -> Response:
    """The answer; of a 401 with the ways to say who one is, in headers and, as Elasticsearch, in the body."""
    if error.status != 401:
        return error_response(error)
    response = error_response(error)
    body = error_body(error)
    header = {"WWW-Authenticate": list(CHALLENGES)}
    body["error"] = {
        **body["error"],
        "root_cause": [{**cause, "header": header} for cause in body["error"]["root_cause"]],
        "header": header,
    }
    response.body = msgspec.json.encode(body)
    response.headers["content-length"] = str(len(response.body))
    for challenge in CHALLENGES:
        response.headers.append("WWW-Authenticate", challenge)
    return response


def _without_key(scope: Scope) -> Principal | None:
    """Who a request is that needs no key; None for one that does."""
    if scope["method"] not in READING:
        return None
    path = scope["path"]
    if path in PROBES or path in STATIC:
        return NOBODY
    if path == "/" and "text/html" in Headers(scope=scope).get("accept", ""):
        return NOBODY
    if path == "/metrics" and is_loopback(_peer(scope)):
        return MONITOR
    return None


def _peer(scope: Scope) -> str:
    client: Sequence[object] | None = scope.get("client")
    return str(client[0]) if client else "unknown"


def _wrong(given: str, path: str) -> str:
    if not given:
        return f"missing authentication credentials for REST request [{path}]"
    scheme = given.partition(" ")[0]
    if scheme.lower() not in ("apikey", "basic", "bearer"):
        return f"unable to authenticate for REST request [{path}]: Authorization is ApiKey, Bearer or Basic"
    return f"unable to authenticate with provided credentials for REST request [{path}]"
