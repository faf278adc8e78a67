"""A server on a real socket, for what only a connection can show."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.serve.doors.tls import Certificate
from headrace.serve.http import HttpServer, listen

PERIOD = 0.4
LARGE = 32 << 20


async def _length(request: Request) -> Response:
    return Response(str(len(await request.body())))


async def _large(_: Request) -> Response:
    return Response(bytes(LARGE))


APP = Starlette(routes=[Route("/", _length, methods=["GET", "POST"]), Route("/large", _large)])


@contextmanager
def serving(tls: Certificate | None = None) -> Iterator[int]:
    """The port of a server that closes what brings too little in `PERIOD` seconds."""
    listener = listen("127.0.0.1", 0)
    started, servers = threading.Event(), list[tuple[HttpServer, object]]()

    async def run() -> None:
        http = HttpServer(APP, listener, tls=tls, slow_client_timeout=PERIOD)
        servers.append((http, None))
        started.set()
        await http.run()

    thread = threading.Thread(target=anyio.run, args=[run])
    thread.start()
    started.wait(5)
    try:
        yield int(listener.getsockname()[1])
    finally:
        servers[0][0].stop()
        thread.join(10)
    assert not thread.is_alive()
