"""A knock on the reader's door after each append: a datagram, which nobody need hear.

Only a hint. Whoever waits looks again after a while anyway, so a knock that is lost costs time, never data.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from headrace.core.errors import Fatal

UNIX_PATH_BYTES: Final = 107


class Waker:
    """The sending side: calling it never blocks, and never fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def __call__(self) -> None:
        # Connected once; after the listener was replaced the next knock fails, and the one after finds it.
        try:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.send(b"!")
        except BlockingIOError:
            pass  # more knocks than it has answered are waiting already
        except OSError:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sender.setblocking(False)
            with _reachable(self._path) as name:
                sender.connect(name)
        except BaseException:
            sender.close()
            raise
        return sender


class Listener:
    """The receiving side, made and used on one event loop; any number of tasks may wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._knocked = asyncio.Event()
        self._socket: socket.socket | None = None
        self.knocks = 0

    def open(self) -> None:
        """Raises Fatal where the socket cannot be made."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiver.setblocking(False)
            with _reachable(self._path) as name:
                receiver.bind(name)
            self._path.chmod(0o600)
        except OSError as error:
            receiver.close()
            reason = error.strerror or error
            raise Fatal(f"cannot listen on {self._path}: {reason}; choose a shorter data_dir") from error
        self._socket = receiver
        asyncio.get_running_loop().add_reader(receiver, self._heard)

    async def wait(
        self,
        timeout: float,  # noqa: ASYNC109  the wait is what this is for
        *,
        seen: int | None = None,
    ) -> bool:
        """Until the next knock, or `timeout` seconds; whether there was one.

        seen: `knocks` as it was before one looked; one that came since then counts, and none is missed
        """
        if seen is not None and seen != self.knocks:
            return True
        knocked = self._knocked
        try:
            async with asyncio.timeout(timeout):
                await knocked.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _heard(self) -> None:
        receiver = self._socket
        if receiver is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            while receiver.recv(16):
                pass
        self.knocks += 1
        # Everyone who waits now hears it; who comes later waits for the next.
        heard, self._knocked = self._knocked, asyncio.Event()
        heard.set()


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name for a Unix socket that the kernel takes: at most 107 bytes, however deep the folder is."""
    if len(os.fsencode(path)) < UNIX_PATH_BYTES or sys.platform != "linux":
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
