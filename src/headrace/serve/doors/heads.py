"""The protocol of each connection: counts what arrives, and bounds what no application has asked for yet.

uvicorn keeps a request's line and headers, and the trailers behind a body, in memory, however many they are,
and before anybody can look at a key. Beyond the bound it is a 431, where nothing else is being answered.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.core.errors import RequestError
from headrace.core.log import event
from headrace.serve.responses import JSON_TYPE, PRODUCT, error_body

log = logging.getLogger(__name__)

LARGEST_HEAD: Final = 64 << 10
"""Bytes of a request's line, headers and trailers: four times what Elasticsearch takes of headers."""


class BoundedProtocol(HttpToolsProtocol):
    """Reads at most one piece of the socket more than the bound."""

    arrived = 0
    _head = 0
    _idle = 0
    """Bytes since the parser last got further: a line without an end is in none of its callbacks."""
    _refused = False

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self.arrived += len(data)
        self._idle += len(data)
        super().data_received(data)
        if self._idle > LARGEST_HEAD:
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        if self._head > LARGEST_HEAD:
            self._refuse()
            return
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._idle = self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._idle = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        """An error in a callback ends the parser's work; uvicorn then answers by `send_400_response`."""
        self._head += size
        if self._head > LARGEST_HEAD:
            raise ValueError(f"a head of more than {LARGEST_HEAD} bytes")

    def _refuse(self) -> None:
        if self._refused:
            return
        self._refused = True
        event(log.warning, "client.head_too_large", limit=LARGEST_HEAD)
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            # Two answers at once would be none.
            self.transport.abort()
            return
        self.transport.write(_answer())
        self.transport.close()


def _answer() -> bytes:
    reason = f"the request's line and headers have more than {LARGEST_HEAD} bytes; send less in them"
    body = msgspec.json.encode(error_body(RequestError(431, "too_long_http_header_exception", reason)))
    headers = {**PRODUCT, "Content-Type": JSON_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    lines = ["HTTP/1.1 431 Request Header Fields Too Large", *(f"{k}: {v}" for k, v in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body
