"""Searches run in worker threads, at most `AT_ONCE` of them: the engine leaves the GIL while it works."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")

AT_ONCE: Final = max(4, 2 * (os.cpu_count() or 1))
"""Searches under way; more would only share the same cores and hold more memory."""


@functools.cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(AT_ONCE)


async def in_thread(call: Callable[[], T]) -> T:
    """Run a search beside the event loop."""
    return await anyio.to_thread.run_sync(call, limiter=_limiter())
