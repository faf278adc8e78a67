"""`headrace index` as it is typed: any files into a folder, once however often, and a summary at the end."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

import headrace
from headrace.cli.app import DONE, INTERRUPTED, REJECTED, USAGE
from headrace.index.tantivy import open_reader, store
from headrace.layout import index_directory

FLIGHTS = """\
carrier,flight,dep_delay,origin
UA,1545,2,EWR
AA,1141,NA,JFK
B6,725,-1,JFK
"""


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`headrace index …` in a folder."""
    command = [sys.executable, "-m", "headrace.cli", "index", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def summary(folder: Path, *arguments: str) -> dict[str, Any]:
    done = typed(folder, *arguments, "--json")
    assert (DONE, "") == (done.returncode, done.stderr)
    decoded: dict[str, Any] = json.loads(done.stdout)
    return decoded


def documents(folder: Path, sort: str) -> list[dict[str, Any]]:
    with headrace.open(folder) as opened:
        return [hit["_source"] for hit in opened.answer({"size": 1000, "sort": [sort]})["hits"]["hits"]]


def test_csv_with_na_becomes_typed_fields_with_no_value_there(tmp_path: Path) -> None:
    (tmp_path / "flights.csv").write_text(FLIGHTS)
    said = summary(tmp_path, "flights.csv", "--into", "out", "--null", "NA")
    assert ("integer", "keyword") == (said["fields"]["dep_delay"], said["fields"]["origin"])
    assert (3, 3, 0, 3) == (said["read"], said["indexed"], said["rejected"], said["documents"])
    assert [2, None, -1] == [row.get("dep_delay") for row in by_carrier(tmp_path / "out", "UA", "AA", "B6")]
    with headrace.open(tmp_path / "out") as opened:
        assert 1 == opened.count("dep_delay:<0")


def by_carrier(folder: Path, *carriers: str) -> list[dict[str, Any]]:
    found = {row["carrier"]: row for row in documents(folder, "flight")}
    return [found[carrier] for carrier in carriers]


def test_na_is_found_out_without_being_told(tmp_path: Path) -> None:
    (tmp_path / "flights.csv").write_text(FLIGHTS)
    assert "integer" == summary(tmp_path, "flights.csv", "--into", "out")["fields"]["dep_delay"]
    with headrace.open(tmp_path / "out") as opened:
        assert 2 == opened.count("dep_delay:*")


def test_run_again_it_adds_nothing_and_with_more_files_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(FLIGHTS)
    assert 3 == summary(tmp_path, "*.csv", "--into", "out")["read"]
    again = summary(tmp_path, "*.csv", "--into", "out")
    assert (0, 0, 3) == (again["read"], again["indexed"], again["documents"])
    (tmp_path / "b.csv").write_text(FLIGHTS.replace("UA", "DL"))
    more = summary(tmp_path, "*.csv", "--into", "out")
    assert (3, 3, 6) == (more["read"], more["indexed"], more["documents"])


def test_a_declared_id_keeps_the_last_of_each(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(FLIGHTS + "UA,1545,99,EWR\n")
    said = summary(tmp_path, "a.csv", "--into", "out", "--id", "carrier", "--id", "flight")
    assert (4, 3) == (said["read"], said["documents"])
    assert [99] == [row["dep_delay"] for row in by_carrier(tmp_path / "out", "UA")]


def test_several_formats_and_compressions_go_into_one_index(tmp_path: Path) -> None:
    """Content decides, not the name."""
    frame = pl.read_csv(FLIGHTS.encode(), null_values="NA")
    part = {name: frame.with_columns(part=pl.lit(name)) for name in ("csv", "ndjson", "parquet", "json")}
    (tmp_path / "one.csv").write_text(part["csv"].write_csv())
    (tmp_path / "two").write_bytes(gzip.compress(part["ndjson"].write_ndjson().encode()))
    part["parquet"].write_parquet(tmp_path / "three.parquet")
    (tmp_path / "four.json").write_text(part["json"].write_json())
    said = summary(tmp_path, "one.csv", "two", "three.parquet", "four.json", "--into", "out")
    assert (12, 12) == (said["read"], said["documents"])
    parts = Counter(row["part"] for row in documents(tmp_path / "out", "flight"))
    assert dict.fromkeys(part, 3) == parts


def test_rejected_records_are_told_and_only_strict_makes_them_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"n":1}\n{"n":\n{"n":3}\n')
    done = typed(tmp_path, "a.ndjson", "--into", "out")
    assert DONE == done.returncode
    assert re.match(r"3 records read in [\d.]+ s \([\d,]+/s\), 2 indexed, 1 rejected\n", done.stdout)
    assert "see why: headrace dlq list out\n" in done.stdout
    assert "index out: 2 documents, " in done.stdout
    again = typed(tmp_path, "a.ndjson", "--into", "other", "--strict")
    assert REJECTED == again.returncode
    letters = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "dlq", "list", "out", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}/a.ndjson:2: not JSON: " in json.loads(letters.stdout)["detail"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.csv"], "no such file: 'none.csv', relative paths start from DIR\n"),
        (["*.none"], "no file matches '*.none' in DIR\n"),
        (
            ["a.csv", "--id", "fligth"],
            "id 'fligth' is not a field of the first records, did you mean 'flight'? (have: carrier, dep_delay, flight, origin)\n",
        ),
        (
            ["a.csv", "--name", "UPPER"],
            "'UPPER' cannot be the name of an index: write it in lower case, 'upper'\n",
        ),
        (["a.csv", "--field", "origin"], "--field 'origin': write NAME=TYPE, such as origin=keyword\n"),
        (
            ["a.csv", "--format", "cvs"],
            "options of the files source: format: unknown value 'cvs', did you mean 'csv'? (have: FORMATS)\n",
        ),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "a.csv").write_text(FLIGHTS)
    done = typed(tmp_path, *arguments, "--into", "out")
    says = says.replace("FORMATS", "arrow, auto, csv, json, lines, ndjson, parquet")
    assert (USAGE, "", says.replace("DIR", str(tmp_path))) == (done.returncode, done.stdout, done.stderr)


def test_a_terminal_gets_a_bar_and_stdout_only_the_summary(tmp_path: Path) -> None:
    count = 30_000
    (tmp_path / "a.ndjson").write_text("".join(f'{{"n":{n},"text":"mill {n}"}}\n' for n in range(count)))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "index", "a.ndjson", "--into", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        drawn = _everything(ours)
        assert process.stdout is not None
        out = process.stdout.read().decode()
        assert DONE == process.wait(timeout=30)
    assert "━" in drawn
    assert re.search(r"[\d,]+ records.*[\d,]+/s", drawn)
    assert drawn.endswith("\x1b[2K")  # the bar is wiped away
    assert out.startswith("30,000 records read in ")


def _everything(descriptor: int) -> str:
    """What is written to a terminal until its other side is closed."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux says EIO for the end
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


def test_interrupted_it_commits_what_was_read_and_the_next_run_completes_exactly(tmp_path: Path) -> None:
    """In the middle: once there is an index, and before all of the file fits into what is in flight."""
    count = 450_000
    with (tmp_path / "a.ndjson").open("w") as out:
        out.writelines(f'{{"n":{n},"text":"the mill wheel number {n} turns"}}\n' for n in range(count))
    # A shell that starts the suite in the background has SIGINT ignored, which children would inherit.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from headrace.cli.app import main; main(['index', 'a.ndjson', '--into', 'out'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not store.exists(index_directory(tmp_path / "out", "out")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out_text, err_text = process.communicate(timeout=40)
    assert (INTERRUPTED, "", "\ninterrupted\n") == (process.returncode, out_text, err_text)
    with headrace.open(tmp_path / "out") as opened:
        first = opened.count()
    assert 0 < first < count
    said = summary(tmp_path, "a.ndjson", "--into", "out")
    assert (count - first, count) == (said["read"], said["documents"])
    with closing(open_reader(index_directory(tmp_path / "out", "out"))) as reader:
        found = Counter(
            msgspec.json.decode(source)["n"]
            for frame in reader.scan(None, 10_000)
            for source in frame["_source"]
        )
    assert Counter(range(count)) == found
