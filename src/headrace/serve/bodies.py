"""Bodies of writes: what kind they are, undone if compressed, and cut at line ends into bounded pieces.

Nothing is read before the request is known to be acceptable: a refusal costs no upload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from headrace.core.errors import RequestError
from headrace.serve.encodings import undoing
from headrace.serve.given import VERSIONS

LARGEST_BODY: Final = 10 << 20

VENDOR: Final = frozenset({"application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson"})
BULK_TYPES: Final = frozenset({"application/json", "application/x-ndjson"}) | VENDOR
USUAL_RATIO: Final = 8
"""How much smaller compressed log records usually are: only for estimates, never for bounds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, and of all together.

    body:      bytes of a body, undone; what the official clients send at most by default
    piece:     bytes that are looked at and stored at once; up to it a body is stored in one go
    record:    bytes of one line
    whole:     bytes of a body that cannot be cut (a JSON array, CSV, Arrow, a document)
    in_flight: bytes held for all requests together
    waited:    records of one request whose outcomes are waited for: each costs memory until all are known
    within:    seconds to wait for outcomes where the request does not say
    """

    body: int = 100 << 20
    piece: int = 4 << 20
    record: int = 16 << 20
    whole: int = 32 << 20
    in_flight: int = 256 << 20
    waited: int = 200_000
    within: float = 30.0


def media_type(request: Request, known: frozenset[str], status: int = 406) -> str:
    """The content type, without parameters. Raises RequestError: a wrong one is a 406 to Elasticsearch."""
    header = request.headers.get("content-type", "")
    kind, _, rest = header.partition(";")
    kind = kind.strip().lower()
    parameters = dict(_parameter(part) for part in rest.split(";") if part.strip())
    charset = parameters.get("charset", "utf-8").lower()
    if kind not in known or charset not in ("utf-8", "utf8", "us-ascii"):
        have = ", ".join(sorted(known))
        raise RequestError(
            status,
            "media_type_header_exception",
            f"Content-Type header [{header}] is not supported; have: {have}",
        )
    version = parameters.get("compatible-with")
    if version is not None and (kind not in VENDOR or version not in VERSIONS):
        reason = f"A compatible version is required on the Content-Type header: [{header}]; have: 7, 8, 9"
        raise RequestError(400, "media_type_header_exception", reason)
    return kind


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


class Body:
    """The body of a request, undone; raises RequestError before the first byte is asked for where it can."""

    def __init__(self, request: Request, most: int) -> None:
        self._request = request
        self._most = most
        self._undoing = undoing(request.headers.get("content-encoding", ""))
        length = request.headers.get("content-length", "")
        self.announced = int(length) if length.isdecimal() else None
        if self.announced is not None and self.announced > most:
            raise self._too_long()

    def _too_long(self) -> RequestError:
        reason = f"the body is larger than {self._most} bytes; nothing was accepted, send it in smaller parts"
        return RequestError(413, "content_too_long_exception", reason)

    @property
    def expected(self) -> int:
        """About how many bytes it has, undone."""
        if self.announced is None:
            return self._most
        return min(self.announced * (USUAL_RATIO if self._undoing else 1), self._most)

    def held(self, piece: int) -> int:
        """About how many bytes of it are in memory at once."""
        return min(self.expected, piece)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Undone bytes as they arrive. Raises RequestError 400, 413."""
        seen = 0
        try:
            async for chunk in self._request.stream():
                for piece in (chunk,) if self._undoing is None else self._undoing.push(chunk):
                    seen += len(piece)
                    if seen > self._most:
                        raise self._too_long()
                    yield piece
        except ClientDisconnect:
            reason = "the connection ended within the body; nothing was accepted"
            raise RequestError(400, "illegal_argument_exception", reason) from None
        for piece in () if self._undoing is None else self._undoing.end():
            if seen + len(piece) > self._most:
                raise self._too_long()
            yield piece

    async def whole(self) -> bytes:
        """All of it at once."""
        held = bytearray()
        async for chunk in self.chunks():
            held += chunk
        return bytes(held)


class Cut:
    """A body in pieces that end at a line's end, but for what follows the last one."""

    def __init__(self, body: Body, limits: Limits) -> None:
        self._chunks = body.chunks()
        self._limits = limits
        self._held = bytearray()

    async def next(self) -> tuple[bytes, bool]:
        """The next piece, and whether it is the last. Raises RequestError."""
        while not (end := self._end()):
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return bytes(self._held), True
            self._held += chunk
        piece = bytes(self._held[:end])
        del self._held[:end]
        return piece, False

    def _end(self) -> int:
        """Where the next piece ends; 0 while it is not all there. Raises RequestError."""
        held, piece = self._held, self._limits.piece
        if len(held) < piece:
            return 0
        end = held.rfind(b"\n", 0, piece) + 1 or held.find(b"\n", piece) + 1
        if (end or len(held)) > piece + self._limits.record:
            reason = f"a line is longer than {self._limits.record} bytes; nothing was accepted"
            raise RequestError(413, "content_too_long_exception", reason)
        return end


async def read_bytes(request: Request) -> bytes:
    """The whole body, undone where it is compressed, bounded as it comes out. Raises RequestError."""
    return await Body(request, LARGEST_BODY).whole()


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON body, {} where there is none. Raises RequestError."""
    raw = await read_bytes(request)
    if not raw.strip():
        # Some clients cannot send a body with a GET.
        raw = request.query_params.get("source", "").encode()
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, "parsing_exception", f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(
            400, "parsing_exception", f"the body must be an object, found {type(body).__name__}"
        )
    return body
