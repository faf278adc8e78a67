"""`headrace demo` for who only installed the package: from an empty folder, and again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from headrace.cli.demo import EVENTS
from services.running import free_port


@pytest.mark.timeout(180)
def test_the_demo_shows_five_answers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    first = demo(tmp_path)
    assert re.findall(r"^(\d)\. ", first, re.MULTILINE) == list("12345")
    found = [int(number.replace(",", "")) for number in re.findall(r"→ ([\d,]+) found in", first)]
    assert len(found) == 5
    assert all(found)
    events = tmp_path / "demo" / "events.ndjson"
    assert count(tmp_path) >= EVENTS
    written = events.read_text().count("\n")
    demo(tmp_path)
    assert count(tmp_path) >= written  # what the first one still wrote while it stopped is there now
    assert count(tmp_path) <= events.read_text().count("\n")


def demo(folder: Path) -> str:
    """What `headrace demo --exit` prints."""
    arguments = ["demo", "demo", "--exit", "--port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def count(folder: Path) -> int:
    with headrace.open(folder / "demo" / "data") as opened:
        return opened.count()
