"""`headrace serve` as it is typed: a folder is searched over HTTP, and nothing is written there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

import headrace
from headrace.cli.app import FAILED, USAGE, run
from headrace.layout import index_directory
from services.running import Running, free_port

WORDS = pl.DataFrame({"n": range(50), "word": [f"w{n % 7}" for n in range(50)]})


@contextmanager
def serving(folder: Path, directory: Path) -> Iterator[Running]:
    """`headrace serve DIRECTORY` on a free port, stopped at the end."""
    port = free_port()
    running = Running(folder, port, "serve", str(directory), "--port", str(port))
    try:
        yield running
    finally:
        running.stop()


def contents(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with its size and the time of its last change."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("below", [False, True], ids=["data-directory", "index-directory"])
def test_a_folder_is_searched_and_left_as_it_is(tmp_path: Path, below: bool) -> None:
    """Ready at once: there is no ingester to wait for, and none is missing."""
    headrace.index(WORDS, into=tmp_path / "data", name="words").close()
    before = contents(tmp_path / "data")
    directory = index_directory(tmp_path / "data", "words") if below else tmp_path / "data"
    with serving(tmp_path, directory) as running:
        running.until_ready()
        ready = running.ask("/health/ready")
        assert "ready" == ready["state"]
        assert 50 == running.count("words")
        assert 7 == running.ask("/words/_search?q=word:w3")["hits"]["total"]["value"]
        with headrace.open(running.base, name="words") as opened:
            assert 50 == opened.count()
        assert b"headrace_http_request_duration_seconds" in running.raw("/metrics")[1]
        status, body = running.raw("/wrods/_search")
        expected = "no such index [wrods], did you mean 'words'? (have: words)"
        assert (404, expected) == (status, json.loads(body)["error"]["reason"])
        assert running.raw("/api/pipelines")[0] in (400, 404)
    assert 0 == running.process.returncode
    assert before == contents(tmp_path / "data")


def test_each_new_commit_and_each_new_index_is_seen(tmp_path: Path) -> None:
    data = tmp_path / "data"
    headrace.index(WORDS, into=data, name="words").close()
    with serving(tmp_path, data) as running:
        running.until_ready()
        assert 50 == running.count("words")
        headrace.index(WORDS.with_columns(n=pl.col("n") + 50), into=data, name="words").close()
        assert 100 == running.count("words")
        headrace.index(WORDS, into=data, name="others").close()
        assert 50 == running.count("others")


def test_an_index_of_an_unknown_format_costs_only_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("new", "old"):
        headrace.index(WORDS, into=data, name=name).close()
    description = index_directory(data, "new") / "index.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "format": 99}))
    with serving(tmp_path, data) as running:
        running.until_ready()
        status, body = running.raw("/new/_count")
        assert 503 == status
        assert "format 99, this version knows 1" in json.loads(body)["error"]["reason"]
        assert 50 == running.count("old")


def test_a_folder_without_an_index_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["serve", str(tmp_path)])
    expected = f"no index in {tmp_path}; make one with `headrace index FILES --into {tmp_path}`\n"
    assert expected == capsys.readouterr().err
    assert USAGE == run(["serve", str(tmp_path / "none")])
    assert f"there is no index directory {tmp_path}/none\n" == capsys.readouterr().err


def test_a_port_in_use_is_said_with_the_option_to_change(tmp_path: Path) -> None:
    headrace.index(WORDS, into=tmp_path / "data").close()
    with serving(tmp_path, tmp_path / "data") as running:
        running.until_ready()
        port = running.base.rpartition(":")[2]
        command = [sys.executable, "-m", "headrace.cli", "serve", str(tmp_path / "data"), "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    expected = (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "stop what uses it, or choose another port (server.port, --port)\n"
    )
    assert (FAILED, "", expected) == (second.returncode, second.stdout, second.stderr)
