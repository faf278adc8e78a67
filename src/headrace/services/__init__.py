"""The services: `ingester` runs the pipelines, `server` answers HTTP, `settler` copies memory to disk.

They share only files.

Each drains on the first SIGTERM or SIGINT and stops at once on the second. Each imports only what it needs,
so that both start in well under a second.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import anyio

from headrace import __version__
from headrace.core import telemetry

if TYPE_CHECKING:
    from headrace.settings import Settings

SWITCH_INTERVAL: Final = 1e-4
"""Seconds. A busy Python thread otherwise takes 5 ms of every call into the engine (measured)."""


def run_role(role: str, settings: Settings, *, once: bool = False, settled: bool = False) -> None:
    """Run one service in this process until it is told to stop. Raises HeadraceError.

    `settled` tells the ingester that a settler runs beside it."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    stop_telemetry = telemetry.start(role, __version__)
    try:
        if role == "server":
            from headrace.services.server import run_server

            anyio.run(run_server, settings)
        elif role == "settler":
            from headrace.services.settler import run_settler

            run_settler(settings)
        else:
            from headrace.services.ingester import own_interrupts, run_ingester

            own_interrupts()
            anyio.run(lambda: run_ingester(settings, until_finished=once, settled=settled))
    finally:
        stop_telemetry()
