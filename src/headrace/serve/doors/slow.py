"""Connections that bring next to nothing are closed: endless headers, bodies that trickle, unread answers.

A timer looks at all connections a few times in each period; a request pays nothing for it. It reads what the
protocol of uvicorn knows of itself, so a test holds that on each version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from headrace.core.log import event

log = logging.getLogger(__name__)

LEAST_BYTES: Final = 1024
"""Of a body in each period: less is no slow network but somebody who holds a place."""

LOOKS: Final = 4
"""In each period: a connection is closed at most a quarter of it late."""


@dataclass(slots=True)
class _Seen:
    """A connection as it was when its period began."""

    state: object
    since: float
    mark: int


class SlowClients:
    """Closes what is slow among the connections of one server."""

    def __init__(
        self,
        connections: Callable[[], set[Any]],
        period: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._period = period
        self._now = now
        self._seen: dict[Any, _Seen] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._period / LOOKS)
            self.look()

    def look(self) -> None:
        """Begin the periods of those that go on, and close those whose period brought too little."""
        now, seen = self._now(), {}
        for connection in list(self._connections()):
            state, mark, least = _state(connection)
            if state is None:
                continue
            before = self._seen.get(connection)
            if before is None or before.state != state or mark - before.mark >= least:
                seen[connection] = _Seen(state, now, mark)
            elif now - before.since < self._period:
                seen[connection] = before
            else:
                event(
                    log.warning, "client.too_slow", what=str(state[0]), seconds=round(now - before.since, 1)
                )
                connection.transport.abort()
        self._seen = seen


def _state(connection: Any) -> tuple[tuple[str, int] | None, int, float]:
    """What a connection is at, how far it is, and how much further it has to get within a period."""
    cycle, transport = connection.cycle, connection.transport
    if connection.flow is None or transport is None or transport.is_closing():
        return None, 0, 0
    if connection.flow.write_paused:
        # The less is left to be written, the further it is.
        return ("answer", id(cycle)), -transport.get_write_buffer_size(), LEAST_BYTES
    if cycle is None or cycle.response_complete:
        # Between two requests uvicorn has a time limit of its own.
        idle = connection.timeout_keep_alive_task is not None
        return (None if idle else ("headers", id(cycle))), 0, float("inf")
    if cycle.more_body and not connection.flow.read_paused:
        return ("body", id(cycle)), connection.arrived, LEAST_BYTES
    return None, 0, 0
