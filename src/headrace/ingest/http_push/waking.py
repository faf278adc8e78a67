"""Wake-ups for all sources of a process over its one socket, there as long as one of them is open."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from headrace.buffer.wake import Listener

FOREVER: Final = 3600.0
"""Seconds; whoever waits looks again by itself long before."""


class Waking:
    """A listener and how many sources share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = Listener(path)
        self._users = 0

    def join(self) -> Waking:
        """Listen; `leave` once for each `join`. Raises Fatal."""
        if not self._users:
            self._listener.open()
            _shared[self._path] = self
        self._users += 1
        return self

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            del _shared[self._path]
            self._listener.close()

    @property
    def knocks(self) -> int:
        """To be remembered before one looks, so that a knock during the look is not missed."""
        return self._listener.knocks

    async def wait(self, seen: int) -> None:
        """Until there is a knock that `seen` does not count."""
        while not await self._listener.wait(FOREVER, seen=seen):
            continue


_shared: Final[dict[Path, Waking]] = {}


def join(path: Path) -> Waking:
    """The one of this socket, joined. Raises Fatal."""
    return (_shared.get(path) or Waking(path)).join()
