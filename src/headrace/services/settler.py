"""The settler: copies what indexes have in memory to their folders on disk, about once a second.

A process of its own, because copying in a thread takes turns from the feeder. It shares only files with the
others: killed at any moment it leaves each index at a settled commit, and whoever starts next goes on.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Final

from headrace import __version__
from headrace.core.errors import StoreError
from headrace.core.lock import RoleLock
from headrace.core.log import event
from headrace.core.wakeup import Wakeup
from headrace.index.tantivy.live import Live, live_indexes, remove_orphans
from headrace.index.tantivy.options import AUTO, NEVER
from headrace.index.tantivy.room import DEFAULT_BASE
from headrace.layout import indexes_directory, run_directory
from headrace.settings import Settings

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
ORPHAN_SECONDS: Final = 60.0


def run_settler(settings: Settings) -> None:
    """Settle until told to stop by a signal. Raises StoreError where another settler is at work."""
    told = Wakeup()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with RoleLock(run_directory(settings.data_dir), "settler"):
        event(log.info, "service.started", role="settler", version=__version__, pid=os.getpid())
        Settler(indexes_directory(settings.data_dir), bases(settings)).run(told)
    event(log.info, "service.stopped", role="settler")


def bases(settings: Settings) -> set[Path]:
    """The folders that live folders are made in."""
    named = {str(getattr(each.options, "live", NEVER)) for each in settings.indexes.values()}
    return {DEFAULT_BASE, *(Path(each) for each in named - {AUTO, NEVER})}


class Settler:
    """Settles all indexes below one folder, one after another."""

    def __init__(self, indexes: Path, bases: set[Path]) -> None:
        self._indexes = indexes
        self._bases = bases
        self._failing: dict[Path, str] = {}

    def run(self, told: Wakeup) -> None:
        """Until it is told to stop."""
        orphans_at, stopped = 0.0, False
        while not stopped:
            started = time.monotonic()
            if started >= orphans_at:
                self.remove_orphans(time.time() - ORPHAN_SECONDS)
                orphans_at = started + ORPHAN_SECONDS
            self.settle()
            stopped = told.wait(max(0.0, started + EVERY_SECONDS - time.monotonic()))

    def settle(self) -> int:
        """One round; how many indexes have moved. One that cannot be settled costs no other."""
        moved = 0
        for each in live_indexes(self._indexes):
            try:
                moved += each.settle() is not None
            except (OSError, StoreError) as error:
                self._failed(each, str(error))
            else:
                self._failing.pop(each.directory, None)
        return moved

    def remove_orphans(self, older_than: float) -> None:
        for root in remove_orphans(self._indexes, self._bases, older_than=older_than):
            event(log.warning, "settler.orphan_removed", folder=str(root))

    def _failed(self, each: Live, reason: str) -> None:
        # Told once: an index that is just moving, or a full disk, would say so every second.
        if self._failing.get(each.directory) != reason:
            self._failing[each.directory] = reason
            event(log.warning, "settler.failed", folder=str(each.directory), reason=reason)
