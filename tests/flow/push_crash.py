"""A campaign of real `kill -9`s against a whole service that clients push to, and a count afterwards.

A client notes a record only when its acknowledgement has arrived, and never sends one twice: whatever was
acknowledged has to be there once, and whatever was not, at most once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from headrace.catalogue.store import read as read_catalogue
from headrace.core.errors import StoreError
from headrace.index.tantivy import open_reader
from headrace.layout import catalogue_file, index_directory

CONFIGURATION = """\
data_dir: data
server: {{ port: {port} }}
commit_interval: 50ms
disk_reserve: 1MB
"""

LIVE = """\
buffer: {{ file_bytes: 64kB }}
indexes:
  pushed: {{ type: tantivy, live: {base} }}
"""

INDEX = "pushed"
CLIENTS = 3
READY_SECONDS = 30.0
DRAIN_SECONDS = 60.0


@dataclass
class PushCampaign:
    """Kills processes of a service `kills` times while clients push; `indexed` waits for searchability.

    Half of the records have ids of their own; some of those are deleted again. With `base`, a folder on a
    tmpfs, the newest commits are in memory, and every other time that all processes are killed, that is emptied.
    """

    folder: Path
    kills: int
    indexed: bool
    seed: int
    base: Path | None = None
    acknowledged: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.config = self.folder / "push.yaml"
        live = "" if self.base is None else LIVE.format(base=self.base)
        self.config.write_text(CONFIGURATION.format(port=self.port) + live)
        self.power_cuts = self.lives = 0
        self.next = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    def run(self) -> None:
        """Raises AssertionError when an acknowledged record is missing, or any is doubled or changed."""
        process = self._start()
        clients = [threading.Thread(target=self._push, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for _ in range(self.kills):
                time.sleep(self.dice.uniform(0.1, 1.2))
                process = self._kill_something(process)
            self._until_acknowledged()
        finally:
            self.stopping.set()
            for client in clients:
                client.join()
        self._drain(process)
        self._compare()

    def _until_acknowledged(self) -> None:
        """Where kills came so fast that nobody got an answer: what goes on after the last must be counted."""
        deadline = time.monotonic() + READY_SECONDS
        while len(self.acknowledged) <= self.kills and time.monotonic() < deadline:
            time.sleep(0.05)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headrace.cli", "--log-level", "info", "--log-style", "json"]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([*command, "run", str(self.config)], stderr=log, stdout=log)
        self._until_ready(process)
        return process

    def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert process.poll() is None, self._log()
            if self._ask("GET", "/health/ready")[0] == 200:
                return
            time.sleep(0.05)
        raise AssertionError(f"not ready again after {READY_SECONDS} s: {self._log()}")

    def _kill_something(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """One of the processes, which are started again; or all at once, as a power cut would."""
        children = self._children(process.pid)
        chosen = self.dice.choice([*children, None])
        if chosen is not None:
            os.kill(chosen, signal.SIGKILL)
            return process
        for each in (process.pid, *children):
            os.kill(each, signal.SIGKILL)
        process.wait()
        self._empty_memory()
        started = self._start()
        if self.indexed:
            with self.lock:
                acknowledged = set(self.acknowledged) - self.deleted - self.unsure
            self._all_there(acknowledged)
        return started

    def _empty_memory(self) -> None:
        stands = [] if self.base is None else list(self.base.iterdir())
        self.lives += bool(stands)
        if stands and self.lives % 2:
            self.power_cuts += 1
            for root in stands:
                shutil.rmtree(root)

    @staticmethod
    def _children(parent: int) -> list[int]:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(each) for each in found]

    # What clients do

    def _push(self, client: int) -> None:
        dice = random.Random(self.seed * 100 + client)
        while not self.stopping.is_set():
            with self.lock:
                numbers = range(self.next, self.next + dice.randint(1, 30))
                self.next = numbers.stop
            lines: list[Any] = []
            for number in numbers:
                lines += [{"index": {"_id": f"id-{number}"} if number % 2 else {}}, _document(number)]
            query = "?refresh=wait_for" if self.indexed else ""
            status, answer = self._ask("POST", f"/{INDEX}/_bulk{query}", lines)
            if status != 200:
                time.sleep(0.05)
                continue
            assert not answer["errors"], answer
            with self.lock:
                self.acknowledged.update(numbers)
            if dice.random() < 0.2:
                self._delete([number for number in numbers if number % 2][:3])

    def _delete(self, numbers: list[int]) -> None:
        with self.lock:
            self.unsure.update(numbers)
        status, answer = self._ask(
            "POST", f"/{INDEX}/_bulk", [{"delete": {"_id": f"id-{number}"}} for number in numbers]
        )
        if numbers and status == 200:
            assert [200] * len(numbers) == [item["delete"]["status"] for item in answer["items"]], answer
            with self.lock:
                self.deleted.update(numbers)
                self.unsure.difference_update(numbers)

    def _ask(self, method: str, path: str, lines: list[Any] | None = None) -> tuple[int, Any]:
        """Status and body; 0 where there was no whole answer."""
        body = None if lines is None else "".join(json.dumps(line) + "\n" for line in lines).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=body,
            method=method,
            headers={"content-type": "application/x-ndjson"},
        )
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return error.code, error.read()
        except (OSError, ValueError, http.client.HTTPException):
            pass
        return 0, None

    # Afterwards

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        try:
            self._until_ready(process)
            status, answer = self._ask("POST", f"/{INDEX}/_refresh")
            deadline = time.monotonic() + DRAIN_SECONDS
            while status != 200 and time.monotonic() < deadline:
                time.sleep(0.2)
                status, answer = self._ask("POST", f"/{INDEX}/_refresh")
            assert status == 200, (status, answer, self._log())
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, self._log()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _stored(self) -> Counter[int]:
        data = self.folder / "data"
        made = read_catalogue(catalogue_file(data)).indexes[INDEX]
        uuid = INDEX if made.configured else made.uuid
        found: Counter[int] = Counter()
        try:
            with closing(open_reader(index_directory(data, uuid))) as reader:
                for frame in reader.scan(None, 10_000):
                    for source in frame["_source"]:
                        document = msgspec.json.decode(source)
                        assert document == _document(document["n"])
                        found[document["n"]] += 1
        except StoreError:
            assert not self.acknowledged, "records were acknowledged, and there is no index"
        return found

    def _all_there(self, acknowledged: set[int]) -> None:
        """Right after a restart: whoever was told "searchable" finds it."""
        found = set(self._stored())
        with self.lock:  # clients go on, and delete some
            missing = sorted(acknowledged - found - self.deleted - self.unsure)
        assert not missing, f"{len(missing)} acknowledged as indexed are not searchable: {missing[:5]}"

    def _compare(self) -> None:
        found = self._stored()
        doubled = [number for number, times in found.items() if times > 1]
        missing = sorted(self.acknowledged - self.deleted - self.unsure - set(found))
        undead = sorted(self.deleted & set(found))
        wrong = {"missing": missing, "doubled": doubled, "deleted, and there": undead}
        assert not any(wrong.values()), {what: (len(which), which[:9]) for what, which in wrong.items()}
        assert len(self.acknowledged) > self.kills

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-4000:]


def _document(number: int) -> dict[str, Any]:
    return {"n": number, "word": f"w{number % 97}", "text": "water over the wheel " * (number % 5)}
