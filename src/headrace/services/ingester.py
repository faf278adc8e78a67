"""The ingester: runs the pipelines, holds the lock, and tells the server about itself on a local socket."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import anyio
import msgspec

from headrace.app import Ingester, build_ingester, own_interrupts
from headrace.app.memory import check_memory
from headrace.catalogue.entry import MADE
from headrace.core.breaker import Force
from headrace.core.errors import Fatal
from headrace.core.flags import FlagsStatus
from headrace.core.health import Health, State
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.core.metrics import Metrics
from headrace.core.together import first_of
from headrace.core.watch import BreakerStatus
from headrace.layout import run_directory, socket_path
from headrace.model import Json, Ledger, Outcome, PartitionKey
from headrace.pipeline.supervise import PipelineKeeper
from headrace.serve.admin import PartitionStatus, PipelineStatus
from headrace.serve.http import HttpServer, listen_unix
from headrace.serve.local import ingester_app
from headrace.services.process import serve_while
from headrace.settings import Settings

__all__ = ["own_interrupts", "run_ingester"]

log = logging.getLogger(__name__)

PARTITIONS_SHOWN = 1000
LOST_SECONDS = 0.05


class IngesterView:
    """What the ingester tells of itself: admin, health and metrics."""

    def __init__(self, ingester: Ingester) -> None:
        self._ingester = ingester

    async def readiness(self) -> tuple[State, Json]:
        if self._ingester.flags is not None:
            self._ingester.flags.look()
        snapshot = self._ingester.health.snapshot()
        body: Json = msgspec.to_builtins(snapshot)
        return snapshot.state, body

    async def metrics(self) -> bytes:
        self.observe()
        return self._ingester.metrics.render()

    def observe(self) -> None:
        """Set the gauges that are states, not events."""
        metrics = self._ingester.metrics
        if self._ingester.flags is not None:
            self._ingester.flags.observe()
        for keeper in self._ingester.supervisor.keepers:
            if keeper.run is not None:
                metrics.channel_fill.labels(channel=f"raw:{keeper.name}").set(keeper.run.channel_fill)
                lag = keeper.run.lag
                if lag is not None:
                    metrics.source_lag.labels(pipeline=keeper.name).set(lag)
            letters = self._ingester.dead_letters.count(keeper.name)
            metrics.dead_letters.labels(pipeline=keeper.name).set(letters)
        for owner in self._ingester.owners.values():
            metrics.channel_fill.labels(channel=owner.channel.name).set(owner.channel.fill_ratio)

    def pipelines(self) -> list[PipelineStatus]:
        components = self._ingester.health.snapshot().components
        statuses = []
        for keeper in self._ingester.supervisor.keepers:
            health = components[keeper.component]
            marks = keeper.owner.watermarks
            partitions = [
                PartitionStatus(partition, position, marks.ledgers.get((name, partition), Ledger()))
                for (name, partition), position in marks.durable.items()
                if name == keeper.name
            ]
            total = Ledger()
            for status in partitions:
                total += status.ledger
            statuses.append(
                PipelineStatus(
                    name=keeper.name,
                    index=keeper.owner.name,
                    state=health.state,
                    reason=health.reason,
                    since=health.since,
                    restarts=keeper.restarts,
                    channel_fill=keeper.run.channel_fill if keeper.run else 0.0,
                    lag=keeper.run.lag if keeper.run else None,
                    dead_letters=self._ingester.dead_letters.count(keeper.name),
                    ledger=total,
                    partitions=partitions[:PARTITIONS_SHOWN],
                    breakers=self._breakers_of(keeper),
                )
            )
        return statuses

    def purge(self, pipeline: str, reason: str | None) -> int:
        purged = self._ingester.dead_letters.purge(pipeline, reason)
        event(log.warning, "deadletters.purged", pipeline=pipeline, reason=reason, letters=purged)
        return purged

    def flags(self) -> FlagsStatus:
        flags = self._ingester.flags
        return FlagsStatus() if flags is None else flags.status()

    def breakers(self) -> list[BreakerStatus]:
        return [each.status() for each in self._ingester.dependencies.all()]

    def force_breaker(self, name: str, state: Force | None) -> BreakerStatus | None:
        found = self._ingester.dependencies.find(name)
        if found is None:
            return None
        found.breaker.force(state)
        return found.status()

    def _breakers_of(self, keeper: PipelineKeeper) -> list[BreakerStatus]:
        """Those of its source, its index, and of what its steps ask."""
        shared = {f"source:{keeper.name}", f"index:{keeper.owner.name}"}
        return [
            each.status()
            for each in self._ingester.dependencies.all()
            if each.name in shared or each.pipeline == keeper.name
        ]


class PushedView:
    """What became of pushes, for those who wait at the server."""

    def __init__(self, ingester: Ingester) -> None:
        self._ingester = ingester

    async def until(self, key: PartitionKey, record: int, *, visible: bool, force: bool) -> None:
        keeper = await self._keeper(key)
        progress = keeper.owner.progress

        async def reached() -> None:
            await progress.until(key, record)
            if visible and force and not progress.reached(key, record, visible=True):
                with contextlib.suppress(Fatal):  # told below, with the keeper's own reason
                    await keeper.owner.flush()
            await progress.until(key, record, visible=visible)
            while visible and not await keeper.owner.promise(key, record):
                await anyio.sleep(LOST_SECONDS)
                await progress.until(key, record, visible=True)

        await first_of([keeper.ended.wait, reached])
        if not progress.reached(key, record, visible=visible):
            raise Fatal(str(keeper.error or keeper.owner.error or "it was stopped"))

    def outcomes(self, key: PartitionKey, ranges: Sequence[tuple[int, int]]) -> list[Outcome]:
        keeper = self._known(key)
        return [] if keeper is None else keeper.owner.progress.outcomes(key, ranges)

    async def regenerate(self, uuid: str) -> None:
        made = self._ingester.made
        await made.look()
        await made.regenerate(uuid, self._ingester.supervisor)

    async def _keeper(self, key: PartitionKey) -> PipelineKeeper:
        """A pipeline, perhaps of an index that was made a moment ago, or gets another generation."""
        await self._ingester.made.settled(log_of(key))
        found = self._known(key)
        if found is None:
            await self._ingester.made.look()
            found = self._known(key)
        if found is None:
            raise Fatal("there is no such pipeline (any more)")
        return found

    def _known(self, key: PartitionKey) -> PipelineKeeper | None:
        # By its log where it is the catalogue's: an index made again has the name of the one before.
        made = self._ingester.made.keeper(log_of(key))
        if made is not None or key[0].startswith(MADE):
            return made
        return next((each for each in self._ingester.supervisor.keepers if each.name == key[0]), None)


def log_of(key: PartitionKey) -> str:
    """The log of a partition; only the catalogue's, which are UUIDs, are asked for."""
    return key[1].rpartition(":")[2]


async def run_ingester(settings: Settings, *, until_finished: bool = False, settled: bool = False) -> None:
    """The ingester process: lock, pipelines, and the local socket; `settled` where a settler runs beside.

    Raises HeadraceError."""
    with RoleLock(run_directory(settings.data_dir), "ingester"):
        metrics, health = Metrics(), Health()
        ingester = build_ingester(
            settings, metrics=metrics, health=health, once=until_finished, settled=settled
        )
        check_memory(settings, {name: owner.index for name, owner in ingester.owners.items()})
        view = IngesterView(ingester)
        path = socket_path(settings.data_dir)
        app = ingester_app(view, view, PushedView(ingester), metrics)
        http = HttpServer(app, listen_unix(path))
        try:
            await serve_while(
                http,
                lambda: _work(ingester, until_finished=until_finished),
                stop=ingester.supervisor.stop,
                role="ingester",
            )
        finally:
            path.unlink(missing_ok=True)


async def _work(ingester: Ingester, *, until_finished: bool) -> None:
    """Run the pipelines; where they were to finish, Fatal names those that did not."""
    await ingester.run(until_finished=until_finished)
    failed = [keeper for keeper in ingester.supervisor.keepers if keeper.error is not None]
    if until_finished and failed:
        reasons = "; ".join(f"pipeline {keeper.name}: {keeper.error}" for keeper in failed)
        raise Fatal(f"{len(failed)} of {len(ingester.supervisor.keepers)} pipelines failed: {reasons}")
