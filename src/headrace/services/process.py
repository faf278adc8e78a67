"""What both services do: answer HTTP while they work, stop on signals, in order or at once."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable

import anyio

from headrace import __version__
from headrace.core.errors import HeadraceError
from headrace.core.log import event
from headrace.serve.http import HttpServer

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5


async def serve_while(
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
        with anyio.move_on_after(CLOSE_SECONDS):
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
