"""The server: answers HTTP from the indexes' folders, and for the ingester what only that one knows."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import anyio
import msgspec

from headrace.core.errors import ConfigError, Retryable
from headrace.core.health import Health, State
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.core.metrics import Metrics, join
from headrace.layout import keys_file, run_directory, socket_path
from headrace.model import Json
from headrace.serve.app import Writing, server_app
from headrace.serve.doors import Door, Doors, Keyring, check_exposed
from headrace.serve.doors.exposure import is_loopback
from headrace.serve.doors.tls import Certificate
from headrace.serve.folders import FolderReaders
from headrace.serve.http import HttpServer, listen
from headrace.serve.line import Line
from headrace.serve.upstream import Upstream
from headrace.services import SWITCH_INTERVAL
from headrace.services.process import serve_while
from headrace.services.writing import WritePath
from headrace.settings import ServerSettings, Settings

log = logging.getLogger(__name__)

INGESTER_START_SECONDS = 10.0
"""An ingester not seen yet is starting; after this it is away, and the server ready without it."""


class ServerView:
    """Readiness and metrics of both processes together."""

    def __init__(
        self, upstream: Upstream | None, metrics: Metrics, health: Health, path: WritePath | None = None
    ) -> None:
        self._upstream = upstream
        self._path = path
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
        if self._path is not None:
            self._path.observe()
        pages: dict[str, bytes] = {"server": self._metrics.render()}
        if self._upstream is not None:
            try:
                pages["ingester"] = await self._upstream.get("/metrics")
            except Retryable as error:
                event(log.warning, "metrics.incomplete", error=str(error))
        return join(pages)


async def run_server(settings: Settings) -> None:
    """The server process: HTTP on `server.host:port`, beside an ingester. Raises HeadraceError."""
    doors, certificate = _locks(settings)
    # Taken first: a port that is in use is told before anything is opened.
    listener = listen(settings.server.host, settings.server.port)
    with RoleLock(run_directory(settings.data_dir), "server"):
        metrics, health = Metrics(), Health()
        upstream = Upstream(socket_path(settings.data_dir))
        async with WritePath.opened(settings, metrics, health) as path, upstream:
            line = Line(upstream, lambda: path.buffer.incarnation)
            push = path.push(line, lambda: path.closed_for or _refusing(health))
            view = ServerView(upstream, metrics, health, path)
            writing = Writing(push, path.buffer, upstream, line, path.feeds())
            app = server_app(
                path.indices,
                view,
                metrics,
                writing,
                doors,
                stopping=partial(_stopping, health),
                version=settings.server.version,
            )
            slow = settings.server.slow_client_timeout
            http = HttpServer(app, listener, tls=certificate, slow_client_timeout=slow)
            await _answer(http, health, settings.server, path.run)


def _locks(settings: Settings) -> tuple[Doors, Certificate | None]:
    """Raises ConfigError with file and line where the server would stand open, or has no certificate."""
    try:
        doors = open_doors(settings.server, settings.data_dir)
        tls = settings.server.tls
        return doors, None if tls is None else Certificate(tls)
    except ConfigError as error:
        raise settings.origin.blame(error) from error


def _refusing(health: Health) -> str:
    """Why no writes are taken now."""
    state = health.snapshot().state
    # Also while it goes down: what is appended is durable, and a shipper that is told 503 may drop a batch.
    return "" if state in (State.READY, State.DEGRADED, State.DRAINING) else f"the server is {state}"


def _stopping(health: Health) -> bool:
    return health.snapshot().state is State.DRAINING


async def _answer(
    http: HttpServer,
    health: Health,
    address: ServerSettings,
    beside: Callable[[], Coroutine[object, object, None]],
) -> None:
    """Answer HTTP until told to stop, with `beside` running."""
    stopped = anyio.Event()
    scheme = "http" if address.tls is None else "https"

    async def until_stopped() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beside)
            health.set("http", State.READY)
            event(log.info, "server.listening", url=f"{scheme}://{address.host}:{http.port}")
            await stopped.wait()
            health.set("http", State.DRAINING, "stopping")
            tasks.cancel_scope.cancel()

    await serve_while(http, until_stopped, stop=stopped.set, role="server")


def open_doors(settings: ServerSettings, data_dir: Path) -> Doors:
    """What stands before the server. Raises ConfigError where it would stand open, StoreError."""
    keyring = Keyring(settings.keys, keys_file(data_dir))
    check_exposed(settings.host, has_keys=keyring.locked, insecure=settings.insecure)
    if keyring.locked and settings.tls is None and not is_loopback(settings.host):
        event(log.warning, "server.keys_in_clear", host=settings.host)
    door = Door(keyring, rate=settings.rate_limit, most=settings.max_concurrent, search=settings.search)
    return Doors(door, settings.cors)


def serve_readers(indices: FolderReaders, address: ServerSettings) -> None:
    """Serve indexes for reading alone, in this process, until told to stop. Raises HeadraceError."""
    doors = open_doors(address, indices.data_dir)

    async def run() -> None:
        metrics, health = Metrics(), Health()
        view = ServerView(None, metrics, health)
        stopping = partial(_stopping, health)
        app = server_app(indices, view, metrics, doors=doors, stopping=stopping, version=address.version)
        listener = listen(address.host, address.port)
        http = HttpServer(app, listener, slow_client_timeout=address.slow_client_timeout)
        try:
            await _answer(http, health, address, anyio.sleep_forever)
        finally:
            indices.close()

    sys.setswitchinterval(SWITCH_INTERVAL)
    anyio.run(run)
