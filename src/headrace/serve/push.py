"""Append, then acknowledge: what all writes share, whatever their bodies look like.

An answer says what is durable. Whoever asks for more (`ack=indexed`, `refresh`) or for an outcome that only
the index knows (an update, a delete) waits after that, for the process that applies the records.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import anyio
from starlette.requests import Request

from headrace.buffer.base import Appended, BufferWriter, Entry, partition_of
from headrace.core.errors import RequestError, Retryable
from headrace.ingest.formats.base import FormatOptions
from headrace.model import Outcome
from headrace.serve import requests, tokens
from headrace.serve.bodies import Limits
from headrace.serve.names import Applier, Indices, Target
from headrace.units import Duration

TOKEN: Final = "Headrace-Token"  # noqa: S105  a header's name
ACK: Final = "Headrace-Ack"
KEY: Final = "Idempotency-Key"
LEVELS: Final = ("durable", "indexed")
REFRESH: Final = ("", "true", "false", "wait_for")
DISK_FULL_SECONDS: Final = 10
BUSY_SECONDS: Final = 1
LONGEST_WAIT: Final = 300.0

PARAMETERS: Final = requests.COMMON | {
    "ack", "refresh", "timeout", "wait_for_active_shards", "routing", "pipeline", "require_alias",
    "require_data_stream", "include_source_on_error",
}  # fmt: skip
"""What every write takes; those that say where in a cluster to write steer nothing here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request waits for: `level` None is the index's own; `force` commits at once."""

    level: str | None
    force: bool
    within: float

    def level_for(self, target: Target) -> str:
        return self.level or target.ack


@dataclass(slots=True)
class Written:
    """Records of one log that one request brought, where they stand, and what became of them.

    waits: an outcome is waited for; `outcomes`: by record number, once known; `unknown`: why they are not
    """

    target: Target
    appended: Appended
    waits: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    unknown: RequestError | None = None


class InFlight:
    """Bytes of bodies held at once, for all requests together."""

    def __init__(self) -> None:
        self.held = 0

    @contextmanager
    def hold(self, size: int, most: int) -> Iterator[None]:
        """Raises RequestError 429 where the bound would be passed."""
        if self.held and self.held + size > most:
            reason = (
                f"{self.held} bytes of other requests are in flight, at most {most}; nothing was accepted"
            )
            raise RequestError(429, "es_rejected_execution_exception", reason, retry_after=BUSY_SECONDS)
        self.held += size
        try:
            yield
        finally:
            self.held -= size


class Keys:
    """Idempotency keys under way: who repeats one waits until the first has its answer."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[anyio.Lock, int]] = {}

    @asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        lock, users = self._held.get(key, (anyio.Lock(), 0))
        self._held[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._held[key][1] - 1
            if users:
                self._held[key] = lock, users
            else:
                del self._held[key]


@dataclass(frozen=True)
class Push:
    """All that a write needs.

    pipelines: those of the configuration that take pushes under their own name
    formats:   how each of them reads a body (`http_push.Settings.format`)
    others:    the configuration's other pipelines and the kinds of their sources, to tell a wrong name from a
               pipeline that takes no pushes
    refusing:  why no writes are taken now (draining, not ready); empty where they are
    """

    indices: Indices
    buffer: BufferWriter
    applier: Applier
    limits: Limits = field(default_factory=Limits)
    pipelines: Mapping[str, Target] = field(default_factory=dict)
    formats: Mapping[str, FormatOptions] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    refusing: Callable[[], str] = lambda: ""
    in_flight: InFlight = field(default_factory=InFlight)
    keys: Keys = field(default_factory=Keys)

    def wanted(self, request: Request) -> Wanted:
        """`ack`, `refresh` and `timeout` of a request. Raises RequestError."""
        ack = request.query_params.get("ack", request.headers.get(ACK))
        if ack not in (None, *LEVELS):
            requests.fail(f"unknown value for ack: [{ack}]; have: {', '.join(LEVELS)}")
        refresh = request.query_params.get("refresh", "false")
        if refresh not in REFRESH:
            requests.fail(f"Unknown value for refresh: [{refresh}].")
        within = _seconds(request.query_params.get("timeout"), self.limits.within)
        return Wanted("indexed" if refresh != "false" else ack, refresh in ("", "true"), within)

    def check_open(self) -> None:
        """Raises RequestError 503 while the service is going down, or not up yet."""
        if reason := self.refusing():
            raise RequestError(503, "service_unavailable", f"{reason}; nothing was accepted", retry_after=1)

    def accepted(self, target: Target) -> int:
        """The number after the last record that was accepted for an index (PROTOCOL 19: realtime)."""
        return self.buffer.accepted(target.log)

    async def target(self, name: str, *, require_alias: bool = False, create: bool = True) -> Target:
        """Where writes to a name go; an index that is not there yet is made. Raises RequestError."""
        found = self.indices.target(name, require_alias=require_alias)
        if found is not None:
            return found
        if require_alias:
            flag = "[require_alias] request flag is [true]"
            reason = f"no such index [{name}] and {flag} and [{name}] is not an alias"
            raise RequestError(404, "index_not_found_exception", reason)
        if not create:
            raise RequestError(404, "index_not_found_exception", f"no such index [{name}]")
        return await self.indices.create(name)

    async def append(
        self,
        entries: Sequence[Entry],
        size: int,
        *,
        key: str = "",
        answer: Callable[[list[Appended]], bytes] | None = None,
    ) -> list[Appended]:
        """Durable on return, and with it the answer under its key. Raises RequestError 429, 503."""
        with storing():
            return await self.buffer.append(entries, size=size, key=key, answer=answer)

    async def settle(self, written: Sequence[Written], wanted: Wanted) -> None:
        """Wait for what each part waits for, all at once; a part whose outcome stays unknown says why."""

        async def one(target: Target, parts: list[Written], level: str) -> None:
            last = max(part.appended.end for part in parts)
            ranges = _joined([(part.appended.first, part.appended.end) for part in parts if part.waits])
            try:
                found = await self.applier.wait(
                    target, last, level=level, results=ranges, force=wanted.force, within=wanted.within
                )
            except RequestError as error:
                for part in parts:
                    part.unknown = error
                return
            known = {outcome.record: outcome for outcome in found}
            for part in parts:
                part.outcomes = known

        waiting: dict[str, tuple[Target, list[Written]]] = {}
        for part in written:
            if part.waits:
                waiting.setdefault(part.target.log, (part.target, []))[1].append(part)
        async with anyio.create_task_group() as group:
            for target, parts in waiting.values():
                level = "visible" if wanted.level_for(target) == "indexed" else "applied"
                group.start_soon(one, target, parts, level)

    def token(self, written: Sequence[Written]) -> dict[str, str]:
        """The header that lets a search wait for these writes."""
        ends: dict[str, Written] = {}
        for part in written:
            last = ends.get(part.target.log)
            if last is None or last.appended.end < part.appended.end:
                ends[part.target.log] = part
        incarnation = self.buffer.incarnation
        made = [
            tokens.Token(
                part.target.index, part.target.uuid, part.target.pipeline, incarnation, log, part.appended.end
            )
            for log, part in ends.items()
        ]
        return {TOKEN: tokens.encode(made)} if made else {}

    def id_prefix(self, target: Target) -> str:
        """What comes before the record's number in a derived id, as the index derives it."""
        key = "\0".join((target.pipeline, partition_of(self.buffer.incarnation, target.log)))
        return blake2b(key.encode(), digest_size=8).hexdigest()[:11] + "-"


@contextmanager
def storing() -> Iterator[None]:
    """A buffer that cannot write for now is a 503 that says why; one that is full says 429 itself."""
    try:
        yield
    except Retryable as error:
        after = max(1, round(error.after or DISK_FULL_SECONDS))
        reason = f"the buffer cannot be written: {error}; nothing was accepted, try again later"
        raise RequestError(503, "buffer_unavailable", reason, retry_after=after) from error


def no_source(request: Request) -> None:
    """An update's answer never holds the document. Raises RequestError where a URL asks for it."""
    given = request.query_params
    if given.get("_source", "false") != "false" or (requests.SOURCE - {"_source"}) & set(given):
        requests.fail("[_source] of an update is not answered; get the document after it")


def too_large_for_key(request: Request, most: int) -> None:
    """Raises RequestError 413 for a key of a body that comes in pieces."""
    if KEY in request.headers:
        reason = (
            f"an {KEY} is kept for bodies of up to {most} bytes; nothing was accepted, send smaller requests"
        )
        raise RequestError(413, "content_too_long_exception", reason)


def took(started: float) -> int:
    """Milliseconds since `started` (of `time.perf_counter`)."""
    return round((time.perf_counter() - started) * 1000)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, neighbours made one."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((first, end))
    return joined


def _seconds(given: str | None, default: float) -> float:
    """A time value of a URL, bounded; `-1` and `0` wait as long as is allowed, and not at all."""
    if given is None:
        return default
    if given == "-1":
        return LONGEST_WAIT
    try:
        return min(LONGEST_WAIT, float(Duration(given)) if given != "0" else 0.0)
    except ValueError:
        requests.fail(
            f"failed to parse setting [timeout] with value [{given}] as a time value; write 30s or 500ms"
        )
