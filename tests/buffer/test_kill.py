"""Kill -9 of the writer at any moment: what was acknowledged is there once, and nothing is torn."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from buffer.buffers import opened, stored
from headrace.buffer.acks import subscribe
from headrace.buffer.reader import open_log

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parent.parent


def push_until_killed(directory: Path, run: str, seconds: float) -> list[tuple[str, int, str]]:
    """What one run of the program was told is durable."""
    with subprocess.Popen(
        [sys.executable, "-m", "buffer.pushing", str(directory), run],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        if not first:
            raise AssertionError(process.stderr.read().decode())
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        # The last line may be cut by the kill.
        lines = (first + process.stdout.read()).decode().split("\n")[:-1]
    acknowledged = []
    for line in lines:
        log, record, text = line.split(" ")
        acknowledged.append((log, int(record), text))
    return acknowledged


async def campaign(directory: Path, kills: int, seed: int) -> None:
    for log in ("a", "b"):
        subscribe(directory, "p", log)
    dice = random.Random(seed)
    acknowledged: list[tuple[str, int, str]] = []
    for run in range(kills):
        # A pipe that nobody reads would stop the program: so short that it never fills.
        acknowledged += push_until_killed(directory, str(run), dice.uniform(0.0, 0.25))
    async with opened(directory) as buffer:
        assert [] == buffer.status().missing
        assert [] == buffer.status().quarantined
    found: dict[tuple[str, int], str] = {}
    for log in ("a", "b"):
        expected = 0
        for item in stored(directory, log):
            assert expected == item.first
            expected = item.end
            for number, line in enumerate(item.entry.body.decode().split("\n"), item.first):
                found[log, number] = line.strip()
    assert [] == [(log, at, text) for log, at, text in acknowledged if found.get((log, at)) != text]
    assert {1} == set(Counter((log, text) for (log, _), text in found.items()).values())
    requests = Counter((log, text.rpartition("-")[0]) for (log, _), text in found.items())
    assert [] == [name for (_, name), n in requests.items() if n != 1 + int(name.rpartition("-")[2]) % 3]
    assert {name for log, name in requests if log == "a"} == {name for log, name in requests if log == "b"}


async def test_three_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """Each acknowledged record is there once, under the number that was answered; requests are whole."""
    await campaign(tmp_path, kills=3, seed=1)


@pytest.mark.torture
async def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """The same, a hundred times."""
    await campaign(tmp_path, kills=100, seed=2)


def test_a_reader_follows_the_writer_from_another_process(tmp_path: Path) -> None:
    """Beside the writer, over its file rolls: every record once, in order, none torn."""
    reader = open_log(tmp_path, "a")
    assert [] == reader.read(0, size=1000)
    assert "" == reader.incarnation
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"}
    subscribe(tmp_path, "p", "a")
    with subprocess.Popen(
        [sys.executable, "-m", "buffer.pushing", str(tmp_path), "x"],
        cwd=TESTS,
        stdout=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            at, entries = 0, 0
            while entries < 1500:
                for item in reader.read(at, size=100_000):
                    assert at == item.first
                    assert item.entry.records == len(item.entry.body.split(b"\n"))
                    at, entries = item.end, entries + 1
        finally:
            process.kill()
    assert len(list(tmp_path.glob("*.sqlite"))) > 3
    assert "" != reader.incarnation
    reader.close()
