"""Runs an application under uvicorn, on an address or a Unix socket; stopped by its owner, not by signals."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from headrace.core.errors import Fatal

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from headrace.serve.doors.tls import Certificate

BACKLOG = 2048
GRACE_SECONDS = 5

KEEP_ALIVE_SECONDS = 75
"""An idle connection is kept so long. Clients keep pools of them, and a request that is sent just as its
connection is closed is lost to them: uvicorn's own 5 s would be shorter than what many shippers wait."""

UNIX_PATH_BYTES = 107


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises Fatal saying what to do when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends answers at once (TCP_NODELAY) only on such sockets.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Fatal(
            f"cannot listen on {host}:{port}: {error.strerror}; "
            "stop what uses it, or choose another port (server.port, --port)"
        ) from error
    return listener


def reachable(path: Path) -> str:
    """A name for a Unix socket that the kernel takes: at most 107 bytes, however deep the folder is."""
    if len(os.fsencode(path)) < UNIX_PATH_BYTES or sys.platform != "linux":
        return str(path)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}"


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket, only for this user; replaces one a killed process left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(reachable(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Fatal(
            f"cannot listen on {path}: {error.strerror or error}; choose a shorter data_dir"
        ) from error
    return listener


class HttpServer:
    """One application on one listening socket."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: Certificate | None = None,
        slow_client_timeout: float | None = None,
    ) -> None:
        import uvicorn

        from headrace.serve.doors.heads import BoundedProtocol
        from headrace.serve.doors.slow import SlowClients

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                # Signals belong to the process, which drains in its own order.
                yield

        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        if tls is not None:
            config.load()
            config.ssl = tls.context
        self._server: uvicorn.Server = Server(config)
        state = self._server.server_state
        self._beside: list[Callable[[], Coroutine[None, None, None]]] = [] if tls is None else [tls.run]
        if slow_client_timeout is not None:
            self._beside.append(SlowClients(lambda: state.connections, slow_client_timeout).run)
        self._listener = listener
        self.stopped = anyio.Event()

    @property
    def port(self) -> int:
        name = self._listener.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def run(self) -> None:
        """Serve until `stop`, then finish the requests under way."""
        try:
            async with anyio.create_task_group() as tasks:
                for each in self._beside:
                    tasks.start_soon(each)
                await self._server.serve(sockets=[self._listener])
                tasks.cancel_scope.cancel()
        finally:
            self.stopped.set()

    def stop(self) -> None:
        self._server.should_exit = True
