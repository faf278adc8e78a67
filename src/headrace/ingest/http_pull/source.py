"""The source `http_pull`: whose turn it is among its partitions, and what to say when one fails.

Each failure is raised once, after the pages that came with it; the runtime decides what follows. A partition
told to wait (`Retry-After`) is left out until then while the others go on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final

from headrace.core.errors import EndOfInput, Fatal, Retryable
from headrace.core.log import event
from headrace.core.together import together
from headrace.ingest.base import Guarantee, SourceContext
from headrace.ingest.http_pull import template
from headrace.ingest.http_pull.exchange import Exchange
from headrace.ingest.http_pull.options import Settings
from headrace.ingest.http_pull.place import Place, from_state
from headrace.ingest.http_pull.pull import Pull, Start
from headrace.model import Position, RawBatch

log = logging.getLogger(__name__)

MOVING: Final = (
    "with counted pages: a record that changes its place from pages not yet read to pages already read is "
    "missed until the next pull (sort by what does not change)"
)


class HttpPullSource:
    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._exchange = Exchange(settings, context.base, context.clock)
        self._pulls: deque[Pull] = deque()
        self._ready: deque[RawBatch] = deque()
        self._failures: deque[Retryable] = deque()
        self._is_open = False

    @property
    def guarantee(self) -> Guarantee:
        """Numbers are stable where the log only grows, or the server's own cursors are followed once."""
        counted = self._settings.pagination.type in {"page", "offset"}
        if self._settings.append_only:
            return Guarantee(replayable=True, stable_ids=True)
        return Guarantee(
            replayable=True,
            stable_ids=self._settings.once and not counted,
            losses=MOVING if counted else "",
        )

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        await self.close()
        self._exchange.open()
        query = template.query(self._settings)
        for values in self._settings.partitions or [{}]:
            start = _start(template.name(self._settings, values), query, resume_after)
            start = self._begun(start)
            self._pulls.append(Pull(self._settings, values, start, self._exchange, self._context))
        self._is_open = True

    async def sample(self) -> RawBatch | None:
        if self._is_open:
            return await self._peek()
        await self.open({})
        try:
            return await self._peek()
        finally:
            await self.close()

    async def read(self) -> RawBatch:
        if not self._is_open:
            raise Fatal("source http_pull is not open")
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._failures:
                raise self._failures.popleft()
            if turns := self._turns():
                await self._ask(turns)
                continue
            await self._context.clock.sleep(self._pause())

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """An API is nobody's to forget."""

    def lag(self) -> int | None:
        return None

    async def close(self) -> None:
        self._is_open = False
        self._pulls.clear()
        self._ready.clear()
        self._failures.clear()
        await self._exchange.close()

    async def _peek(self) -> RawBatch | None:
        """The next batch, left where it is; None when nothing is there now."""
        while not self._ready and not self._failures and (turns := self._turns()):
            await self._ask(turns)
        if self._ready:
            return self._ready[0]
        if self._failures:
            raise self._failures.popleft()
        self._raise_faults()
        return None

    def _begun(self, start: Start) -> Start:
        options = self._settings.watermark
        if start.place.pages or start.place.ended or options is None:
            return start
        place = Place(query=start.place.query, since=options.initial)
        return Start(start.partition, start.record, place)

    def _turns(self) -> list[Pull]:
        """Those that may be asked now, as many as are allowed at once, whose last turn is longest ago."""
        now = self._context.clock.monotonic()
        able = [
            pull for pull in self._pulls if pull.fault is None and pull.due is not None and pull.due <= now
        ]
        turns = able[: self._settings.concurrency]
        for pull in turns:
            self._pulls.remove(pull)
            self._pulls.append(pull)
        return turns

    async def _ask(self, turns: list[Pull]) -> None:
        if len(turns) == 1:
            await self._step(turns[0])
        else:
            await together([partial(self._step, pull) for pull in turns])

    async def _step(self, pull: Pull) -> None:
        """What comes is kept, whatever becomes of the others: a cancelled read loses nothing."""
        try:
            batch = await pull.step()
        except Retryable as error:
            if error.after is not None:
                pull.due = self._context.clock.monotonic() + error.after
            self._failures.append(self._until_others(error))
        except Fatal as error:
            pull.fault = error
            event(log.error, "http_pull.partition_failed", partition=pull.partition, error=str(error))
        else:
            if batch is not None:
                self._ready.append(batch)

    def _until_others(self, error: Retryable) -> Retryable:
        """The same failure, with the wait after which *some* partition may be asked."""
        if error.after is None:
            return error
        return Retryable(str(error), after=min(error.after, self._until_next()))

    def _until_next(self) -> float:
        """Seconds until the next turn of any partition. There is one."""
        waiting = [pull.due for pull in self._pulls if pull.fault is None and pull.due is not None]
        return max(0.0, min(waiting) - self._context.clock.monotonic())

    def _pause(self) -> float:
        """Seconds until there is something to do. Raises what failed, once others have read all."""
        self._raise_faults()
        if all(pull.due is None for pull in self._pulls):
            raise EndOfInput
        return self._until_next()

    def _raise_faults(self) -> None:
        faults = [str(pull.fault) for pull in self._pulls if pull.fault is not None]
        if faults:
            raise Fatal("; ".join(faults))


def _start(name: str, query: str, resume_after: Mapping[str, Position]) -> Start:
    """After the committed position of this log, or at the start of a new one under the next epoch."""
    epochs: dict[int, tuple[Position, Place | None]] = {}
    for partition, position in resume_after.items():
        base, _, number = partition.rpartition("#")
        if base == name and number.isdecimal():
            epochs[int(number)] = position, from_state(position.state)
    for epoch, (position, place) in sorted(epochs.items(), reverse=True):
        if place is not None and place.query == query:
            return Start(f"{name}#{epoch}", position.record, place)
    new = max(epochs, default=-1) + 1
    if new:
        event(
            log.warning,
            "http_pull.epoch_started",
            partition=f"{name}#{new}",
            reason="its options have changed",
        )
    return Start(f"{name}#{new}", 0, Place(query=query))
