"""`Idempotency-Key`: a request sent again under its key gets the answer it got, and changes nothing.

What is remembered is the answer of a request that was stored; one that was refused may be sent again. Between
storing and remembering lies a moment in which a crash forgets the key: then the promise is that of no key.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.push import KEY, TOKEN, Push
from headrace.serve.responses import PRODUCT

LONGEST: Final = 255
REPLAYED: Final = {"Idempotency-Replayed": "true"}


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What is kept: `request` is the checksum of the body it answered."""

    request: int
    status: int
    body: bytes
    headers: dict[str, str]


_answers: Final = msgspec.msgpack.Decoder(Answer)


async def keyed(
    push: Push, request: Request, body: bytes, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer, from memory where the request's key has one. Raises RequestError for a key used twice."""
    given = request.headers.get(KEY)
    if given is None:
        return await answer()
    if not 0 < len(given) <= LONGEST:
        requests.fail(f"an {KEY} has 1 to {LONGEST} characters, found {len(given)}")
    key = f"{request.method} {request.url.path}\n{given}"
    checksum = zlib.crc32(body)
    async with push.keys.held(key):
        known = await push.buffer.answer(key)
        if known is not None:
            return _again(_answers.decode(known), checksum, given)
        response = await answer()
        if response.status_code < 300 and len(response.body) <= push.limits.keyed:
            kept = {name: response.headers[name] for name in (TOKEN, "Location") if name in response.headers}
            headers = {**kept, "Content-Type": response.headers["Content-Type"]}
            made = Answer(checksum, response.status_code, bytes(response.body), headers)
            await push.buffer.remember(key, msgspec.msgpack.encode(made))
        return response


def _again(answer: Answer, checksum: int, given: str) -> Response:
    if answer.request != checksum:
        reason = f"the {KEY} [{given}] was used for another body; each request needs a key of its own"
        raise RequestError(400, "illegal_argument_exception", reason)
    return Response(answer.body, answer.status, {**PRODUCT, **REPLAYED, **answer.headers})
