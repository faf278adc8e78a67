"""`POST /ingest/{pipeline}`: a body of records as they are, into the log of a pipeline that reads pushes.

NDJSON is cut at line ends and may be large. A JSON array, CSV and Arrow mean something only as a whole, and
have a smaller bound.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.buffer.base import Appended, Entry
from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.ingest.http_push import admit
from headrace.serve import requests, tokens
from headrace.serve.bodies import Body, Cut, media_type
from headrace.serve.doors.principal import allowed, bound, require
from headrace.serve.keyed import Kept, keyed
from headrace.serve.names import Target
from headrace.serve.push import TOKEN, Push, Written, storing, too_large_for_key
from headrace.serve.responses import answered, json_response

TYPES: Final = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.arrow.file": "arrow",
}
KNOWN: Final = requests.COMMON | {"ack", "refresh", "timeout"}

IN_THREAD: Final = 1 << 20
"""Bytes from which on a body is counted beside the event loop, which has others to answer."""


def routes(push: Push) -> list[BaseRoute]:
    """The route of plain pushes."""

    async def answer(request: Request) -> Response:
        return await _pushed(push, request)

    return [Route("/ingest/{pipeline}", answered(answer), methods=["POST", "PUT"])]


async def _pushed(push: Push, request: Request) -> Response:
    target = _target(push, request.path_params["pipeline"])
    requests.check_parameters(request, KNOWN)
    kind = TYPES[media_type(request, frozenset(TYPES), status=415)]
    wanted = push.wanted(request)
    body = Body(request, push.limits.body if kind == "ndjson" else push.limits.whole)
    push.check_open()
    push.buffer.check_room([target.log], body.announced or 0)
    most = push.limits.piece if kind == "ndjson" else push.limits.whole
    with push.in_flight.hold(body.held(most), push.limits.in_flight):
        response = await _stored(push, request, body, _Pushed(push, request, target, kind))
    if wanted.level_for(target) == "indexed" and (token := response.headers.get(TOKEN)) is not None:
        # Also of an answer from memory: what it says is stored, what is asked for is more.
        [end] = [one.record for one in tokens.decode(token)]
        await push.applier.wait(target, end, level="visible", force=wanted.force, within=wanted.within)
    return response


async def _stored(push: Push, request: Request, body: Body, one: _Pushed) -> Response:
    if one.kind != "ndjson":
        piece = await body.whole()
        return await keyed(push, request, piece, partial(one.small, piece))
    cut = Cut(body, push.limits)
    piece, last = await cut.next()
    if last:
        return await keyed(push, request, piece, partial(one.small, piece))
    return await one.large(cut, piece, body.expected)


def _target(push: Push, name: str) -> Target:
    """The pipeline's log. Raises RequestError 404 with the nearest name, 400 for one that takes no pushes."""
    found = push.pipelines.get(name)
    if found is not None:
        require(found.index)
        return found
    mine = sorted(each for each, target in push.pipelines.items() if allowed(target.index))
    if name in push.others and bound() is None:
        known = f"those that do: {', '.join(mine) or 'none'}"
        requests.fail(
            f"pipeline [{name}] takes no pushes: its source is {push.others[name]}, not http_push; {known}"
        )
    hint = suggest(name, mine)
    raise RequestError(404, "resource_not_found_exception", f"no such pipeline [{name}], {hint}")


class _Pushed:
    """One push on its way."""

    def __init__(self, push: Push, request: Request, target: Target, kind: str) -> None:
        self._push = push
        self._request = request
        self._target = target
        self.kind = kind

    async def small(self, piece: bytes, kept: Kept) -> Response:
        entry = await self._entry(piece)
        if entry is None:
            return self._answer([])
        return await kept.append([entry], len(piece), self._answer)

    async def large(self, cut: Cut, piece: bytes, expected: int) -> Response:
        too_large_for_key(self._request, self._push.limits.piece)
        with storing():
            staged = self._push.buffer.stage(expected)
        try:
            last = False
            while True:
                entry = await self._entry(piece)
                if entry is not None:
                    with storing():
                        await staged.add(entry)
                if last:
                    break
                piece, last = await cut.next()
            with storing():
                found = await staged.finish()
        finally:
            with anyio.CancelScope(shield=True):
                await staged.abandon()
        return self._answer(found)

    async def _entry(self, piece: bytes) -> Entry | None:
        """The piece as an entry, counted; None where it holds no record. Raises RequestError."""
        if not piece:
            return None
        options = self._push.formats[self._request.path_params["pipeline"]]
        count = partial(admit.count, self.kind, piece, options)
        records = count() if len(piece) < IN_THREAD else await anyio.to_thread.run_sync(count)
        return Entry(self._target.log, records, self.kind, piece) if records else None

    def _answer(self, found: list[Appended]) -> Response:
        here = self._push.accepted(self._target)
        first, end = (found[0].first, found[-1].end) if found else (here, here)
        token = self._push.token([Written(self._target, appended) for appended in found])
        body = {
            "accepted": sum(appended.end - appended.first for appended in found),
            "pipeline": self._request.path_params["pipeline"],
            "log": self._target.log,
            "first": first,
            "end": end,
            "token": token.get(TOKEN),
        }
        return json_response(self._request, body, headers=token)
