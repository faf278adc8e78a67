"""A campaign of real `kill -9`s against a real ingester, and a count of every record afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.core.errors import StoreError
from headrace.index.tantivy import open_reader
from headrace.layout import index_directory, socket_path
from headrace.serve.http import reachable

CONFIGURATION = """\
data_dir: data
commit_interval: 50ms
disk_reserve: 1MB
indexes:
  records:
    type: tantivy
    {key}
    memory: 32MB
    fields: {{ n: integer, word: keyword, text: text }}
pipelines:
  records:
    source: {{ type: files, paths: ["in*.ndjson"], format: ndjson, follow: {follow} }}
    transform:
      - validate: {{ n: {{ min: 0 }} }}
      - set: {{ double: "n * 2" }}
    index: records
    batch_bytes: 64kB
"""

# Within the time limit of a test, so that an ingester that hangs is told from a test that crashes.
FINISH_SECONDS = 30.0
SLOWEST = 10_000
"""Records in a second."""


@dataclass
class Campaign:
    """Kills an ingester `kills` times while it indexes `records` records, then lets it finish."""

    folder: Path
    records: int
    kills: int
    follow: bool
    declared_id: bool
    seed: int

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.written = 0
        self.kept = 0
        self.config = self.folder / "crash.yaml"
        key = "id: n" if self.declared_id else ""
        self.config.write_text(CONFIGURATION.format(key=key, follow=str(self.follow).lower()))

    def run(self) -> None:
        """Raises AssertionError when a record is missing, doubled or changed."""
        if not self.follow:
            self._write(self.records)
        for _ in range(self.kills):
            self._one_life()
        self._write(self.records - self.written)
        self._finish()
        self._compare()

    def _one_life(self) -> None:
        process = self._start()
        try:
            # Start-up, recovery, first commits, steady state: any of them may be hit.
            deadline = time.monotonic() + self.dice.uniform(0.2, 1.6)
            while time.monotonic() < deadline:
                if self.follow:
                    self._write(min(self.records - self.written, self.dice.randint(1, 400)))
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headrace.cli", "--log-level", "warning"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, "run", str(self.config), "--only", "ingester"], stderr=log, stdout=log
            )

    def _write(self, count: int) -> None:
        """Append records; now and then go on in a new file, and half a line at a time."""
        if count <= 0:
            return
        lines = "".join(line_of(number) for number in range(self.written, self.written + count))
        self.written += count
        path = self.folder / f"in{self.kept}.ndjson"
        half = self.dice.randint(0, len(lines))
        for part in (lines[:half], lines[half:]):
            with path.open("a") as out:
                out.write(part)
        if self.follow and self.dice.random() < 0.02:
            self.kept += 1

    def _finish(self) -> None:
        process = self._start()
        try:
            deadline = time.monotonic() + FINISH_SECONDS + self.records / SLOWEST
            while not (self._answers() and self._documents() >= self.records):
                assert process.poll() is None, self._log()
                if time.monotonic() > deadline:
                    process.send_signal(signal.SIGABRT)  # its log gets every thread's stack
                    process.wait()
                    raise AssertionError(f"unfinished, {self._documents()} documents: {self._log()}")
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)
            assert code == 0, (code, self._log())
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _log(self) -> str:
        return (self.folder / "log").read_text()

    def _answers(self) -> bool:
        """Whether the process is past its start: before that a signal just ends it."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(2)
            try:
                asking.connect(reachable(socket_path(self.folder / "data")))
                asking.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
                return b" 200 " in asking.recv(64)
            except OSError:
                return False

    @property
    def _index(self) -> Path:
        return index_directory(self.folder / "data", "records")

    def _documents(self) -> int:
        try:
            with closing(open_reader(self._index)) as reader:
                return reader.stats().documents
        except StoreError:
            return 0

    def _compare(self) -> None:
        found: Counter[int] = Counter()
        with closing(open_reader(self._index)) as reader:
            for frame in reader.scan(None, 10_000):
                for source in frame["_source"]:
                    document = msgspec.json.decode(source)
                    number = document["n"]
                    found[number] += 1
                    assert document == {**json.loads(line_of(number)), "double": 2 * number}
            ledgers = reader.watermarks().ledgers.values()
        doubled = [number for number, times in found.items() if times > 1]
        missing = sorted(set(range(self.records)) - set(found))
        assert (missing[:5], doubled[:5], len(found)) == ([], [], self.records)
        assert sum(ledger.read for ledger in ledgers) == self.records
        assert all(ledger.imbalance == 0 for ledger in ledgers)


def line_of(number: int) -> str:
    dice = random.Random(number)
    text = " ".join(dice.choice(("flow", "gate", "mill", "water", "wheel")) for _ in range(8))
    return json.dumps({"n": number, "word": f"w{number % 97}", "text": text}) + "\n"
