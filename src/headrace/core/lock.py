"""One `flock` per role on a folder: two processes never write the same files.

A lock file that stays behind after `kill -9` is no lock: the kernel drops it with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.core.errors import StoreError

WAIT_SECONDS = 3.0
"""A restart meets its predecessor still closing; a person who starts a second one wants to know soon."""


class RoleLock:
    """Holds `DIRECTORY/ROLE.lock` from `acquire` until `release` or the end of the process."""

    def __init__(self, directory: Path, role: str) -> None:
        self.path = directory / f"{role}.lock"
        self.role = role
        self._descriptor: int | None = None

    def acquire(self, *, wait: float = WAIT_SECONDS) -> None:
        """Take the lock within `wait` seconds; raises StoreError naming who holds it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"cannot write in {self.path.parent}: {error.strerror}; "
                "make the folder writable or choose another data_dir"
            ) from error
        deadline = time.monotonic() + wait
        while not self._try(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise StoreError(
                    f"{self.path.parent} is in use: another {self.role} (process {holder}) holds it; "
                    "stop that one first, or give this one its own data_dir"
                )
            time.sleep(0.05)
        with contextlib.suppress(OSError):  # the name is a courtesy: on a full disk the lock is held without
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    @staticmethod
    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
