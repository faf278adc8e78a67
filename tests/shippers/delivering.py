"""What every test of a shipper needs: Headrace to restart and kill, a program to feed, the page's own recipe.

A shipper runs with the configuration that `docs/shippers.md` prints, so a page that is wrong fails here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.running import Running, free_port

PAGE = Path(__file__).parents[2] / "docs" / "shippers.md"

RECORDS, AT_ONCE, PAUSE = 4_000, 20, 0.04
"""At least eight seconds of sending: longer than the restart and the kill in its middle."""

SERVICE = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""

SECRET, OWN_SECRET = "what-the-shipper-knows-17", "what-the-test-knows-17"
KEYED = f"""\
data_dir: data
server:
  port: PORT
  keys:
    - {{ name: shipper, secret: {SECRET}, scopes: [write], indexes: [logs] }}
    - {{ name: own, secret: {OWN_SECRET}, scopes: [read, write] }}
disk_reserve: 1MB
"""


def recipe(heading: str, changes: Mapping[str, str]) -> str:
    """The first block below that heading of the page, with `changes`: each old text must be in it."""
    found = re.search(
        rf"^## {heading}\n.*?^```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"no recipe of {heading} in {PAGE.name}"
    text = found[1]
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the recipe of {heading}"
        text = text.replace(old, new)
    return text


class Service:
    """Headrace, to be ended in more than one way and started again in the same folder."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "service.yaml").write_text(configuration.replace("PORT", str(self.port)))
        self.running = self._started()

    def _started(self) -> Running:
        running = Running(self.folder, self.port, "run", str(self.folder / "service.yaml"))
        running.until_ready()
        return running

    def restart(self) -> None:
        self.running.stop()
        self.running = self._started()

    def kill(self) -> None:
        """All processes at once, with no word said."""
        for pid in (self.running.child("server"), self.running.child("ingester"), self.running.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.running.process.wait()
        self.running = self._started()

    def documents(self, index: str) -> list[dict[str, Any]]:
        """All that can be found in that index, or in those that the pattern names."""
        key = {"authorization": f"Bearer {OWN_SECRET}"}
        self.running.ask(f"/{index}/_refresh", {}, key)
        found = self.running.ask(f"/{index}/_search", {"size": 10_000}, key)
        return [hit["_source"] for hit in found.get("hits", {}).get("hits", [])]


@contextmanager
def headrace(folder: Path, configuration: str = SERVICE) -> Iterator[Service]:
    started = Service(folder, configuration)
    try:
        yield started
    finally:
        started.running.stop()


class Shipper:
    """A program of this test's own in the foreground: its folder, what it says, a port that it listens on."""

    def __init__(self, folder: Path, command: Sequence[str | Path], port: int) -> None:
        self.folder, self.port = folder, port
        with (folder / "words").open("wb") as words:
            self.process = subprocess.Popen(list(map(str, command)), stdout=words, stderr=words, cwd=folder)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.words()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        self.stop()
        raise AssertionError(self.words())

    def words(self) -> str:
        return (self.folder / "words").read_text(errors="replace")

    def over_tcp(self, lines: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(lines)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def until(condition: Callable[[], Any], words: Callable[[], str]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.2)
    raise AssertionError(words())


@contextmanager
def meanwhile(send: Callable[[range], None]) -> Iterator[None]:
    """Send records 0 to RECORDS, some at a time for some seconds, while the block does its worst; what fails, raises."""

    def all_of_them() -> None:
        for first in range(0, RECORDS, AT_ONCE):
            send(range(first, first + AT_ONCE))
            time.sleep(PAUSE)

    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(all_of_them)
        yield
        sent.result(60)


def delivered(
    service: Service,
    shipper: Shipper,
    send: Callable[[range], None],
    index: str,
    number: Callable[[Any], int],
) -> list[int]:
    """The numbers of all documents, in order, once each was found: sent across a restart and a kill."""

    def found() -> list[int]:
        return sorted(map(number, service.documents(index)))

    with meanwhile(send):
        until(found, shipper.words)
        service.restart()
        until(lambda: len(found()) > RECORDS // 4, shipper.words)
        service.kill()
    until(lambda: set(found()) == set(range(RECORDS)), lambda: f"{len(set(found()))} {shipper.words()}")
    return found()
