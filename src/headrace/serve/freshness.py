"""How fresh a search is: waits for writes that it must see, and says how far what it saw reaches.

A write is waited for by looking at the position documents of the very commit that is then searched (PROTOCOL
21): nothing is forced to commit. Only the realtime reads of single documents ask for a commit, and only when
there is something accepted that is not visible yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from starlette.requests import Request

from headrace.buffer.base import partition_of
from headrace.core.clock import Clock
from headrace.core.errors import RequestError
from headrace.index.base import Reader, View
from headrace.serve import tokens
from headrace.serve.given import seconds
from headrace.serve.names import Applier, Indices, Named, Target
from headrace.serve.searches import Part, parts_of
from headrace.serve.threads import in_thread
from headrace.serve.tokens import Token

AFTER: Final = "Headrace-After"
FRESHNESS: Final = "Headrace-Freshness"
STAMP_SECONDS: Final = 0.002
"""Between two looks at whether an index has a newer commit, which cost microseconds; where more than four
wait, so many fourths of it."""

LOOK_SECONDS: Final = 0.05
"""After so long an index is looked into all the same: its files may be elsewhere by now."""

LONGEST_PAUSE: Final = 0.25
"""Between two looks of one of them, however many there are."""

DEFAULT_SECONDS: Final = 30.0
LONGEST_HEADER: Final = 4096
"""Bytes of what is said per index; beyond it only how many there are. Proxies refuse long headers."""


Stamped: TypeAlias = tuple[str, Reader, object]
"""An index's name, its reader, and that reader's stamp."""


class Accepting(Protocol):
    """What reads need of the buffer's writing side."""

    @property
    def incarnation(self) -> str: ...

    def accepted(self, log: str) -> int:
        """The number after the last durable record of a log."""
        ...


@dataclass(frozen=True, slots=True)
class Realtime:
    """The write path as reads see it; there is none where a folder is only read."""

    buffer: Accepting
    applier: Applier


def never() -> bool:
    """Where nobody says that the server stops."""
    return False


def ended() -> RequestError:
    """What a request is told that waits for something while the server is told to stop."""
    reason = "the server is stopping, safe to repeat"
    return RequestError(503, "service_unavailable", reason, retry_after=1)


class Freshness:
    """Gives searches their commits, or ends their waiting where the server is `stopping`."""

    def __init__(
        self,
        indices: Indices,
        realtime: Realtime | None,
        clock: Clock,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self._stopping = stopping
        self._indices = indices
        self._realtime = realtime
        self._clock = clock
        self._summaries: WeakKeyDictionary[View, Mapping[str, Any]] = WeakKeyDictionary()
        self._waiting = 0

    async def parts(
        self, request: Request, resolve: Callable[[], Sequence[Named]], *, several: bool = False
    ) -> list[Part]:
        """The named indexes at commits that cover the request's tokens, if it has any.

        several: the request has searches of other indexes, too, which the tokens may be of
        Raises RequestError 504 when they do not in time, 503 when the server stops before they do, 404 or 400
        for a token of an index that is gone, or of none that is searched."""
        given = request.query_params.get("after") or request.headers.get(AFTER)
        wanted = tokens.decode(given) if given else []
        wait = request.query_params.get("timeout") if given else None
        end = self._clock.monotonic() + (seconds(wait, "timeout") if wait else DEFAULT_SECONDS)

        def look() -> tuple[list[Part], list[str], list[Stamped]]:
            stamped = self._stamped(wanted)  # before: a commit that comes meanwhile is seen as a newer one
            parts = parts_of(resolve())
            behind = self._behind(parts, wanted)
            if wanted and not several:
                _check_searched(parts, wanted)
            return parts, behind, stamped

        self._waiting += 1
        try:
            while True:
                parts, behind, stamped = await in_thread(look)
                if not behind:
                    return parts
                if self._clock.monotonic() >= end:
                    raise RequestError(504, "timeout_exception", "; ".join(behind))
                if self._stopping():
                    raise ended()
                await self._newer(stamped, end)
        finally:
            self._waiting -= 1

    def _stamped(self, wanted: Sequence[Token]) -> list[Stamped]:
        known = self._indices.names() if wanted else ()
        names = dict.fromkeys(token.index for token in wanted if token.index in known)
        readers = [(name, self._indices.get(name)) for name in names]
        return [(name, reader, reader.stamp()) for name, reader in readers]

    async def _newer(self, stamped: Sequence[Stamped], end: float) -> None:
        """Until one of these has a newer commit, or it is time to look anyway."""
        crowd = max(1.0, self._waiting / 4)
        pause, longest = (min(LONGEST_PAUSE, each * crowd) for each in (STAMP_SECONDS, LOOK_SECONDS))
        until = min(end, self._clock.monotonic() + longest)
        while True:
            await self._clock.sleep(pause)
            if self._clock.monotonic() >= until or self._stopping() or any(map(self._is_newer, stamped)):
                return

    def _is_newer(self, stamped: Stamped) -> bool:
        name, reader, stamp = stamped
        try:
            return self._indices.get(name) is not reader or reader.stamp() != stamp
        except RequestError:
            return True  # the look says what is wrong

    def _behind(self, parts: Sequence[Part], wanted: Sequence[Token]) -> list[str]:
        """What is not visible yet; indexes that are not searched are not waited for."""
        by_name = {part.name: part for part in parts}
        found = []
        for token in wanted:
            self._check(token)
            part = by_name.get(token.index)
            if part is None:
                continue
            position = part.view.watermarks().visible.get(token.key)
            visible = 0 if position is None else position.record
            if visible >= token.record:
                continue
            if self._realtime is not None and token.incarnation != self._realtime.buffer.incarnation:
                _refuse(token, "the buffer that accepted it was thrown away since; write again")
            found.append(f"[{token.index}] is visible up to record {visible}, not yet {token.record}")
        return found

    def _check(self, token: Token) -> None:
        """Whether the index is still the one that was written to."""
        if token.index not in self._indices.names():
            reason = f"no such index [{token.index}]: it was deleted since the write that gave this token"
            raise RequestError(404, "index_not_found_exception", reason)
        feeding = self._indices.feeding(token.index)
        if feeding and all(target.uuid != token.uuid for target in feeding):
            _refuse(token, "the index was deleted and made again since; its documents are not in this one")

    async def realtime(self, request: Request, names: Sequence[str]) -> None:
        """Make visible what was accepted for these indexes so far (PROTOCOL 19), unless `realtime=false`."""
        if self._realtime is None or request.query_params.get("realtime") == "false":
            return
        buffer = self._realtime.buffer
        for name in names:
            for target in self._indices.feeding(name):
                accepted = buffer.accepted(target.log)
                if accepted > await in_thread(partial(self._visible, name, target)):
                    await self._realtime.applier.wait(target, accepted, level="visible", force=True)

    def _visible(self, name: str, target: Target) -> int:
        assert self._realtime is not None
        key = (target.pipeline, partition_of(self._realtime.buffer.incarnation, target.log))
        position = self._indices.get(name).watermarks().visible.get(key)
        return 0 if position is None else position.record

    def header(self, parts: Sequence[Part]) -> dict[str, str]:
        """`Headrace-Freshness`: per index and pipeline, how far is visible; of pushes, also accepted."""
        found = {part.name: self._reach(part) for part in parts}
        text = json.dumps(found, separators=(",", ":"))
        if len(text) > LONGEST_HEADER:
            text = json.dumps({"indexes": len(parts)}, separators=(",", ":"))
        return {FRESHNESS: text}

    def _reach(self, part: Part) -> dict[str, Any]:
        reach: dict[str, Any] = {}
        for pipeline, found in self._summary(part.view).items():
            if isinstance(found, dict):
                reach[pipeline] = found
                continue
            for incarnation, log, visible in found:
                if self._realtime is None:
                    reach[pipeline] = {"kind": "push", "visible": visible}
                elif incarnation == self._realtime.buffer.incarnation:
                    accepted = self._realtime.buffer.accepted(log)
                    reach[pipeline] = {"kind": "push", "visible": visible, "accepted": accepted}
        return reach

    def _summary(self, view: View) -> Mapping[str, Any]:
        """Per pipeline, once for each commit: of a source how far, of pushes which logs and how far."""
        known = self._summaries.get(view)
        if known is None:
            known = self._summaries[view] = _summary(view)
        return known


def _check_searched(parts: Sequence[Part], wanted: Sequence[Token]) -> None:
    searched = {part.name for part in parts}
    if searched.isdisjoint(token.index for token in wanted):
        written = ", ".join(sorted({token.index for token in wanted}))
        reason = (
            f"the token is of a write to [{written}], which is not among what is searched:"
            f" [{', '.join(sorted(searched))}]; pass the token of a write to these"
        )
        raise RequestError(400, "illegal_argument_exception", reason)


def _summary(view: View) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for (pipeline, partition), position in view.watermarks().visible.items():
        kind, _, rest = partition.partition(":")
        if kind == "push":
            incarnation, _, log = rest.partition(":")
            found.setdefault(pipeline, []).append((incarnation, log, position.record))
            continue
        known = found.setdefault(pipeline, {"kind": "source", "partitions": 0, "visible": 0})
        known["partitions"] += 1
        known["visible"] += position.record
    return found


def _refuse(token: Token, why: str) -> None:
    raise RequestError(400, "illegal_argument_exception", f"the token is of index [{token.index}]: {why}")
