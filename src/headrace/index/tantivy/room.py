"""Whether live folders have room: memory of all of them together, and what the next merge may add.

Memory that a live folder takes is the machine's, not this process's, and a merge writes its whole output
there before its input goes. So an index goes back to the disk before it is too late, and later again to
memory.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from headrace.index.tantivy.sweep import belongs

DEFAULT_BASE: Final = Path("/dev/shm")  # noqa: S108  what is made in it has a name that nobody can guess
MOUNTS: Final = Path("/proc/self/mounts")
MEMORY: Final = Path("/proc/meminfo")
CGROUP: Final = Path("/sys/fs/cgroup")

LEAST: Final = 32 << 20
"""Bytes: with less room than this it is not worth moving in."""

SPARE: Final = 2
"""A tmpfs may be filled to its half: the engine was seen to fail from there on, and others use it too."""

MEMORY_SPARE: Final = 4
"""Of the memory that is available, live folders take no more than one part in so many."""

# The engine's policy: eight segments of a size class become one; classes are this far apart.
MERGED: Final = 8
SMALLEST_CLASS: Final = 10_000
CLASS_WIDTH: Final = 0.75
LARGEST_MERGED: Final = 10_000_000
NEARLY: Final = 2
"""So many segments short of a merge count as one: a commit and another merge may add them."""


class Room:
    """Bytes in the live folders of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    def note(self, holder: object, used: int) -> None:
        with self._lock:
            self._used[holder] = used

    def give_back(self, holder: object) -> None:
        with self._lock:
            self._used.pop(holder, None)

    def left(self, base: Path, total: int) -> int:
        """Bytes that live folders below `base` may still grow by, of `total` for all of them."""
        with self._lock:
            used = sum(self._used.values())
        space = os.statvfs(base)
        free = space.f_bavail * space.f_frsize
        size = space.f_blocks * space.f_frsize
        return min(total - used, free - size // SPARE, (available_memory() - used) // MEMORY_SPARE)


ROOM: Final = Room()


def is_tmpfs(folder: Path) -> bool:
    """Whether files in this folder are in memory: nowhere but on Linux."""
    try:
        mounts = [line.split(" ") for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return False
    path = folder.resolve()
    points = [
        (len(point), kind)
        for _, point, kind, *_ in mounts
        if path.is_relative_to(point.replace("\\040", " "))
    ]
    return (
        max(enumerate(points), key=lambda each: (each[1][0], each[0]), default=(0, (0, "")))[1][1] == "tmpfs"
    )


def usable(base: Path) -> str:
    """Why no live folder can be made below this one; empty where one can."""
    if not base.is_dir():
        return f"there is no folder {base}"
    if not is_tmpfs(base):
        return f"{base} is not on a tmpfs"
    if not os.access(base, os.W_OK | os.X_OK):
        return f"{base} cannot be written"
    return ""


def available_memory() -> int:
    """Bytes that this process and its files in memory may still take."""
    found = math.inf
    with suppress(OSError, ValueError, IndexError):
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        found = int(lines["MemAvailable"].split()[0]) * 1024
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        limit = int((CGROUP / "memory.max").read_text())
        found = min(found, limit - int((CGROUP / "memory.current").read_text()))
    return 1 << 40 if found == math.inf else int(found)


def bytes_in_memory(folder: Path) -> int:
    """Of the files of a live folder, those that are links to the disk left out."""
    total = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            if not entry.is_symlink():
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def largest_merge(engine: Path, meta: Mapping[str, Any]) -> int:
    """Bytes of the largest merge that the engine may begin before somebody looks again."""
    segments = sorted(
        (segment for segment in meta["segments"] if segment["max_doc"] <= LARGEST_MERGED),
        key=lambda segment: -int(segment["max_doc"]),
    )
    found, group, top = 0, list[Mapping[str, Any]](), math.inf
    for segment in segments:
        size = math.log2(max(segment["max_doc"], SMALLEST_CLASS))
        if group and size < top - CLASS_WIDTH:
            found = max(found, _merged(engine, group))
            group = []
        if not group:
            top = size
        group.append(segment)
    return max(found, _merged(engine, group))


def _merged(engine: Path, group: Sequence[Mapping[str, Any]]) -> int:
    if len(group) < MERGED - NEARLY:
        return 0
    named = {segment["segment_id"].replace("-", ""): None for segment in group}
    total = 0
    for entry in os.scandir(engine):
        with suppress(FileNotFoundError):
            if belongs(entry.name, named):
                total += entry.stat().st_size
    return total
