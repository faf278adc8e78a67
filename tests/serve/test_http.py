"""Connections that are kept: long enough that no client sends into one that is just being closed."""

from __future__ import annotations

import asyncio

import anyio

from headrace.serve.http import KEEP_ALIVE_SECONDS, HttpServer, listen
from serve.doors.sockets import APP


def test_an_idle_connection_is_kept_for_a_minute_and_more() -> None:
    """Looked up at the connection's own timer, which nobody waits for here."""

    async def run() -> float:
        http = HttpServer(APP, listen("127.0.0.1", 0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.run)
            async with await anyio.connect_tcp("127.0.0.1", http.port) as stream:
                await stream.send(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
                (connection,) = http._server.server_state.connections
                timer = connection.timeout_keep_alive_task  # type: ignore[union-attr]
                assert timer is not None
                left = timer.when() - asyncio.get_running_loop().time()
            http.stop()
        return left

    assert KEEP_ALIVE_SECONDS - 5 < anyio.run(run) <= KEEP_ALIVE_SECONDS
