"""One run of a pipeline: read → decode and transform → deliver, from the committed positions on.

A run ends when its source has no more, when it is told to drain, when its index rolled back, or with an
error. It never ends with rows delivered and unaccounted for: whoever starts the next run flushes first.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
from anyio import CapacityLimiter

from headrace.core.channel import Budget, Channel, Closed
from headrace.core.errors import EndOfInput, Fatal, HeadraceError, Retryable
from headrace.core.log import bind, event
from headrace.core.telemetry import span
from headrace.index.base import Preparing
from headrace.ingest.base import Source
from headrace.model import Batch, RawBatch
from headrace.pipeline.cadence import Usual
from headrace.pipeline.commit import IndexOwner
from headrace.pipeline.delivery import Delivery, note_in_flight, unread, with_originals
from headrace.pipeline.guard import Guard, backoff
from headrace.pipeline.plan import Plan
from headrace.pipeline.rollout import Switch

log = logging.getLogger(__name__)

OPEN_TIMEOUT = 60.0
DEAD_LETTER_POLL_SECONDS = 1.0

_batch_numbers = itertools.count(1)

T = TypeVar("T")


class PipelineRun:
    """Runs once; `finished` is true when the source had no more and everything is committed."""

    def __init__(
        self,
        pipeline: str,
        source: Source,
        compile_plan: Callable[[RawBatch | None], Plan],
        owner: IndexOwner,
        *,
        guard: Guard,
        budget: Budget,
        channel_records: int,
        channel_bytes: int,
        dead_letter_limit: int,
        threads: CapacityLimiter,
        pause: Callable[[str | None], None],
        switch: Switch | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.alive = True
        self.finished = False
        self._source = source
        self._compile_plan = compile_plan
        self._owner = owner
        self._guard = guard
        self._clock = guard.clock
        self._metrics = guard.metrics
        self._budget = budget
        self._dead_letters = owner.dead_letters
        self._dead_letter_limit = dead_letter_limit
        self._threads = threads
        self._own_thread = CapacityLimiter(1)
        self._pause = pause
        self._switch = switch
        self._channel: Channel[RawBatch] = Channel(
            f"raw:{pipeline}", max_records=channel_records, max_bytes=channel_bytes
        )
        self._scope = anyio.CancelScope()
        self._opening = anyio.CancelScope()
        self._reading = anyio.CancelScope()
        self._holding = anyio.CancelScope()
        self._plan: Plan | None = None
        self._moved = anyio.Event()
        self._taken = anyio.Event()
        self._work = Usual()
        self._error: HeadraceError | None = None

    # What the owner and the supervisor call

    def rewind(self, reason: str) -> None:
        self.alive = False
        self._error = self._error or Retryable(reason)
        self._scope.cancel()

    def taken(self) -> None:
        self._taken.set()

    def committed(self) -> None:
        self._moved.set()

    def drain(self) -> None:
        """Stop reading; what was read goes on to the index. Whoever waits for a peer waits no longer."""
        for scope in (self._opening, self._reading, self._holding):
            scope.cancel()

    @property
    def channel_fill(self) -> float:
        return self._channel.fill_ratio

    @property
    def lag(self) -> int | None:
        return self._source.lag()

    async def run(self) -> None:
        """Raises Retryable (start again after the committed positions) or Fatal."""
        self._owner.attach(self)
        try:
            with self._scope:
                await self._run_stages()
        finally:
            self._owner.detach(self)
            with anyio.CancelScope(shield=True):
                await self._source.close()
                self._drop_unread()
                if self._plan is not None:
                    self._plan.close()
        if self._error is not None:
            raise self._error

    async def _run_stages(self) -> None:
        positions = self._owner.positions(self.pipeline)
        with self._opening:
            await self._while_off()
            await self._guard.call(lambda: self._source.open(positions), timeout=OPEN_TIMEOUT)
            sample = await self._guard.call(self._source.sample, timeout=OPEN_TIMEOUT)
            if sample is not None:
                self._plan = await self._in_thread(partial(self._compile_plan, sample))
        if self._opening.cancelled_caught:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._acknowledge)
            async with anyio.create_task_group() as stages:
                # What was read before a source failed is good, and goes on to the index.
                stages.start_soon(partial(self._stage, self._read, at_once=False))
                stages.start_soon(self._stage, self._transform)
            tasks.cancel_scope.cancel()
        await self._owner.flush()

    async def _stage(self, stage: Callable[[], Awaitable[None]], *, at_once: bool = True) -> None:
        """Run a stage; its error ends this run, and no other. Not `at_once`: after what came before it."""
        try:
            await stage()
        except HeadraceError as error:
            self._error = self._error or error
        except Exception as error:  # noqa: BLE001  a bug of ours ends one pipeline, not the process
            event(log.error, "pipeline.faulted", pipeline=self.pipeline, exc_info=error)
            fault = f"a fault in the pipeline, see the log: {type(error).__name__}: {error}"
            self._error = self._error or Fatal(fault)
        else:
            return
        if at_once:
            self._scope.cancel()

    async def _read(self) -> None:
        started = self._clock.monotonic()
        try:
            with self._reading:
                while True:
                    await self._while_off()
                    raw = await self._guard.call(self._source.read, waits=True)
                    await self._while_off()  # it may have waited for records since before the flag went off
                    started = self._note("read", "starved", started)
                    self._taken = anyio.Event()
                    await self._hand_over(raw)
                    if raw.caught_up:
                        # What comes meanwhile is one larger batch a little later, and never waits in line.
                        await self._taken.wait()
                        await self._owner.wanted(self._work.seconds)
                    started = self._note("read", "blocked", started)
        except EndOfInput:
            self.finished = True
        finally:
            self._channel.close()

    async def _hand_over(self, raw: RawBatch) -> None:
        """Pass a batch on when there is room for it. Its span is that wait: its records came before."""
        with span(
            "read",
            pipeline=self.pipeline,
            partition=raw.partition,
            first_record=raw.first_record,
            bytes=raw.size,
        ) as trace:
            await self._budget.reserve(raw.size)
            await self._pass_on(raw if trace is None else replace(raw, trace=trace))

    async def _while_off(self) -> None:
        if self._switch is not None:
            await self._switch.wait_until_on()

    async def _pass_on(self, raw: RawBatch) -> None:
        records = raw.position.record - raw.first_record
        try:
            # What a source that keeps up would give in many little batches is one larger batch a little
            # later: none of them waits in line, and under load they grow by themselves.
            await self._channel.put(raw, records=records, size=raw.size, alone=raw.caught_up)
        except BaseException:
            self._budget.release(raw.size)
            raise
        self._metrics.bytes.labels(pipeline=self.pipeline, stage="read", direction="in").inc(raw.size)
        note_in_flight(self._metrics, self.pipeline, 0, raw.size)

    async def _transform(self) -> None:
        started = self._clock.monotonic()
        while True:
            try:
                raw = await self._channel.get()
            except Closed:
                return
            started = self._note("transform", "starved", started)
            delivered = False
            try:
                with span("transform", parent=raw.trace, pipeline=self.pipeline, bytes=raw.size):
                    batch = await self._processed(raw)
                if raw.caught_up:
                    self._work.took(self._clock.monotonic() - started)
                note_in_flight(self._metrics, self.pipeline, batch.records, 0)
                started = self._note("transform", "busy", started)
                await self._room_for_dead_letters(batch)
                await self._owner.channel.put(
                    Delivery(batch, self), records=batch.rows, size=raw.size, alone=raw.caught_up
                )
                delivered = True
            except Closed:
                raise self._owner.error or Fatal("the index is closed") from None
            finally:
                if not delivered:
                    self._budget.release(raw.size)
                    note_in_flight(self._metrics, self.pipeline, 0, -raw.size)
            started = self._note("transform", "blocked", started)

    async def _processed(self, raw: RawBatch) -> Batch:
        """The transformed batch. A step that lacks its service holds it here: nothing is read twice."""
        if self._plan is None:
            self._plan = await self._in_thread(partial(self._compile_plan, raw))
        plan = self._plan
        # A thread that waits for a slow service is none of those that all pipelines share for their work.
        threads = self._own_thread if plan.waits else self._threads
        for failures in itertools.count(1):
            try:
                batch = await self._in_thread(partial(self._process, raw, plan), threads)
            except Retryable as error:
                if self._reading.cancel_called:
                    raise  # what is held when the service stops is read again at the next start
                await self._hold(error, max(error.after or 0.0, backoff(self._guard.policy, failures)))
                continue
            if failures > 1 and not self._reading.cancel_called:
                self._pause(None)
                event(log.info, "pipeline.resumed", pipeline=self.pipeline)
            return batch
        raise AssertionError("unreachable")

    async def _hold(self, error: Retryable, wait: float) -> None:
        self._pause(f"held, nothing is lost: {error}")
        event(log.warning, "pipeline.held", pipeline=self.pipeline, wait_s=round(wait, 3), error=str(error))
        self._holding = anyio.CancelScope()
        with self._holding:
            await self._clock.sleep(wait)

    def _process(self, raw: RawBatch, plan: Plan) -> Batch:
        """Decode, transform and prepare one batch, in a worker thread."""
        identity = f"{self.pipeline}-{next(_batch_numbers)}"
        with bind(batch=identity):
            decoded = raw.decoder.decode(raw)
            passed = plan.run(decoded.frames)
            frames = tuple(frame for frame in passed.frames if frame.height)
            originals = with_originals(raw, [*decoded.rejections, *passed.rejections])
            self._count(decoded.records, len(originals), passed.dropped)
            batch = Batch(
                identity, self.pipeline, raw, frames, decoded.records, originals, passed.dropped, decoded
            )
            index = self._owner.index
            return index.prepare(batch) if isinstance(index, Preparing) else batch

    def _count(self, read: int, rejected: int, dropped: int) -> None:
        count = self._metrics.records.labels
        count(pipeline=self.pipeline, stage="read", outcome="read").inc(read)
        count(pipeline=self.pipeline, stage="transform", outcome="rejected").inc(rejected)
        count(pipeline=self.pipeline, stage="transform", outcome="dropped").inc(dropped)

    async def _room_for_dead_letters(self, batch: Batch) -> None:
        """At the limit the pipeline pauses: a record that cannot be kept is not thrown away."""
        if not batch.rejections or self._dead_letters.kept(self.pipeline) < self._dead_letter_limit:
            return
        self._pause(
            f"{self._dead_letter_limit:,} dead letters, the limit of pipeline {self.pipeline}: "
            "look at them with `headrace dlq list`, then delete them with `headrace dlq purge` "
            "(or DELETE /api/pipelines/NAME/dead-letters), or raise `dead_letter_limit`"
        )
        event(log.warning, "pipeline.paused", pipeline=self.pipeline, reason="dead_letters_full")
        while self._dead_letters.kept(self.pipeline) >= self._dead_letter_limit:
            await self._clock.sleep(DEAD_LETTER_POLL_SECONDS)
        self._pause(None)

    async def _acknowledge(self) -> None:
        while True:
            await self._moved.wait()
            self._moved = anyio.Event()
            acknowledge = partial(self._source.acknowledge, self._owner.durable_positions(self.pipeline))
            await self._stage(partial(self._guard.call, acknowledge))

    async def _in_thread(self, work: Callable[[], T], threads: CapacityLimiter | None = None) -> T:
        """Run CPU work beside the event loop; an unclassified error is a fault of the component."""
        try:
            return await anyio.to_thread.run_sync(work, limiter=threads or self._threads)
        except HeadraceError:
            raise
        except Exception as error:
            event(log.error, "component.faulted", dependency=f"transform:{self.pipeline}", exc_info=error)
            raise Fatal(f"a step of pipeline {self.pipeline} failed: {error}") from error

    def _note(self, stage: str, state: str, since: float) -> float:
        now = self._clock.monotonic()
        labels = {"pipeline": self.pipeline, "stage": stage, "state": state}
        self._metrics.stage_seconds.labels(**labels).inc(now - since)
        return now

    def _drop_unread(self) -> None:
        for raw in unread(self._channel):
            self._budget.release(raw.size)
            note_in_flight(self._metrics, self.pipeline, 0, -raw.size)
