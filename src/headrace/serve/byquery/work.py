"""One write by query under way: pieces of what one commit holds, each appended, applied and counted in turn.

A piece is in memory at a time, and the next one is read when it is applied, so that a large request holds up
nobody else's writes, and a full buffer holds up only it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from headrace.buffer.base import BULK, BulkHead, Entry, pack_head
from headrace.core.errors import RequestError
from headrace.model import Outcome
from headrace.serve import searches
from headrace.serve.byquery.options import Asked
from headrace.serve.names import Target
from headrace.serve.push import Push, Wanted, Written, took
from headrace.serve.reads import Reads
from headrace.serve.responses import json_response
from headrace.serve.searches import Part
from headrace.serve.threads import in_thread

RETRIES: Final = 10
"""Times that a piece refused for want of room is tried again, as in Elasticsearch."""

LONGEST_PAUSE: Final = 5.0
MOST_FAILURES: Final = 1000
"""Conflicts named one by one in an answer; the count has them all."""

TOUCH: Final = '{"doc":{},"detect_noop":false}'
"""An update that changes nothing: the stored document is indexed again, and passes no transform twice."""


@dataclass(slots=True)
class Counts:
    """What an answer counts."""

    total: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    noops: int = 0
    conflicts: int = 0
    batches: int = 0
    retries: int = 0
    throttled: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)


class Work:
    """Finds, writes and counts. `searchable`: refreshed before it is answered."""

    def __init__(self, reads: Reads, push: Push, request: Request, asked: Asked) -> None:
        self.reads = reads
        self.push = push
        self.request = request
        self.asked = asked
        self.counts = Counts()
        self._started = time.perf_counter()
        self._written: dict[str, Written] = {}

    async def run(self, op: str) -> Response:
        """Delete (`d`) or index again (`u`) what the named indexes hold of the query. Raises RequestError."""
        self.push.check_open()
        parts = await self.reads.parts(self.request)
        targets = {part.name: await self.push.target(part.name) for part in parts}
        await self.count(parts)
        left = self.asked.most
        for part in parts:
            async for frame in frames(part, self.asked, left):
                left = None if left is None else left - frame.height
                await self.write(
                    targets[part.name], entry(targets[part.name], op, frame), frame["_id"].to_list()
                )
                if self.ended:
                    return await self.answer(op)
        return await self.answer(op)

    @property
    def ended(self) -> bool:
        """Whether something ended it before its end."""
        return bool(self.counts.failures)

    async def count(self, parts: Sequence[Part]) -> None:
        """`total`; what no query can be says so here, before anything is written."""
        found = await in_thread(lambda: searches.count(parts, self.asked.query))
        self.counts.total = found if self.asked.most is None else min(found, self.asked.most)

    async def write(self, target: Target, written: Entry, ids: Sequence[str]) -> None:
        """Append one piece, wait until it is applied, and count what became of it. Raises RequestError."""
        began = self.reads.clock.monotonic()
        [appended] = await self._append(written)
        part = self._written[target.log] = Written(target, appended, waits=True)
        await self.push.settle([part], Wanted("durable", force=False, within=self.push.limits.within))
        self.counts.batches += 1
        if part.unknown is not None:
            raise self._broken(part.unknown)
        for record, name in zip(range(appended.first, appended.end), ids, strict=True):
            self._take(target, name, part.outcomes.get(record))
        await self._throttle(len(ids), began)

    async def _append(self, written: Entry) -> Any:
        while True:
            self.push.check_open()
            try:
                with self.push.in_flight.hold(len(written.body), self.push.limits.in_flight):
                    return await self.push.append([written], len(written.body))
            except RequestError as error:
                if error.status != 429 or self.counts.retries >= RETRIES:
                    raise self._broken(error) from error
                self.counts.retries += 1
                await self.reads.clock.sleep(min(error.retry_after or 1, LONGEST_PAUSE))

    def _take(self, target: Target, name: str, outcome: Outcome | None) -> None:
        if outcome is None:
            raise self._broken(RequestError(503, "outcome_unknown", "what became of a document was not said"))
        counts = self.counts
        # A document that is gone by now is one that was changed meanwhile.
        if outcome.status == 409 or (outcome.status == 404 and outcome.kind):
            counts.conflicts += 1
            if not self.asked.proceed:
                self._failed(target, name, 409, "version_conflict_engine_exception", outcome.reason)
        elif outcome.kind:
            self._failed(target, name, outcome.status, outcome.kind, outcome.reason)
        elif outcome.result == "noop":
            counts.noops += 1
        elif outcome.result in ("created", "updated", "deleted"):
            setattr(counts, outcome.result, getattr(counts, outcome.result) + 1)
        else:
            # A delete without a condition of what is gone: nothing was there to be deleted.
            counts.conflicts += 1

    def _failed(self, target: Target, name: str, status: int, kind: str, reason: str) -> None:
        if len(self.counts.failures) >= MOST_FAILURES:
            return
        cause = {
            "type": kind,
            "reason": reason,
            "index_uuid": target.uuid,
            "shard": "0",
            "index": target.index,
        }
        self.counts.failures.append({"index": target.index, "id": name, "cause": cause, "status": status})

    def _broken(self, error: RequestError) -> RequestError:
        """The error of a request that ends in the middle, with how far it came."""
        done = self.counts.created + self.counts.updated + self.counts.deleted
        if not done:
            return error
        reason = f"{error.reason}; {done} of {self.counts.total} documents were written before it"
        return RequestError(error.status, error.kind, reason, retry_after=error.retry_after)

    async def _throttle(self, documents: int, began: float) -> None:
        if self.asked.rate is None:
            return
        pause = began + documents / self.asked.rate - self.reads.clock.monotonic()
        if pause > 0:
            self.counts.throttled += pause
            await self.reads.clock.sleep(pause)

    async def answer(self, op: str) -> Response:
        """Elasticsearch's words for all that was done; 409 or another status where something ended it."""
        if self.asked.refresh:
            for part in self._written.values():
                await self.push.applier.wait(part.target, part.appended.end, level="visible", force=True)
        status = max((failure["status"] for failure in self.counts.failures), default=200)
        body = _body(self.counts, op, took(self._started), self.asked.rate)
        return json_response(self.request, body, status, self.push.token(list(self._written.values())))


def _body(counts: Counts, op: str, milliseconds: int, rate: float | None) -> dict[str, Any]:
    changed: dict[str, int] = {"deleted": counts.deleted}
    if op != "d":
        changed = {"updated": counts.updated, **changed}
    if op == "i":
        changed = {"updated": counts.updated, "created": counts.created, "deleted": counts.deleted}
    return {
        "took": milliseconds,
        "timed_out": False,
        "total": counts.total,
        **changed,
        "batches": counts.batches,
        "version_conflicts": counts.conflicts,
        "noops": counts.noops,
        "retries": {"bulk": counts.retries, "search": 0},
        "throttled_millis": round(counts.throttled * 1000),
        "requests_per_second": -1.0 if rate is None else rate,
        "throttled_until_millis": 0,
        "failures": counts.failures,
    }


async def frames(part: Part, asked: Asked, most: int | None) -> AsyncIterator[pl.DataFrame]:
    """What one commit holds of a query, at most a piece at a time, each read beside the event loop."""
    found = _limited(part.view.scan(searches.narrowed(asked.query, part.filter), asked.piece), most)
    while (frame := await in_thread(lambda: next(found, None))) is not None:
        yield frame


def _limited(found: Iterator[pl.DataFrame], most: int | None) -> Iterator[pl.DataFrame]:
    for frame in found:
        if most is None:
            yield frame
            continue
        if most <= 0:
            return
        yield frame.head(most)
        most -= frame.height


def entry(target: Target, op: str, frame: pl.DataFrame) -> Entry:
    """Deletes, or updates that change nothing, each on condition that the document is the one found."""
    count = frame.height
    touches = dict.fromkeys(range(count), TOUCH) if op == "u" else {}
    if_seq = dict(enumerate(frame["_seq"].to_list()))
    head = BulkHead(op * count, frame["_id"].to_list(), touches, if_seq, exact=True)
    return Entry(target.log, count, BULK, b"\n" * count, pack_head(head))
