"""One bulk request: read, refuse or store, wait if asked to, answer. A large body is stored piece by piece,
and none of it exists for anybody before the last piece was found good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headrace.buffer.base import Appended, Staged
from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.bodies import BULK_TYPES, Body, Cut, media_type
from headrace.serve.bulk import items
from headrace.serve.bulk.actions import invalid
from headrace.serve.bulk.pieces import Named, Run, runs
from headrace.serve.bulk.sections import Placed, Resolved, Section
from headrace.serve.keyed import Kept, keyed
from headrace.serve.push import PARAMETERS, Push, Wanted, Written, no_source, storing, too_large_for_key, took
from headrace.serve.responses import PRODUCT, content_type, json_response

KNOWN: Final = PARAMETERS | requests.SOURCE | {"type", "list_executed_pipelines", "op_type"}

IN_THREAD: Final = 1 << 20
"""Bytes from which on a piece is looked at beside the event loop, which has others to answer."""

PART: Final = 256 << 10
"""About so many characters of a large answer are sent at once: each part costs a change of threads."""


async def bulk(push: Push, request: Request) -> Response:
    """`_bulk`. Raises RequestError for what refuses the whole request."""
    requests.check_parameters(request, KNOWN)
    no_source(request)
    media_type(request, BULK_TYPES)
    wanted = push.wanted(request)
    body = Body(request, push.limits.body)
    push.check_open()
    one = OneBulk(push, request, wanted)
    push.buffer.check_room(one.logs(), body.announced or 0)
    with push.in_flight.hold(body.held(push.limits.piece), push.limits.in_flight):
        return await one.answer(body)


class OneBulk:
    """What is known of one request on its way."""

    def __init__(self, push: Push, request: Request, wanted: Wanted) -> None:
        self._push = push
        self._request = request
        self._wanted = wanted
        self._started = time.perf_counter()
        alias = request.query_params.get("require_alias", "false") in ("", "true")
        self._named = Named(request.path_params.get("index"), alias)
        self._resolved = Resolved(push)
        self._placed: list[Placed] = []
        self._sections: list[Section] = []
        self._left = b""
        self._line = 0
        self._waited = 0

    def logs(self) -> list[str]:
        """The logs that are known to be written before a byte is read."""
        if self._named.index is None:
            return []
        try:
            target = self._push.indices.target(self._named.index, require_alias=self._named.alias)
        except RequestError:
            return []  # said again for each action that needs it
        return [] if target is None else [target.log]

    async def answer(self, body: Body) -> Response:
        cut = Cut(body, self._push.limits)
        piece, last = await cut.next()
        if last and not piece:
            raise RequestError(400, "parse_exception", "request body is required")
        if last:
            return await keyed(self._push, self._request, piece, partial(self._small, piece))
        too_large_for_key(self._request, self._push.limits.piece)
        return await self._large(cut, piece, body.expected)

    async def _small(self, piece: bytes, kept: Kept) -> Response:
        sections = await self._take(piece, last=True)
        self._check_any()
        if not sections:
            return self._response()
        waits = any(section.exact for section in sections)
        entries = [section.entry() for section in sections]
        if not waits:
            return await kept.append(entries, len(piece), self._durable)
        self._stored(await self._push.append(entries, len(piece)))
        await self._settle()
        return self._response()

    def _durable(self, appended: list[Appended]) -> Response:
        """The answer of a request that waits for nothing more."""
        self._stored(appended)
        return self._response()

    async def _large(self, cut: Cut, piece: bytes, expected: int) -> Response:
        with storing():
            staged = self._push.buffer.stage(expected)
        try:
            last = False
            while True:
                await self._stage(staged, piece, last=last)
                if last:
                    break
                piece, last = await cut.next()
            self._check_any()
            with storing():
                self._stored(await staged.finish() if self._sections else [])
        finally:
            with anyio.CancelScope(shield=True):
                await staged.abandon()
        await self._settle()
        return self._streamed()

    async def _stage(self, staged: Staged, piece: bytes, *, last: bool) -> None:
        for section in await self._take(piece, last=last):
            entry = section.entry()
            with storing():
                await staged.add(entry)

    async def _take(self, piece: bytes, *, last: bool) -> list[Section]:
        """Parse one piece and give its actions their places."""
        data = self._left + piece if self._left else piece
        parse = partial(runs, data, self._named, self._line, last=last)
        if len(data) < IN_THREAD:
            found, self._left, self._line = parse()
        else:
            found, self._left, self._line = await anyio.to_thread.run_sync(parse)
        return await self._place(found)

    async def _place(self, found: list[Run]) -> list[Section]:
        await self._resolved.learn(found)
        placed, sections = self._resolved.place(found, self._wanted)
        self._placed += placed
        self._sections += sections
        self._waited += sum(section.count for section in sections if section.exact)
        most = self._push.limits.waited
        if self._waited > most:
            reason = (
                f"outcomes of more than {most} records were to be waited for at once; nothing was "
                "accepted, send smaller requests"
            )
            raise RequestError(413, "content_too_long_exception", reason)
        return sections

    def _check_any(self) -> None:
        if not self._placed:
            raise invalid("no requests added")

    def _stored(self, appended: list[Appended]) -> None:
        for section, where in zip(self._sections, appended, strict=True):
            section.written = Written(section.target, where, waits=section.exact)

    async def _settle(self) -> None:
        written = self._written()
        if any(part.waits for part in written):
            await self._push.settle(written, self._wanted)
        if (error := items.unanswered(self._placed)) is not None:
            raise error

    def _written(self) -> list[Written]:
        return [section.written for section in self._sections if section.written is not None]

    def _items(self, *, brief: bool) -> items.Items:
        return items.Items(self._push, brief=brief, forced=self._wanted.force)

    def _head(self, *, brief: bool) -> str:
        errors = "true" if items.failed(self._placed) else "false"
        start = "{" if brief else f'{{"took":{took(self._started)},'
        return f'{start}"errors":{errors},"items":['

    def _response(self) -> Response:
        wanted = self._request.query_params.get("filter_path", "")
        brief = bool(wanted) and frozenset(wanted.split(",")) == items.BRIEF
        writer = self._items(brief=brief)
        listed = [item for placed in self._placed for item in writer.of(placed)]
        body = f"{self._head(brief=brief)}{','.join(listed)}]}}".encode()
        headers = self._push.token(self._written())
        if (wanted and not brief) or "pretty" in self._request.query_params:
            return json_response(self._request, msgspec.Raw(body), headers=headers)
        kind = {"Content-Type": content_type(self._request)}
        return Response(body, 200, {**PRODUCT, **kind, **headers})

    def _streamed(self) -> Response:
        """Items of a large request as they are written: all of them may be larger than the body."""
        wanted = self._request.query_params.get("filter_path", "")
        brief = frozenset(wanted.split(",")) == items.BRIEF
        headers = {"Content-Type": content_type(self._request), **self._push.token(self._written())}
        return StreamingResponse(self._parts(brief=brief), 200, {**PRODUCT, **headers})

    def _parts(self, *, brief: bool) -> Iterator[bytes]:
        writer = self._items(brief=brief)
        held, size = [self._head(brief=brief)], 0
        for number, placed in enumerate(self._placed):
            written = ("," if number else "") + ",".join(writer.of(placed))
            held.append(written)
            size += len(written)
            if size >= PART:
                yield "".join(held).encode()
                held, size = [], 0
        yield ("".join(held) + "]}").encode()
