"""What a signal's handler may set, and one thread waits for.

A `threading.Event` may not be set there: a second signal that comes while the first one's handler holds the
event's lock waits for that lock for ever, in the very thread that holds it.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress


class Wakeup:
    """A pipe: writing to it takes no lock. For the life of the process."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Safe in a signal's handler, also in one that interrupted another one."""
        with suppress(BlockingIOError):  # so many are waiting already that one more says nothing
            os.write(self._writer, b"!")

    def wait(self, timeout: float) -> bool:
        """Until it is set, or `timeout` seconds; whether it was set since the last time."""
        found, _, _ = select.select([self._reader], [], [], timeout)
        if not found:
            return False
        with suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass
        return True

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
