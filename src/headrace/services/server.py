"""The server: answers HTTP from the indexes' folders, and for the ingester what only that one knows."""

from __future__ import annotations

import logging
import sys
import time
from typing import Protocol

import anyio
import msgspec

from headrace.core.errors import Fatal, RequestError, Retryable
from headrace.core.health import Health, State
from headrace.core.log import event
from headrace.core.metrics import Metrics, join
from headrace.core.registry import kind, suggest
from headrace.index.base import Reader
from headrace.layout import index_directory, socket_path
from headrace.model import Json
from headrace.serve.app import server_app
from headrace.serve.http import HttpServer, listen
from headrace.serve.search import Readers
from headrace.serve.upstream import Upstream
from headrace.services import SWITCH_INTERVAL
from headrace.services.process import serve_while
from headrace.settings import ServerSettings, Settings

log = logging.getLogger(__name__)

INGESTER_START_SECONDS = 10.0
"""An ingester not seen yet is starting; after this it is away, and the server ready without it."""


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
        await serve_while(http, until_stopped, stop=stopped.set, role="server")
    finally:
        readers.close()
        if upstream is not None:
            await upstream.close()


def serve_readers(readers: Closable, address: ServerSettings) -> None:
    """Answer searches in this process until told to stop, with no ingester. Raises HeadraceError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    anyio.run(_answer, readers, address, None)
