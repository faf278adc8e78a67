"""The supervisor: owners and pipelines run, fail, back off and drain, each on its own.

A pipeline whose run failed for now starts again after its committed positions; one that failed for good
stays down and says why; the others never notice. Draining stops the readers, lets what was read reach the
index, commits, and closes; what is not done within the time-out is read again at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence

import anyio
import anyio.abc

from headrace.core.clock import Clock
from headrace.core.errors import ConfigError, Fatal, HeadraceError, Retryable
from headrace.core.health import Health, State
from headrace.core.log import event
from headrace.core.retry import RetryPolicy
from headrace.pipeline.commit import IndexOwner
from headrace.pipeline.guard import backoff
from headrace.pipeline.stages import PipelineRun

log = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
"""A run that lasted this long was a good one: the next failure starts its back-off anew."""


class PipelineKeeper:
    """Keeps one pipeline running: run, back off, run again, until finished, failed or drained."""

    def __init__(
        self,
        name: str,
        owner: IndexOwner,
        make_run: Callable[[PipelineKeeper], PipelineRun],
        *,
        policy: RetryPolicy,
        clock: Clock,
        health: Health,
        blame: Callable[[ConfigError], ConfigError],
    ) -> None:
        self.name = name
        self.owner = owner
        self.restarts = 0
        self.run: PipelineRun | None = None
        self.error: HeadraceError | None = None
        self.finished = False
        self.once = False
        self.ended = anyio.Event()
        self._make_run = make_run
        self._policy = policy
        self._clock = clock
        self._health = health
        self._blame = blame
        health.set(self.component, State.STARTING, "waiting for its index")
        self._draining = False
        self._backoff = anyio.CancelScope()

    @property
    def component(self) -> str:
        return f"pipeline:{self.name}"

    def pause(self, reason: str | None) -> None:
        """Say that the pipeline waits for something; None when it goes on."""
        self._health.set(self.component, State.DEGRADED if reason else State.READY, reason or "")

    def rest(self, reason: str) -> None:
        """Say that the pipeline pauses on purpose; empty when it goes on. A single pass ends without it."""
        self._health.set(self.component, State.READY, reason)
        if reason and self.once and self.run is not None:
            event(log.info, "pipeline.left", pipeline=self.name, reason=reason)
            self._draining = True
            self.run.drain()

    def drain(self) -> None:
        self._draining = True
        self._health.set(self.component, State.DRAINING, "stopping")
        self._backoff.cancel()
        if self.run is not None:
            self.run.drain()

    async def keep(self) -> None:
        """Until finished, failed for good, or drained."""
        try:
            await self._keep()
        finally:
            self.ended.set()

    async def _keep(self) -> None:
        await self.owner.opened.wait()
        failures = 0
        while not self._draining and self.error is None and not self.finished:
            started = self._clock.monotonic()
            try:
                await self._run_once()
            except (Fatal, ConfigError, Retryable) as error:
                later = self._retryable(error)
                if later is None:
                    self._failed(error)
                    continue
                lasted = self._clock.monotonic() - started
                failures = 1 if lasted > STEADY_SECONDS else failures + 1
                await self._start_again_later(later, failures)

    def _retryable(self, error: HeadraceError) -> Retryable | None:
        """The error as one to start again after. A single pass does not wait for a file to be mended."""
        if isinstance(error, Retryable):
            return error
        if isinstance(error, ConfigError) and error.passing and not self.once:
            return Retryable(str(self._blame(error)))
        return None

    async def _run_once(self) -> None:
        if self.owner.error is not None:
            raise self.owner.error
        self.run = self._make_run(self)
        self._health.set(self.component, State.READY, "")
        await self.run.run()
        if self.run.finished:
            self.finished = True
            self._health.set(self.component, State.FINISHED, "everything was read and committed")
            event(log.info, "pipeline.finished", pipeline=self.name)

    def _failed(self, error: HeadraceError) -> None:
        if isinstance(error, ConfigError):
            error = self._blame(error)
        self.error = error
        self._health.set(self.component, State.FAILED, str(error))
        event(log.error, "pipeline.failed", pipeline=self.name, error=str(error))

    async def _start_again_later(self, error: Retryable, failures: int) -> None:
        self.restarts += 1
        try:
            # What this run delivered is written and committed first, or the next run would read it twice.
            await self.owner.flush()
        except Fatal as fatal:
            self._failed(fatal)
            return
        wait = max(error.after or 0.0, backoff(self._policy, failures))
        self._health.set(self.component, State.DEGRADED, f"starts again in {wait:.1f} s: {error}")
        event(
            log.warning,
            "pipeline.restarted",
            pipeline=self.name,
            failures=failures,
            wait_s=round(wait, 3),
            error=str(error),
        )
        with self._backoff:
            await self._clock.sleep(wait)
        self._backoff = anyio.CancelScope()


class Supervisor:
    """Runs every owner and every pipeline until all are finished, or until drained; takes new ones meanwhile.

    `beside` runs as long as pipelines do, and may add and remove some; in a single pass it is to return.
    """

    def __init__(
        self,
        owners: Mapping[str, IndexOwner],
        keepers: Sequence[PipelineKeeper],
        *,
        health: Health,
        drain_timeout: float,
        beside: Callable[[Supervisor], Coroutine[object, object, None]] | None = None,
    ) -> None:
        self.owners = dict(owners)
        self.keepers = list(keepers)
        self.once = False
        self._health = health
        self._drain_timeout = drain_timeout
        self._beside = beside
        self._stop = anyio.Event()
        self._owning: anyio.abc.TaskGroup | None = None
        self._keeping: anyio.abc.TaskGroup | None = None

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Drain: stop reading, commit what was read, close."""
        self._stop.set()

    async def stopped(self) -> None:
        """Wait until told to stop."""
        await self._stop.wait()

    async def run(self, *, until_finished: bool = False) -> None:
        """Until `stop`; or, `until_finished`, until each pipeline is finished, failed or paused by flag."""
        self.once = until_finished
        async with anyio.create_task_group() as self._owning:
            for owner in self.owners.values():
                self._owning.start_soon(owner.run)
            async with anyio.create_task_group() as pipelines:
                scopes = pipelines.cancel_scope, self._owning.cancel_scope
                pipelines.start_soon(self._drain_when_told, *scopes)
                async with anyio.create_task_group() as self._keeping:
                    for keeper in self.keepers:
                        self._keep(keeper)
                    if self._beside is not None:
                        self._keeping.start_soon(self._beside, self)
                if until_finished:
                    self.stop()
            for owner in self.owners.values():
                owner.channel.close()

    def _keep(self, keeper: PipelineKeeper) -> None:
        assert self._keeping is not None
        keeper.once = self.once
        self._keeping.start_soon(keeper.keep)

    def add(self, keeper: PipelineKeeper) -> None:
        """Run one more pipeline, and the owner of its index where that one does not run yet."""
        owner = keeper.owner
        if owner.name not in self.owners:
            assert self._owning is not None
            self.owners[owner.name] = owner
            self._owning.start_soon(owner.run)
        self.keepers.append(keeper)
        self._keep(keeper)

    async def remove(self, keeper: PipelineKeeper, *, with_owner: bool) -> None:
        """Drain a pipeline and forget it; with its index's owner, which nobody else may feed."""
        keeper.drain()
        await keeper.ended.wait()
        self.keepers.remove(keeper)
        self._health.remove(keeper.component)
        if with_owner:
            owner = self.owners.pop(keeper.owner.name)
            owner.channel.close()
            await owner.closed.wait()
            self._health.remove(f"index:{owner.name}")

    async def _drain_when_told(self, *scopes: anyio.CancelScope) -> None:
        await self._stop.wait()
        for keeper in self.keepers:
            if not keeper.finished and keeper.error is None:
                keeper.drain()
        event(log.info, "service.draining", timeout_s=self._drain_timeout)
        for scope in scopes:
            scope.deadline = anyio.current_time() + self._drain_timeout
