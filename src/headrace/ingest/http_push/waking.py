"""Wake-ups for all sources of a process over its one socket, there as long as one of them is open."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from headrace.buffer.wake import Listener

FOREVER: Final = 3600.0
"""Seconds; whoever waits looks again by itself long before."""


SETTLED_NS: Final = 100_000_000
"""A file changed again within this time (far more than a tick of the kernel's clock) may look the same."""

Sign = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file of the buffer."""


def sign_of(directory: Path) -> Sign | None:
    """What changes with every append; None where it would not tell, as the last change is too fresh.

    For idle sources: a few system calls in place of a thread and a query."""
    found: list[tuple[str, int, int]] = []
    try:
        with os.scandir(directory) as files:
            for file in files:
                if ".sqlite" in file.name and not file.name.endswith("-shm"):
                    stat = file.stat()
                    found.append((file.name, stat.st_size, stat.st_mtime_ns))
    except OSError:
        return None
    now = time.time_ns()
    if any(not 0 <= changed <= now - SETTLED_NS for _, _, changed in found):
        return None
    return tuple(sorted(found))


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
    def users(self) -> int:
        return self._users

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
