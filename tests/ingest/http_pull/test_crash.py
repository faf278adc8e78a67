"""`kill -9` at random moments of a pull from a hostile API: afterwards every record is there exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core.errors import StoreError
from headrace.index.tantivy import open_reader
from headrace.layout import index_directory
from hostile import BROKEN, CUT, RESET, TRUNCATED, Collection, Fault, Hostile, Request
from ingest.http_pull.pulling import PAGINATIONS

FINISH_SECONDS = 45.0
LIFE_SECONDS = 10.0
FAULTS = (BROKEN, RESET, CUT, TRUNCATED, Fault(status=429, body=b"", headers={"retry-after": "0"}))


class Slow(Hostile):
    """Takes its time for each answer, so that a kill finds the pull at work; spoils one in ten."""

    def __init__(self, things: Collection, seed: int) -> None:
        self.dice = random.Random(seed)
        super().__init__(things)

    def answer(self, request: Request) -> Any:
        self.stopping.wait(0.01)
        response, _ = super().answer(request)
        return response, self.dice.choice(FAULTS) if self.dice.random() < 0.1 else Fault()


class Campaign:
    """Kills an ingester that pulls, then lets it finish; raises AssertionError when a record is not there once."""

    def __init__(
        self, folder: Path, server: Hostile, kind: str, *, declared: bool, records: int, seed: int
    ) -> None:
        self.folder = folder
        self.server = server
        self.records = records
        self.dice = random.Random(seed)
        self.lives: list[int] = []
        self.config = folder / "pull.json"
        key = {"id": "n"} if declared else {}
        fields = {"n": "integer", "text": "text"}
        pagination = {**PAGINATIONS[kind], "size": 50}
        source = {
            "type": "http_pull",
            "url": f"{server.url}/{kind}",
            "records": "items",
            "pagination": pagination,
        }
        configuration = {
            "data_dir": "data",
            "commit_interval": "50ms",
            "disk_reserve": "1MB",
            "indexes": {"things": {"type": "tantivy", "memory": "32MB", "fields": fields, **key}},
            "pipelines": {"things": {"source": source, "index": "things"}},
        }
        self.config.write_bytes(msgspec.json.encode(configuration))

    def run(self, kills: int) -> None:
        for _ in range(kills):
            process = self._start()
            try:
                self._let_it_work()
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            self.lives.append(len(self._found()))
        self._finish()
        assert Counter(range(self.records)) == self._found()

    def _let_it_work(self) -> None:
        """Until some requests were made and a moment later: start-up, recovery, a page, a commit, a wait."""
        before, some = len(self.server.requests), self.dice.randint(0, 60)
        deadline = time.monotonic() + LIFE_SECONDS
        while len(self.server.requests) < before + some and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(self.dice.uniform(0, 0.15))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headrace.cli", "--log-level", "warning"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, "run", str(self.config), "--only", "ingester"], stderr=log, stdout=log
            )

    def _finish(self) -> None:
        process = self._start()
        try:
            deadline = time.monotonic() + FINISH_SECONDS
            while len(self._found()) < self.records and time.monotonic() < deadline:
                assert process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, (self.folder / "log").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _found(self) -> Counter[int]:
        found: Counter[int] = Counter()
        try:
            with closing(open_reader(index_directory(self.folder / "data", "things"))) as reader:
                for frame in reader.scan(None, 10_000):
                    found.update(msgspec.json.decode(source)["n"] for source in frame["_source"])
        except StoreError:
            return Counter()
        return found


@pytest.mark.parametrize(
    ("kind", "declared"),
    [("cursor", False), ("cursor", True), ("page", True), ("offset", True), ("link", True)],
    ids=["cursor-derived", "cursor-declared", "page-declared", "offset-declared", "link-declared"],
)
def test_after_kills_every_record_is_there_exactly_once(tmp_path: Path, kind: str, declared: bool) -> None:
    server = Slow(Collection(4_000, size=50), seed=3)
    try:
        campaign = Campaign(tmp_path, server, kind, declared=declared, records=4_000, seed=7)
        campaign.run(kills=3)
    finally:
        server.stop()
    # Not all lives ended before the first commit, nor after the last.
    assert any(0 < found < 4_000 for found in campaign.lives), campaign.lives


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", PAGINATIONS)
def test_after_25_kills_every_record_is_there_exactly_once(tmp_path: Path, kind: str) -> None:
    server = Slow(Collection(60_000, size=50), seed=5)
    try:
        Campaign(tmp_path, server, kind, declared=True, records=60_000, seed=9).run(kills=25)
    finally:
        server.stop()
