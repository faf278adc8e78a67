"""`Idempotency-Key`: a request sent again under its key gets the answer it got, and changes nothing.

The answer is stored in one transaction with the records, so that no crash parts them. Only where it waits for
the index is it stored after them: a crash in between forgets the key, and outcomes make the repetition safe.
A request that was refused stored nothing, and may be sent again.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headrace.buffer.base import Appended, Entry
from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.doors.principal import CURRENT
from headrace.serve.push import KEY, TOKEN, Push
from headrace.serve.responses import PRODUCT

LONGEST: Final = 255
REPLAYED: Final = {"Idempotency-Replayed": "true"}
KEPT: Final = (TOKEN, "Location", "Content-Type")

OK: Final = 300
"""Answers below this status stored something; only they are remembered."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What is kept: `request` is the checksum of the body it answered."""

    request: int
    status: int
    body: bytes
    headers: dict[str, str]


_answers: Final = msgspec.msgpack.Decoder(Answer)


class Kept:
    """The answer to one request, to be remembered if it has a key."""

    def __init__(self, push: Push, key: str, checksum: int) -> None:
        self._push = push
        self._key = key
        self._checksum = checksum
        self._done = False

    async def append(
        self, entries: Sequence[Entry], size: int, answer: Callable[[list[Appended]], Response]
    ) -> Response:
        """Append; the answer is remembered with the records. Raises RequestError 429, 503."""
        if not self._key:
            return answer(await self._push.append(entries, size))
        made: list[Response] = []

        def packed(appended: list[Appended]) -> bytes:
            made.append(answer(appended))
            return self._packed(made[-1])

        await self._push.append(entries, size, key=self._key, answer=packed)
        self._done = True
        return made[-1]

    async def remember(self, response: Response) -> None:
        """Remember an answer that was not stored with its records."""
        if self._key and not self._done and response.status_code < OK:
            await self._push.buffer.remember(self._key, self._packed(response))

    def _packed(self, response: Response) -> bytes:
        headers = {name: response.headers[name] for name in KEPT if name in response.headers}
        made = Answer(self._checksum, response.status_code, bytes(response.body), headers)
        return msgspec.msgpack.encode(made)


Answering: TypeAlias = Callable[[Kept], Awaitable[Response]]


async def keyed(push: Push, request: Request, body: bytes, answering: Answering) -> Response:
    """The answer, from memory where the request's key has one. Raises RequestError for a key used twice."""
    given = request.headers.get(KEY)
    if given is None:
        return await answering(Kept(push, "", 0))
    if not 0 < len(given) <= LONGEST:
        requests.fail(f"an {KEY} has 1 to {LONGEST} characters, found {len(given)}")
    who = CURRENT.get()  # one client's answers are not another's
    key = f"{'' if who is None else who.name} {request.method} {request.url.path}\n{given}"
    checksum = zlib.crc32(body)
    async with push.keys.held(key):
        known = await push.buffer.answer(key)
        if known is not None:
            return _again(_answers.decode(known), checksum, given)
        kept = Kept(push, key, checksum)
        response = await answering(kept)
        await kept.remember(response)
        return response


def _again(answer: Answer, checksum: int, given: str) -> Response:
    if answer.request != checksum:
        reason = f"the {KEY} [{given}] was used for another body; each request needs a key of its own"
        raise RequestError(400, "illegal_argument_exception", reason)
    return Response(answer.body, answer.status, {**PRODUCT, **REPLAYED, **answer.headers})
