"""The source `http_push`: reads one log of the durable buffer, from the committed record on.

It waits for a knock, and looks again by itself all the same: soon while pushes come, rarely when none do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import anyio.to_thread

from headrace.buffer.acks import acknowledge
from headrace.buffer.reader import LogReader, open_log
from headrace.core.errors import EndOfInput, Fatal, HeadraceError, Retryable
from headrace.core.together import first_of
from headrace.ingest.base import Guarantee, SourceContext
from headrace.ingest.http_push import waking
from headrace.ingest.http_push.log import Log
from headrace.ingest.http_push.options import Settings
from headrace.ingest.http_push.waking import Sign, Waking, sign_of
from headrace.layout import buffer_directory, wake_path
from headrace.model import Position, RawBatch

SOON: Final = 0.02
"""Seconds between two looks while pushes come: a request may be waiting for its outcome (PROTOCOL 12)."""

RARELY: Final = 0.25
ACTIVE: Final = 1.0
"""Seconds after its last batch for which a source looks soon."""

IN_VAIN: Final = 3
"""After so many knocks in a row that were for other logs, one looks after a pause instead."""

SHARERS: Final = 4
"""So many sources may look every SOON while others' pushes knock; more of them look more rarely."""

MADE: Final = "push:"
"""Pipelines of indexes made at run time are called this and the index's name; their logs are UUIDs."""


class HttpPushSource:
    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._name = settings.log or context.pipeline
        self._directory = buffer_directory(context.data_dir)
        self._log: Log | None = None
        self._ends: LogReader | None = None
        self._waking: Waking | None = None
        self._until = 0
        self._active_until = 0.0
        self._in_vain = 0
        self._acknowledged = -1
        self._sign: Sign | None = None

    @property
    def guarantee(self) -> Guarantee:
        return Guarantee(replayable=True, stable_ids=True)

    @property
    def lost(self) -> int:
        """Records that could not be read since it was opened: released unread, or in a damaged file."""
        return 0 if self._log is None else self._log.lost

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        await self.close()
        self._acknowledged = -1
        self._active_until, self._in_vain, self._sign = 0.0, 0, None
        self._log = self._make(resume_after)
        await anyio.to_thread.run_sync(self._log.begin)
        self._until = self._log.known_end
        self._ends = open_log(self._directory, self._name)
        if not self._context.once:
            self._waking = waking.join(wake_path(self._context.data_dir))

    async def sample(self) -> RawBatch | None:
        if self._log is not None:
            return await self._peek(self._log)
        seen = self._make({})
        try:
            return await self._peek(seen)
        finally:
            await anyio.to_thread.run_sync(seen.close)

    async def read(self) -> RawBatch:
        log = self._log
        if log is None:
            raise Fatal("source http_push is not open")
        knocks = 0
        while not log.ready:
            if self._context.once and log.after >= self._until:
                raise EndOfInput
            knocks = 0 if self._waking is None else self._waking.knocks
            await self._look(log)
            if not log.ready:
                await self._wait(knocks)
        self._active_until = self._context.clock.monotonic() + ACTIVE
        self._in_vain, self._sign = 0, None
        return log.ready.popleft()

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Let the buffer release what this pipeline has in its index."""
        log = self._log
        position = None if log is None else positions.get(log.partition)
        if log is None or position is None or position.record == self._acknowledged:
            return
        durable = {self._name: position.record}
        tell = partial(
            acknowledge, self._directory, self._context.pipeline, durable, incarnation=log.incarnation
        )
        try:
            known = await anyio.to_thread.run_sync(tell)
        except OSError as error:
            raise Retryable(f"cannot note a position in {self._directory}: {error.strerror}") from error
        # A position that nobody was subscribed for yet is told again with the next commit.
        self._acknowledged = position.record if known else -1

    def lag(self) -> int | None:
        """Records accepted and not handed out."""
        if self._log is None or self._ends is None:
            return None
        try:
            end = self._ends.end()
        except HeadraceError:
            end = self._log.known_end  # reading says what is wrong, in its own time
        return max(0, end - (self._log.ready[0].first_record if self._log.ready else self._log.after))

    async def close(self) -> None:
        log, self._log = self._log, None
        ends, self._ends = self._ends, None
        shared, self._waking = self._waking, None
        if shared is not None:
            shared.leave()
        if ends is not None:
            ends.close()
        if log is not None:
            await anyio.to_thread.run_sync(log.close)

    def _make(self, resume_after: Mapping[str, Position]) -> Log:
        pipeline = self._context.pipeline
        return Log(
            self._directory,
            self._name,
            pipeline=pipeline,
            origin=f"push {pipeline.removeprefix(MADE) if pipeline.startswith(MADE) else self._name}",
            options=self._settings.format,
            hints=self._context.hints,
            batch_bytes=self._context.batch_bytes,
            resume_after=resume_after,
        )

    async def _peek(self, log: Log) -> RawBatch | None:
        """The next batch, left where it is."""
        if not log.ready:
            await anyio.to_thread.run_sync(log.look)
        return log.ready[0] if log.ready else None

    async def _look(self, log: Log) -> None:
        """Look, unless no file has changed since before the last look, which found nothing."""
        sign = sign_of(self._directory)
        if sign is not None and sign == self._sign:
            return
        self._sign = None  # a look that fails, or is cancelled, says nothing
        # What the thread finds goes to `ready`: a cancelled read leaves it there for the next one.
        await anyio.to_thread.run_sync(log.look)
        self._sign = sign

    async def _wait(self, knocks: int) -> None:
        """Until there may be something: a knock, or the time of the next look."""
        clock = self._context.clock
        pause = SOON if clock.monotonic() < self._active_until else RARELY
        if self._waking is None:
            await clock.sleep(pause)
        elif self._in_vain < IN_VAIN:
            await first_of([partial(clock.sleep, pause), partial(self._waking.wait, knocks)])
            self._in_vain = self._in_vain + 1 if self._waking.knocks != knocks else 0
        else:
            # A busy log of another pipeline knocks hundreds of times a second.
            await clock.sleep(min(pause, SOON * max(1.0, self._waking.users / SHARERS)))
            self._in_vain = 0 if self._waking.knocks == knocks else IN_VAIN
