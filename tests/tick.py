"""A clock that tests hold in their hand."""

from __future__ import annotations

from anyio.lowlevel import checkpoint


class TickClock:
    """A clock that moves only when it is slept on or told to; remembers how long was slept."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    async def sleep(self, seconds: float) -> None:
        await checkpoint()
        self.slept.append(seconds)
        self.now += seconds

    def advance(self, seconds: float) -> None:
        self.now += seconds
