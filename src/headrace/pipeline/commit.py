"""The owner of an index: the one task that writes to it, commits, and remembers positions.

Everything that feeds an index goes through its owner's channel, so one writer commits and rolls back
everybody's rows together. A run whose index rolled back is told to end and start again after the committed
positions; what it still had in the channel is dropped unread.
"""

from __future__ import annotations

import logging
import math

import anyio

from headrace.core.channel import Budget, Channel, Closed
from headrace.core.errors import Fatal, Retryable, Rewound
from headrace.core.health import Health, State
from headrace.core.log import bind, event
from headrace.core.telemetry import span
from headrace.index.base import Applying, Index, Maintainable, Resting, Settling
from headrace.model import Batch, PartitionKey, Position, Rejection, Watermarks
from headrace.pipeline.cadence import (
    CROWDED_SECONDS,
    DISK_POLL_SECONDS,
    LIVE_SECONDS,
    REST_SECONDS,
    RETENTION_SECONDS,
    UNSETTLED_SECONDS,
    Cadence,
)
from headrace.pipeline.capacities import WANTED_SECONDS
from headrace.pipeline.deadletter import DeadLetters, letters, read_again
from headrace.pipeline.delivery import (
    Delivery,
    DiskReserve,
    Flush,
    Run,
    accepted,
    note_in_flight,
    note_written,
    rows_applied,
    unread,
    with_originals,
)
from headrace.pipeline.guard import Guard, backoff
from headrace.pipeline.progress import Progress, positions_of, records_of

log = logging.getLogger(__name__)


class IndexOwner:
    """Writes and commits one index; `watermarks` is what it has committed."""

    def __init__(
        self,
        name: str,
        index: Index,
        *,
        pipelines: frozenset[str],
        guard: Guard,
        budget: Budget,
        dead_letters: DeadLetters,
        disk: DiskReserve,
        health: Health,
        channel_records: int,
        channel_bytes: int,
        commit_interval: float,
    ) -> None:
        self.name = name
        self.index = index
        self.dead_letters = dead_letters
        self.health = health
        self._pipelines = pipelines
        self.channel: Channel[Delivery | Flush] = Channel(
            f"index:{name}", max_records=channel_records, max_bytes=channel_bytes
        )
        self.watermarks = Watermarks()
        self.progress = Progress()
        self.opened = anyio.Event()
        self.closed = anyio.Event()
        self.error: Fatal | None = None
        health.set(f"index:{name}", State.STARTING, "opening")
        self._guard = guard
        self._budget = budget
        self._disk = disk
        self._clock = guard.clock
        self._metrics = guard.metrics
        self._cadence = Cadence(commit_interval)
        self._runs: set[Run] = set()
        self._pending: list[Batch] = []
        self._wanted = anyio.Event()
        self._rewinds = 0
        self._buried = False
        self._catching_up = ""
        self._rests_at = float("inf")
        self._retained_at = guard.clock.monotonic()

    # What pipelines call

    def attach(self, run: Run) -> None:
        self._runs.add(run)

    def detach(self, run: Run) -> None:
        self._runs.discard(run)

    def positions(self, pipeline: str) -> dict[str, Position]:
        """Committed positions of a pipeline, by partition: where its source goes on."""
        return positions_of(pipeline, self.watermarks.visible)

    def durable_positions(self, pipeline: str) -> dict[str, Position]:
        """Those that a power loss does not take back: what its source may forget."""
        return positions_of(pipeline, self.watermarks.durable)

    async def promise(self, key: PartitionKey, record: int) -> bool:
        """Before somebody is told that it is visible. See `index.base.Settling`."""
        return not isinstance(self.index, Settling) or await self.index.promise(key, record)

    async def wanted(self, work: float) -> None:
        """Wait until a batch that is ready `work` seconds later would soon be written, though not for long.

        Who keeps up reads then, so that records wait as one larger batch where they are, and not in line.
        """
        with anyio.move_on_after(WANTED_SECONDS):
            await self._wanted.wait()
            now = self._clock.monotonic()
            await self._clock.sleep(max(0.0, self._cadence.read_at(work, now) - now))

    async def flush(self) -> None:
        """Wait until everything delivered before is committed. Raises Fatal if the owner has failed."""
        flush = Flush()
        try:
            await self.channel.put(flush, records=0, size=0)
        except Closed:
            raise self.error or Fatal(f"index {self.name} is closed") from None
        await flush.done.wait()
        if self.error is not None:
            raise self.error

    # The owner's task

    async def run(self) -> None:
        """Open, then write and commit until the channel is closed."""
        try:
            self.watermarks = await self._guard.call(self.index.open)
            self.progress.committed(self.watermarks)
            await self._guard.call(self._recover_dead_letters)
            self._is_well()
            self.opened.set()
            await self._loop()
        except (Fatal, Retryable) as error:
            self._fail(error)
        finally:
            with anyio.CancelScope(shield=True):
                await self.index.close()
            self.closed.set()

    def _fail(self, error: Fatal | Retryable) -> None:
        self.error = error if isinstance(error, Fatal) else Fatal(str(error))
        self.health.set(f"index:{self.name}", State.FAILED, str(error))
        event(log.error, "index.failed", index=self.name, error=str(error))
        self.opened.set()
        self.channel.close()
        for run in tuple(self._runs):
            run.rewind(f"index {self.name} failed: {error}")
        for item in unread(self.channel):
            self._discard(item)

    async def _loop(self) -> None:
        while True:
            item: Delivery | Flush | None = None
            if not len(self.channel):
                self._wanted.set()
            with anyio.move_on_after(self._wait()):
                try:
                    item = await self.channel.get()
                except Closed:
                    break
                self._wanted = anyio.Event()
            try:
                await self._handle(item)
            except Rewound as error:
                await self._rewind(error)
            if isinstance(item, Flush):
                item.done.set()
        try:
            await self._commit()
        except Rewound as error:
            event(log.error, "index.rewound", index=self.name, error=str(error), next="read again at start")

    async def _handle(self, item: Delivery | Flush | None) -> None:
        if isinstance(item, Delivery):
            await self._write(item)
        if item is None or isinstance(item, Flush) or self._wait() <= 0:
            await self._commit()

    def _wait(self) -> float:
        """Seconds until the next commit is due; infinite with nothing written."""
        if not self._pending:
            rest = self._rests_at - self._clock.monotonic()
            look = CROWDED_SECONDS if rest < math.inf else rest
            return max(0.0, min(self._retention_due(), rest, look, self._settling_due()))
        due = self._cadence.due(more=len(self.channel) > 0)
        return max(0.0, due - self._clock.monotonic())

    def _retention_due(self) -> float:
        if not isinstance(self.index, Maintainable):
            return float("inf")
        return self._retained_at + RETENTION_SECONDS - self._clock.monotonic()

    def _settling_due(self) -> float:
        """Seconds until the next look at what is durable by now."""
        if not (isinstance(self.index, Settling) and self.index.is_live):
            return float("inf")
        return UNSETTLED_SECONDS if self.watermarks.durable != self.watermarks.visible else LIVE_SECONDS

    async def _write(self, delivery: Delivery) -> None:
        batch, run = delivery.batch, delivery.run
        run.taken()
        if not run.alive:
            self._discard(delivery)
            return
        try:
            with bind(batch=batch.id):
                await self._room_on_disk()
                started = self._clock.monotonic()
                with span(
                    "index.write", parent=batch.raw.trace, index=self.name, batch=batch.id, rows=batch.rows
                ):
                    rejected = await self._write_or_rewind(batch)
                outcomes = self.index.outcomes() if isinstance(self.index, Applying) else []
                seconds = self._clock.monotonic() - started
                note_written(
                    self._metrics, batch, len(rejected), rows_applied(batch, rejected, outcomes), seconds
                )
                batch = accepted(batch, outcomes).with_rejections(with_originals(batch.raw, rejected))
                if batch.rejections or batch.raw.again:
                    await self._bury(batch)
        finally:
            self._budget.release(batch.raw.size)
        self._pending.append(batch)
        self._cadence.wrote(
            batch.rows,
            now=self._clock.monotonic(),
            age=self._clock.time() - batch.raw.accepted_at,
            caught_up=batch.raw.caught_up,
            took=seconds,
        )
        # After its dead letters are written: who is told of an outcome may look at them at once.
        self.progress.applied((batch.pipeline, batch.raw.partition), batch.raw.position.record, outcomes)

    async def _write_or_rewind(self, batch: Batch) -> list[Rejection]:
        try:
            # Retryable is raised before anything was written; a fault of the index's code becomes Fatal.
            return await self._guard.call(lambda: self.index.write(batch))
        except Rewound:
            self._landed(batch)
            raise

    async def _bury(self, batch: Batch) -> None:
        """Write the dead letters before the commit that covers them (PROTOCOL 15)."""
        written = letters(batch, self._clock.time())
        component = f"dead_letters:{self.name}"
        while True:
            try:
                await anyio.to_thread.run_sync(self.dead_letters.append, written, read_again(batch))
            except Retryable as error:
                self.health.set(component, State.DEGRADED, f"waiting: {error}")
                await self._clock.sleep(DISK_POLL_SECONDS)
            else:
                self.health.set(component, State.READY)
                return

    async def _recover_dead_letters(self) -> None:
        """Those above the committed positions come again: delete them."""
        committed = records_of(self.watermarks.visible)
        await anyio.to_thread.run_sync(self.dead_letters.open, committed, self._pipelines)

    async def _commit(self) -> None:
        if not await self._retain() and not self._pending:
            await self._look_at_settled()
            await self._rest()
            return
        started = self._clock.monotonic()
        covered = [batch.raw.trace for batch in self._pending]
        with span("commit", links=covered, index=self.name, batches=len(covered)):
            # What is read and decoded meanwhile is written as soon as this has ended.
            self._cadence.committing(started)
            self._wanted.set()
            self.watermarks = await self._guard.call(self.index.commit)
        ended = self._clock.monotonic()
        self._cadence.committed(started, ended)
        self._rests_at = ended + REST_SECONDS
        self._metrics.commit_seconds.labels(index=self.name).observe(ended - started)
        self.progress.committed(self.watermarks)
        done, self._pending = self._pending, []
        await self._confirm(done)
        if self._rewinds or self._catching_up:
            self._rewinds = 0
            self._is_well()

    def _is_well(self) -> None:
        """Ready; or, after a power loss, starting until its sources have been read as far as before."""
        self._catching_up = self.index.catching_up if isinstance(self.index, Settling) else ""
        state = State.STARTING if self._catching_up else State.READY
        self.health.set(f"index:{self.name}", state, self._catching_up)

    async def _look_at_settled(self) -> None:
        before = self.watermarks
        unsettled = before.durable != before.visible
        if not (isinstance(self.index, Settling) and (self.index.is_live or unsettled)):
            return
        self.watermarks = await self._guard.call(self.index.settled)
        if self.watermarks.durable != before.durable:
            await self._durable_moved()

    async def _durable_moved(self) -> None:
        """Dead letters become real, and sources may forget."""
        if self._buried:
            durable = records_of(self.watermarks.durable)
            await self._guard.call(lambda: anyio.to_thread.run_sync(self.dead_letters.confirm, durable))
            self._buried = self.watermarks.durable != self.watermarks.visible
        for run in self._runs:
            run.committed()

    async def _confirm(self, done: list[Batch]) -> None:
        """After a commit: latencies are known, and what is durable is told."""
        self._buried = self._buried or any(batch.rejections for batch in done)
        now = self._clock.time()
        for batch in done:
            self._metrics.end_to_end_seconds.labels(pipeline=batch.pipeline).observe(
                max(0.0, now - batch.raw.accepted_at)
            )
            self._landed(batch)
        await self._durable_moved()
        for pipeline in {batch.pipeline for batch in done}:
            imbalance = sum(
                ledger.imbalance for (name, _), ledger in self.watermarks.ledgers.items() if name == pipeline
            )
            self._metrics.ledger_imbalance.labels(pipeline=pipeline).set(imbalance)

    async def _retain(self) -> bool:
        if self._retention_due() > 0 or not isinstance(self.index, Maintainable):
            return False
        self._retained_at = self._clock.monotonic()
        deleted = await self._guard.call(self.index.retain)
        if deleted:
            event(log.info, "index.retained", index=self.name, deleted=deleted)
        return deleted > 0

    async def _rest(self) -> None:
        if not isinstance(self.index, Resting):
            return
        sooner = REST_SECONDS - CROWDED_SECONDS if self.index.crowded else 0.0
        if self._clock.monotonic() >= self._rests_at - sooner:
            self._rests_at = float("inf")
            await self._guard.call(self.index.rest)
            await self._look_at_settled()

    async def _room_on_disk(self) -> None:
        if not (missing := self._disk.missing()):
            return
        reason = f"disk of {self._disk.path} is nearly full: free {missing:,} more bytes, then it goes on"
        self.health.set(f"index:{self.name}", State.DEGRADED, reason)
        event(log.warning, "index.paused", index=self.name, missing_bytes=missing)
        while self._disk.missing():
            await self._clock.sleep(DISK_POLL_SECONDS)
        self.health.set(f"index:{self.name}", State.READY)
        event(log.info, "index.resumed", index=self.name)

    async def _rewind(self, error: Rewound) -> None:
        """The index is back at its last commit: tell every run, wait a little longer each time."""
        self._rewinds += 1
        self.watermarks = Watermarks(error.positions, error.durable, self.watermarks.ledgers)
        self.progress.rewound(self.watermarks)
        for batch in self._pending:
            self._landed(batch)
        self._pending = []
        self._cadence.restart()
        wait = backoff(self._guard.policy, self._rewinds)
        event(log.warning, "index.rewound", index=self.name, error=str(error), wait_s=round(wait, 3))
        fault = "the disk is full, waiting for room" if error.disk_full else f"rolled back: {error}"
        self.health.set(f"index:{self.name}", State.DEGRADED, fault)
        if isinstance(self.index, Settling) and self.index.catching_up:
            self._is_well()
        for run in tuple(self._runs):
            run.rewind(str(error))
        await self._guard.call(self._recover_dead_letters)
        await self._clock.sleep(wait)

    def _discard(self, item: Delivery | Flush) -> None:
        if isinstance(item, Flush):
            item.done.set()
            return
        self._budget.release(item.batch.raw.size)
        self._landed(item.batch)

    def _landed(self, batch: Batch) -> None:
        note_in_flight(self._metrics, batch.pipeline, -batch.records, -batch.raw.size)
