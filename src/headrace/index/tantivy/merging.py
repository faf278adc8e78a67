"""Merges give way: the engine's merge threads run at the lowest priority, where threads have one (Linux).

They would take the core from the feeder just when records come fastest. Lowering needs no privilege; raising
again does, so they stay low for life, and who writes gives way in turn where too many segments pile up.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from headrace.core.errors import Retryable
from headrace.core.log import event

log = logging.getLogger(__name__)

THREADS: Final = "merge_thread_"
LOWEST: Final = 19
TASKS: Final = Path("/proc/self/task")

LOOKS: Final = 3
"""A thread gives itself its name some time after the writer is there: it is looked for again at commits."""

SEGMENTS: Final = 128
"""More than the engine's policy leaves when it keeps up (7 in each of 13 sizes): its merges get no time."""

BREATHER_SECONDS: Final = 1.0
"""Of no writing after each commit above that: a core for the merges, and never a standstill for good."""


class Merges:
    """The merges of one engine writer in `folder`; made anew with it."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._looks = LOOKS
        self._breather = False
        self.look()

    def look(self) -> None:
        """After the writer was made, and after each commit."""
        if self._looks:
            self._looks -= 1
            give_way()
        segments = segments_in(self._folder)
        if segments > SEGMENTS:
            self._breather = True
            event(log.warning, "index.merges_behind", index=self._name, segments=segments)

    def breathe(self) -> None:
        """Raises Retryable once after each commit that left too many segments: nothing was written."""
        if self._breather:
            self._breather = False
            raise Retryable(
                f"more than {SEGMENTS} segments of index {self._name!r} wait to be merged",
                after=BREATHER_SECONDS,
            )


def give_way() -> int:
    """Lower the priority of all merge threads of this process; how many there are."""
    if not hasattr(os, "setpriority") or not TASKS.is_dir():
        return 0
    found = 0
    for task in TASKS.iterdir():
        try:
            if (task / "comm").read_text().startswith(THREADS):
                os.setpriority(os.PRIO_PROCESS, int(task.name), LOWEST)
                found += 1
        except OSError:  # it ended meanwhile, or the system forbids it: then it stays as it is
            continue
    return found


def segments_in(folder: Path) -> int:
    """How many segments there are, those just being merged away included."""
    try:
        return sum(path.suffix == ".store" for path in folder.iterdir())
    except OSError:
        return 0
