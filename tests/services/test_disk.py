"""A full disk under the real service: it pauses, says so, still answers, and goes on when there is room."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from headrace.index.tantivy import open_reader
from headrace.layout import dead_letter_file, index_directory
from headrace.pipeline.deadletter import DeadLetterView
from services.running import Running, service

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

MB = 1 << 20
DISK = 64 * MB

CONFIGURATION = """\
data_dir: small/data
server: { port: PORT }
disk_reserve: RESERVE
commit_interval: 50ms
drain_timeout: 5s
indexes:
  logs:
    type: tantivy
    memory: 32MB
    threads: 1
    fields: { n: integer, text: text }
pipelines:
  logs:
    source: { type: files, paths: ["*.ndjson"], format: ndjson, follow: true }
    transform:
      - validate: { n: { min: 0 } }
    index: logs
    batch_bytes: 256kB
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """64 MB of tmpfs; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if mount else None
    if done is None or done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip() if done else 'no mount command'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def configured(reserve: str) -> str:
    return CONFIGURATION.replace("RESERVE", reserve)


def write(folder: Path, first: int, count: int, *, bad: bool = False) -> None:
    """Records of about 1,100 bytes that no compression makes much smaller; bad ones are rejected."""
    noise = random.Random(first)
    with (folder / "a.ndjson").open("a") as out:
        for number in range(first, first + count):
            text = " ".join(noise.randbytes(8).hex() for _ in range(64))
            out.write(json.dumps({"n": -number if bad else number, "text": text}) + "\n")


def fill(folder: Path, *, leave: int) -> Path:
    """A file that leaves only so many bytes of the disk."""
    filler = folder / "filler"
    space = os.statvfs(folder)
    with filler.open("wb") as out:
        out.write(bytes(max(0, space.f_bavail * space.f_frsize - leave)))
    return filler


def said(running: Running, words: str) -> bool:
    """Whether the service is degraded, and these words are among the reasons."""
    ready = running.ask("/health/ready")
    return bool(ready["state"] == "degraded" and words in str(ready["reasons"]))


def assert_each_once(folder: Path, count: int) -> None:
    with closing(open_reader(index_directory(folder / "data", "logs"))) as reader:
        found = Counter(
            msgspec.json.decode(source)["n"]
            for frame in reader.scan(None, 10_000)
            for source in frame["_source"]
        )
        ledgers = reader.watermarks().ledgers.values()
    assert found == Counter(range(count))
    assert sum(ledger.indexed for ledger in ledgers) == count
    assert all(ledger.imbalance == 0 for ledger in ledgers)


def test_below_its_reserve_it_pauses_says_so_and_answers_then_goes_on(tmp_path: Path, small: Path) -> None:
    write(tmp_path, 0, 1000)
    with service(tmp_path, configured("16MB")) as running:
        running.until(lambda: running.count("logs") == 1000)
        filler = fill(small, leave=8 * MB)
        write(tmp_path, 1000, 1000)
        running.until(lambda: said(running, "is nearly full: free "))
        assert running.raw("/health/ready")[0] == 200
        assert 1000 <= running.count("logs") < 2000
        assert any(event["event"] == "index.paused" for event in running.events())
        filler.unlink()
        running.until(lambda: running.count("logs") == 2000)
        running.until(lambda: running.ask("/health/ready")["state"] == "ready")
    assert running.process.returncode == 0
    assert_each_once(small, 2000)


def test_without_a_reserve_a_full_disk_rolls_back_and_nothing_is_lost_or_doubled(
    tmp_path: Path, small: Path
) -> None:
    """The engine itself meets ENOSPC: while it is full, what was committed is searched."""
    write(tmp_path, 0, 1000)
    with service(tmp_path, configured("0B")) as running:
        running.until(lambda: running.count("logs") == 1000)
        filler = fill(small, leave=2 * MB)
        write(tmp_path, 1000, 9000)
        running.until(lambda: said(running, "the disk is full, waiting for room"))
        assert 1000 <= running.count("logs") < 10_000
        filler.unlink()
        running.until(lambda: running.count("logs") == 10_000, 60)
        running.until(lambda: running.ask("/health/ready")["state"] == "ready")
        rewound = [event for event in running.events() if event["event"] == "index.rewound"]
    assert rewound
    assert running.process.returncode == 0
    assert_each_once(small, 10_000)


def test_a_start_on_a_full_disk_waits_for_room(tmp_path: Path, small: Path) -> None:
    write(tmp_path, 0, 1000)
    filler = fill(small, leave=0)
    with service(tmp_path, configured("0B")) as running:
        running.until(lambda: "no space left on the disk" in str(running.ask("/health/ready")["reasons"]))
        filler.unlink()
        running.until(lambda: running.count("logs") == 1000, 60)
    assert_each_once(small, 1000)


def test_dead_letters_on_a_full_disk_pause_the_pipeline_and_none_is_lost(tmp_path: Path, small: Path) -> None:
    """Every record is rejected, so the dead letters fill the disk before the index does."""
    with service(tmp_path, configured("0B")) as running:
        running.until_ready()
        filler = fill(small, leave=2 * MB)
        write(tmp_path, 1, 5000, bad=True)
        running.until(lambda: said(running, "disk"))
        filler.unlink()
        running.until(lambda: running.ask("/api/pipelines")["pipelines"][0]["dead_letters"] == 5000, 60)
        running.until(lambda: running.ask("/health/ready")["state"] == "ready")
        (pipeline,) = running.ask("/api/pipelines")["pipelines"]
    assert pipeline["ledger"] == {"read": 5000, "indexed": 0, "rejected": 5000, "dropped": 0}
    letters = DeadLetterView(dead_letter_file(small / "data")).list(limit=6000)
    assert sorted(letter.record for letter in letters) == list(range(5000))
