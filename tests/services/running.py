"""`headrace run` as a user starts it: real processes on loopback, a folder of their own, always stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A started command that serves on `port`, its words in `folder`; `ask` talks to it."""

    def __init__(self, folder: Path, port: int, *command: str) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.log = folder / "service.log"
        log_options = ["--log-style", "json", "--log-level", "info"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headrace.cli", *log_options, *command], stdout=out, stderr=out
            )

    def ask(
        self, path: str, body: object = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Any:
        """The decoded JSON answer, whatever its status; raises OSError while nobody listens."""
        return json.loads(self.raw(path, body, headers, method)[1])

    def raw(
        self, path: str, body: object = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path,
            data=data,
            headers={"content-type": "application/json", **(headers or {})},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def push(self, path: str, lines: str) -> tuple[int, dict[str, str], Any]:
        """POST newline-delimited JSON: status, headers (lower case) and decoded body."""
        request = urllib.request.Request(
            self.base + path, lines.encode(), {"content-type": "application/x-ndjson"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, headers, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            headers = {name.lower(): value for name, value in error.headers.items()}
            return error.code, headers, json.loads(error.read())

    def until(self, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.words()
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s in vain; the service said:\n{self.words()}")

    def until_ready(self) -> None:
        self.until(lambda: self.raw("/health/ready")[0] == 200)

    def until_finished(self) -> None:
        self.until(self._finished)

    def _finished(self) -> bool:
        pipelines = self.ask("/api/pipelines").get("pipelines", [])
        return bool(pipelines) and all(each["state"] == "finished" for each in pipelines)

    def count(self, index: str) -> int:
        answer = self.ask(f"/{index}/_count")
        return int(answer["count"]) if "count" in answer else 0

    def events(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def child(self, role: str) -> int:
        """Process id of the newest child of that role."""
        started = [e for e in self.events() if e["event"] == "service.started" and e["role"] == role]
        pid: int = started[-1]["pid"]
        return pid

    def words(self) -> str:
        return self.log.read_text()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def service(folder: Path, configuration: str, *arguments: str) -> Iterator[Running]:
    """Start `configuration` (with `PORT` in it) and stop it at the end."""
    port = free_port()
    config = folder / "service.yaml"
    config.write_text(configuration.replace("PORT", str(port)))
    running = Running(folder, port, "run", str(config), *arguments)
    try:
        yield running
    finally:
        running.stop()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
