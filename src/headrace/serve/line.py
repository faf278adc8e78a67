"""The line between a push at the server and its outcome in the ingester, over the local socket (PROTOCOL 19).

The server asks (`Line`), the ingester answers (`routes`). What goes over it is small: records are in the
buffer already, and a line that breaks costs the asker the answer, never the write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.buffer.base import partition_of
from headrace.core.errors import Fatal, RequestError, Retryable
from headrace.model import Outcome, PartitionKey
from headrace.serve.bodies import read_bytes
from headrace.serve.names import Target
from headrace.serve.responses import answered
from headrace.serve.upstream import Upstream

PATH: Final = "/push/wait"
REGENERATE: Final = "/push/regenerate"
LONGEST_BUILD: Final = 24 * 3600.0
OK: Final = 200
UNAVAILABLE: Final = 503

GRACE_SECONDS: Final = 5.0
"""How much longer than the ingester the server waits, so that it is the ingester who says what is late."""


class Awaited(msgspec.Struct, frozen=True):
    """What a push waits for: all records of a log below `record` applied or visible; `results` are ranges."""

    pipeline: str
    partition: str
    record: int
    visible: bool
    results: list[tuple[int, int]]
    force: bool
    within: float


class Pushed(Protocol):
    """The ingester as the line sees it."""

    async def until(self, key: PartitionKey, record: int, *, visible: bool, force: bool) -> None:
        """Wait. Raises Fatal where the pipeline has failed for good, or there is none (any more)."""
        ...

    def outcomes(self, key: PartitionKey, ranges: Sequence[tuple[int, int]]) -> list[Outcome]: ...

    async def regenerate(self, uuid: str) -> None:
        """Make the generation that the catalogue names for an index; on return the old one is paused.

        Raises Fatal: it cannot be made, and nothing was changed."""
        ...


def routes(pushed: Pushed) -> list[BaseRoute]:
    """The ingester's side."""

    async def wait(request: Request) -> Response:
        asked = _awaited(await read_bytes(request))
        key = (asked.pipeline, asked.partition)
        with anyio.move_on_after(asked.within) as scope:
            try:
                await pushed.until(key, asked.record, visible=asked.visible, force=asked.force)
            except Fatal as error:
                raise _unknown(f"pipeline {asked.pipeline}: {error}") from error
        if scope.cancelled_caught:
            level = "searchable" if asked.visible else "applied"
            reason = f"accepted, but not {level} within {asked.within:g} s; it is durable and will be"
            raise RequestError(504, "timeout_exception", reason)
        return Response(msgspec.json.encode(pushed.outcomes(key, asked.results)))

    async def regenerate(request: Request) -> Response:
        try:
            await pushed.regenerate(request.path_params["uuid"])
        except Fatal as error:
            raise RequestError(400, "illegal_argument_exception", str(error)) from error
        return Response(b"{}")

    return [
        Route(PATH, answered(wait), methods=["POST"]),
        Route(f"{REGENERATE}/{{uuid}}", answered(regenerate), methods=["POST"]),
    ]


def _awaited(raw: bytes) -> Awaited:
    """Raises RequestError 400."""
    try:
        return msgspec.json.decode(raw, type=Awaited)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, "illegal_argument_exception", f"the body is no wait: {error}") from None


class Line:
    """The server's side, an `Applier`. `incarnation` is that of the buffer."""

    def __init__(self, upstream: Upstream, incarnation: Callable[[], str]) -> None:
        self._upstream = upstream
        self._incarnation = incarnation

    async def wait(
        self,
        target: Target,
        record: int,
        *,
        level: str,
        results: Sequence[tuple[int, int]] = (),
        force: bool = False,
        within: float = 30.0,
    ) -> list[Outcome]:
        """See `Applier`."""
        partition = partition_of(self._incarnation(), target.log)
        visible = level == "visible"
        asked = Awaited(target.pipeline, partition, record, visible, list(results), force, within)
        body = msgspec.json.encode(asked)
        try:
            status, answer = await self._upstream.post(PATH, body, within + GRACE_SECONDS)
        except Retryable as error:
            raise _unknown(str(error)) from error
        if status != OK:
            raise _repeated(status, answer)
        found = msgspec.json.decode(answer, type=list[Outcome])
        if len(found) != sum(end - first for first, end in results):
            raise _unknown("the ingester was started again meanwhile")
        return found

    async def regenerate(self, uuid: str) -> None:
        """Have the next generation of an index made; on return decide soon. Raises RequestError."""
        try:
            status, answer = await self._upstream.post(f"{REGENERATE}/{uuid}", b"", LONGEST_BUILD)
        except Retryable as error:
            reason = f"the ingester went away: {error}; nothing was changed"
            raise RequestError(503, "ingester_unavailable", reason, retry_after=1) from error
        if status != OK:
            raise _repeated(status, answer)


def _repeated(status: int, answer: bytes) -> RequestError:
    """The ingester's error, said again."""
    error = msgspec.json.decode(answer, type=_Answer).error
    return RequestError(status, error.type, error.reason, retry_after=1 if status == UNAVAILABLE else None)


class _Cause(msgspec.Struct):
    type: str
    reason: str


class _Answer(msgspec.Struct):
    error: _Cause


def _unknown(reason: str) -> RequestError:
    return RequestError(
        503,
        "outcome_unknown",
        f"the outcome is unknown: {reason}; what was accepted is durable, and the request is safe to repeat",
        retry_after=1,
    )
