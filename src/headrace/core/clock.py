"""Time, in one place, so that a test can hold it in its hand."""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Two readings and one wait; everything that depends on time takes a clock."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    def time(self) -> float:
        """Unix time in seconds."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
