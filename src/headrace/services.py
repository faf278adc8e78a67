"""The two services: `ingester` runs the pipelines, `server` answers HTTP. They share only files.

Each holds its role's lock on `data_dir`, drains on the first SIGTERM or SIGINT and stops at once on the
second. `run_together` has both in one process, for tests and for embedding.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import anyio
import msgspec

from headrace import __version__
from headrace.app import Ingester, build_ingester, index_directory, own_interrupts, run_directory
from headrace.core import telemetry
from headrace.core.breaker import Force
from headrace.core.errors import Fatal, HeadraceError, RequestError, Retryable
from headrace.core.flags import FlagsStatus
from headrace.core.health import Health, State
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.core.metrics import Metrics, join
from headrace.core.registry import kind, suggest
from headrace.core.watch import BreakerStatus
from headrace.index.base import Reader
from headrace.model import Json, Ledger
from headrace.pipeline.supervise import PipelineKeeper
from headrace.serve.admin import PartitionStatus, PipelineStatus
from headrace.serve.app import ingester_app, server_app
from headrace.serve.http import HttpServer, listen, listen_unix
from headrace.serve.search import Readers
from headrace.serve.upstream import Upstream
from headrace.settings import ServerSettings, Settings

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 1e-4
"""Seconds. A busy Python thread otherwise takes 5 ms of every call into the engine (measured)."""

INGESTER_START_SECONDS = 10.0
"""An ingester not seen yet is starting; after this it is away, and the server ready without it."""

PARTITIONS_SHOWN = 1000


def socket_path(data_dir: Path) -> Path:
    return run_directory(data_dir) / "ingester.sock"


# The ingester


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


async def run_ingester(settings: Settings, *, until_finished: bool = False) -> None:
    """The ingester process: lock, pipelines, and the local socket. Raises HeadraceError."""
    with RoleLock(run_directory(settings.data_dir), "ingester"):
        metrics, health = Metrics(), Health()
        ingester = build_ingester(settings, metrics=metrics, health=health)
        view = IngesterView(ingester)
        path = socket_path(settings.data_dir)
        http = HttpServer(ingester_app(view, view, metrics), listen_unix(path))
        try:
            await _serve_while(
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


async def _serve_while(
    http: HttpServer,
    work: Callable[[], Awaitable[None]],
    *,
    stop: Callable[[], None],
    role: str,
) -> None:
    """Answer HTTP as long as `work` runs; signals stop `work`. Raises what `work` raised of ours."""
    failure: HeadraceError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.run)
        tasks.start_soon(_stop_on_signals, stop, role)
        event(log.info, "service.started", role=role, version=__version__, pid=os.getpid())
        try:
            await work()
        except HeadraceError as error:
            failure = error  # raised out there: a task group would wrap it
        finally:
            http.stop()
        with anyio.move_on_after(5):
            await http.stopped.wait()
        tasks.cancel_scope.cancel()
    event(log.info, "service.stopped", role=role)
    if failure is not None:
        raise failure


async def _stop_on_signals(stop: Callable[[], None], role: str) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        seen = 0
        async for number in signals:
            seen += 1
            if seen > 1:
                event(log.warning, "service.aborted", role=role, signal=number.name)
                logging.shutdown()
                os._exit(1)
            event(log.info, "service.stopping", role=role, signal=number.name)
            stop()


# The server


class IndexReaders:
    """Readers of configured indexes, opened when first asked for (the ingester makes the folders)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Reader] = {}

    def names(self) -> list[str]:
        return sorted(self._settings.indexes)

    def get(self, name: str) -> Reader:
        reader = self._open.get(name)
        if reader is None:
            reader = self._open[name] = self._reader(name)
        return reader

    def _reader(self, name: str) -> Reader:
        config = self._settings.indexes.get(name)
        if config is None:
            raise RequestError(
                404, "index_not_found_exception", f"no such index [{name}], {suggest(name, self.names())}"
            )
        module = kind("index", config.kind).load()
        if not hasattr(module, "open_reader"):
            raise RequestError(
                400, "illegal_argument_exception", f"an index of type {config.kind} cannot be searched"
            )
        directory = index_directory(self._settings.data_dir, name)
        try:
            reader: Reader = module.open_reader(directory)
        except Fatal as error:
            raise RequestError(
                503, "index_not_ready", f"index [{name}] cannot be searched yet: {error}"
            ) from error
        return reader

    def close(self) -> None:
        for reader in self._open.values():
            reader.close()


class Closable(Readers, Protocol):
    """Readers that hold files open."""

    def close(self) -> None: ...


class ServerView:
    """Readiness and metrics of both processes together."""

    def __init__(self, upstream: Upstream | None, metrics: Metrics, health: Health) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._health = health

    async def readiness(self) -> tuple[State, Json]:
        own: dict[str, Json] = msgspec.to_builtins(self._health.snapshot())
        state = self._health.snapshot().state
        if self._upstream is None:
            return state, own
        try:
            ingester = await self._upstream.readiness()
        except Retryable as error:
            since = self._upstream.away_since or time.time()
            away = time.time() - since
            starting = not self._upstream.seen and away < INGESTER_START_SECONDS
            state = State.STARTING if starting else State.DEGRADED
            reason = f"ingester: away for {away:.0f} s, search goes on: {error}"
            body: Json = {"state": state, "since": since, "reasons": [reason], "server": own}
            return state, body
        assert isinstance(ingester, dict)
        theirs = State(str(ingester["state"]))
        worst = theirs if state.serves else state
        return worst, {**ingester, "state": worst, "server": own}

    async def metrics(self) -> bytes:
        pages: dict[str, bytes] = {"server": self._metrics.render()}
        if self._upstream is not None:
            try:
                pages["ingester"] = await self._upstream.get("/metrics")
            except Retryable as error:
                event(log.warning, "metrics.incomplete", error=str(error))
        return join(pages)


async def run_server(settings: Settings) -> None:
    """The server process: HTTP on `server.host:port`, beside an ingester. Raises HeadraceError."""
    await _answer(IndexReaders(settings), settings.server, Upstream(socket_path(settings.data_dir)))


async def _answer(readers: Closable, address: ServerSettings, upstream: Upstream | None) -> None:
    """Answer HTTP until told to stop; without `upstream` nobody ingests, and nothing is missing."""
    metrics, health = Metrics(), Health()
    app = server_app(readers, upstream, ServerView(upstream, metrics, health), metrics)
    http = HttpServer(app, listen(address.host, address.port))
    stopped = anyio.Event()

    async def until_stopped() -> None:
        health.set("http", State.READY)
        event(log.info, "server.listening", url=f"http://{address.host}:{http.port}")
        await stopped.wait()
        health.set("http", State.DRAINING, "stopping")

    try:
        await _serve_while(http, until_stopped, stop=stopped.set, role="server")
    finally:
        readers.close()
        if upstream is not None:
            await upstream.close()


def serve_readers(readers: Closable, address: ServerSettings) -> None:
    """Answer searches in this process until told to stop, with no ingester. Raises HeadraceError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    anyio.run(_answer, readers, address, None)


def run_role(role: str, settings: Settings, *, once: bool = False) -> None:
    """Run one service in this process until it is told to stop. Raises HeadraceError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    stop_telemetry = telemetry.start(role, __version__)
    try:
        if role == "server":
            anyio.run(run_server, settings)
        else:
            own_interrupts()
            anyio.run(lambda: run_ingester(settings, until_finished=once))
    finally:
        stop_telemetry()
