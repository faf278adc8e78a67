"""What a request's line has to be before anything is done: UTF-8, with a `filter_path` of bounded length.

A path that is not UTF-8 would be read with a mark in place of what is not: two names would become one, and a
write would replace another's document.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.core.errors import RequestError
from headrace.serve import filter_path
from headrace.serve.responses import error_response

SHOWN: Final = 200
"""Characters of what is refused; the client knows the rest."""


class Spelled:
    """Answers 400 to what cannot be read as it was meant; costs nothing where nothing is escaped."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                _check(scope)
            except RequestError as error:
                accept = Headers(scope=scope).get("accept", "")
                await error_response(error, accept=accept)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _check(scope: Scope) -> None:
    query: bytes = scope["query_string"]
    _utf8("path", scope.get("raw_path") or b"")
    _utf8("query", query)
    if b"filter_path=" in query:
        for wanted in parse_qs(query.decode("latin-1")).get("filter_path", ()):
            filter_path.check(wanted.split(","))


def _utf8(what: str, given: bytes) -> None:
    """Raises RequestError 400."""
    if given.isascii() and b"%" not in given:
        return
    try:
        unquote_to_bytes(given).decode()
    except UnicodeDecodeError as error:
        shown = given.decode("ascii", "backslashreplace")[:SHOWN]
        wrong = error.object[error.start]
        reason = f"the {what} [{shown}] is not UTF-8 at its byte 0x{wrong:02x}: escape the bytes of UTF-8"
        raise RequestError(400, "illegal_argument_exception", reason) from None
