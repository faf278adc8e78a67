"""The service as people start it, `headrace run`, watched from outside: when it is ready, what it holds."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benches.memory import cpu_seconds, family, held_bytes, shared_bytes

POLL_SECONDS: Final = 0.005
SAMPLE_SECONDS: Final = 0.1
"""One sample walks the page tables of every process: more often would slow down what is measured."""

GOOD: Final = ("ready", "finished")

PATIENCE_SECONDS: Final = 600.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Service:
    """Both processes under their parent, from entering to leaving."""

    def __init__(self, config: Path, port: int) -> None:
        self._command = [sys.executable, "-m", "headrace.cli", "run", str(config)]
        self._port = port
        self.ready_seconds = 0.0
        self.peak_bytes = 0
        self.samples: list[tuple[float, int]] = []
        """Seconds since the start, and bytes that all processes hold."""

    def __enter__(self) -> Self:
        self._shared_before = shared_bytes()
        started = self._started = time.perf_counter()
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        try:
            self._wait(self._ready, POLL_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.ready_seconds = time.perf_counter() - started
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order; a second call does nothing."""
        self._over.set()
        if self._sampler.is_alive():
            self._sampler.join()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)

    @property
    def port(self) -> int:
        return self._port

    @property
    def parent(self) -> int:
        """The process that watches over the others."""
        return self._process.pid

    @property
    def ingester(self) -> int:
        """The process that indexes."""
        for pid in family(self._process.pid)[1:]:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"ingester" in words:
                return pid
        raise RuntimeError("no ingester runs")

    def cpu(self) -> dict[str, float]:
        """Seconds that each process has used so far."""
        ingester = self.ingester
        total = sum(cpu_seconds(pid) for pid in family(self._process.pid))
        indexing = cpu_seconds(ingester)
        return {"ingester": indexing, "server": total - indexing}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def wait_for(self, index: str, records: int) -> None:
        """Until that many documents are found."""
        self._wait(lambda: self.count(index) >= records, 0.05)

    def count(self, index: str) -> int:
        """Documents that are found; -1 while the index cannot be searched."""
        connection = self.connect()
        connection.request("GET", f"/{index}/_count")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        # Before its first commit an index cannot be searched yet.
        return int(json.loads(body)["count"]) if answer.status == 200 else -1

    def _ready(self) -> bool:
        """Whether both processes are at work: a server whose ingester is still away answers 200 as well."""
        connection = self.connect()
        try:
            connection.request("GET", "/health/ready")
            answer = connection.getresponse()
            state = json.loads(answer.read())["state"]
        except OSError:
            return False
        finally:
            connection.close()
        return answer.status == 200 and state in GOOD

    def _wait(self, condition: Any, pause: float) -> None:
        give_up = time.perf_counter() + PATIENCE_SECONDS
        while not condition():
            if self._process.poll() is not None:
                raise RuntimeError(f"the service ended with {self._process.returncode}: see its log above")
            if time.perf_counter() > give_up:
                raise RuntimeError("the service did not come so far in ten minutes")
            time.sleep(pause)

    def _sample(self) -> None:
        over = False  # the first sample is taken at once: some lives are shorter than the time between two
        while not over:
            held = held_bytes(family(self._process.pid), self._shared_before)
            self.peak_bytes = max(self.peak_bytes, held)
            self.samples.append((time.perf_counter() - self._started, held))
            over = self._over.wait(SAMPLE_SECONDS)
