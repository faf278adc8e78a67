"""Searches run in worker threads, at most `AT_ONCE` of them: the engine leaves the GIL while it works."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from headrace.core.errors import RequestError

T = TypeVar("T")

AT_ONCE: Final = max(4, 2 * (os.cpu_count() or 1))
"""Searches under way; more would only share the same cores and hold more memory."""


@functools.cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(AT_ONCE)


WITHIN: Final[ContextVar[float | None]] = ContextVar("headrace_search_seconds", default=None)
"""Seconds that a search may take, waiting for its turn included; None: as long as it takes."""


async def in_thread(call: Callable[[], T]) -> T:
    """Run a search beside the event loop. Raises RequestError 503 once it took too long."""
    within = WITHIN.get()
    if within is None:
        return await anyio.to_thread.run_sync(call, limiter=_limiter())
    with anyio.move_on_after(within):
        return await _abandonable(call)
    reason = (
        f"the search took more than {within:g} s and was given up; narrow it, or ask for less "
        "(server.search.time)"
    )
    raise RequestError(503, "timeout_exception", reason, retry_after=1)


async def _abandonable(call: Callable[[], T]) -> T:
    """A call that its caller may leave: its place is free again when it has really ended.

    The engine cannot be stopped in the middle, so an abandoned search still takes one of the `AT_ONCE`."""
    limiter, place, loop = _limiter(), object(), asyncio.get_running_loop()
    decided = threading.Lock()  # taken once: by the call that begins, or by the caller that left before

    def leave() -> None:
        limiter.release_on_behalf_of(place)

    def run() -> T:
        if not decided.acquire(blocking=False):
            raise RuntimeError("nobody waits for this search any more")  # nor for this error
        try:
            return call()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody needs the place
                loop.call_soon_threadsafe(leave)

    await limiter.acquire_on_behalf_of(place)
    try:
        # The place is held above; here there is always room.
        room = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=room)
    finally:
        if decided.acquire(blocking=False):
            leave()
