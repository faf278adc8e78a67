"""Wrong inputs through the real command line: the whole message, the exit code, and all the rest indexed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import headrace
from headrace.core.registry import kinds
from services.running import free_port
from services.wrong_inputs import CASES, CONFIGURATION, Case, filled, lines, page, truncated

DOCS = Path(__file__).parents[2] / "docs"


def headrace_says(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", "--log-level", "error", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def write(folder: Path, port: int, edits: tuple[tuple[str, str], ...]) -> None:
    text = CONFIGURATION.replace("PORT", str(port))
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "service.yaml").write_text(text)


def decompressed() -> bytes:
    """What is left of the truncated archive."""
    return zlib.decompressobj(wbits=31).decompress(truncated())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_message_says_what_which_where_and_what_next(tmp_path: Path, case: Case) -> None:
    port = free_port()
    (tmp_path / "good.ndjson").write_bytes(b"".join(lines()))
    (tmp_path / "input").write_bytes(case.given())
    write(tmp_path, port, case.edits)
    if case.again:
        assert 0 == headrace_says(tmp_path, *case.command).returncode
        write(tmp_path, port, case.again)
    with case.around(tmp_path, port):
        done = headrace_says(tmp_path, *case.command)
    values = {"KINDS": ", ".join(sorted(kinds("ingest"))), "BYTES": f"{len(decompressed()):,}"}
    says = filled(case.says, tmp_path, port, values)
    if case.reason:
        letter = json.loads(headrace_says(tmp_path, "dlq", "list", "data", "--json").stdout)
        assert (case.reason, says, 36) == (letter["reason"], letter["detail"], letter["record"])
        assert (tmp_path / "input").read_bytes().split(b"\n")[36].startswith(beginning(letter))
    else:
        assert says == done.stderr.splitlines()[-1]
    assert (case.code, "") == (done.returncode, done.stdout)
    assert "Traceback" not in done.stderr
    assert case.holds == {name: documents(tmp_path, name) for name in case.holds}


def beginning(letter: dict[str, str]) -> bytes:
    """The first bytes of what the letter keeps of the record."""
    return letter["original"].encode()[:8]


def documents(folder: Path, index: str) -> int:
    with headrace.open(folder / "data", name=index) as opened:
        return opened.count()


def test_of_a_truncated_archive_every_whole_line_is_indexed_and_the_rest_when_it_is_replaced(
    tmp_path: Path,
) -> None:
    """Replaced by the whole file it goes on where the damaged one ended: nothing is indexed twice."""
    (tmp_path / "good.ndjson").write_bytes(b"".join(lines()))
    (tmp_path / "input").write_bytes(truncated())
    write(tmp_path, free_port(), ())
    assert 1 == headrace_says(tmp_path, "run", "service.yaml", "--only", "ingester", "--once").returncode
    whole = decompressed().count(b"\n")
    assert 0 < whole < len(lines())
    assert whole == documents(tmp_path, "bad")
    (tmp_path / "input").write_bytes(gzip.compress(b"".join(lines()), mtime=0))
    assert 0 == headrace_says(tmp_path, "run", "service.yaml", "--only", "ingester", "--once").returncode
    assert len(lines()) == documents(tmp_path, "bad")


def test_the_page_of_messages_is_the_one_these_cases_give() -> None:
    """After a change: python tests/services/wrong_inputs.py > docs/errors.md."""
    assert page() == (DOCS / "errors.md").read_text("utf-8")
