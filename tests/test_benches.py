"""Each measurement does all the work it is named for. How fast it was is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.index.tantivy import open_reader
from headrace.index.tantivy.store import ENGINE, read_meta

ROOT = Path(__file__).parent.parent
RECORDS = 500

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # the suite is a program beside the package, not a part of it

from benches import report  # noqa: E402  after its folder is known
from benches.measure import MEASUREMENTS, Inputs  # noqa: E402
from benches.run import take  # noqa: E402


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    made = Inputs(tmp_path_factory.mktemp("bench"), RECORDS)
    made.prepare()
    return made


def a_run(measured: dict[str, list[dict[str, Any]]]) -> report.Run:
    return report.Run(
        command="python -m benches.run",
        taken_at="2026-01-02T03:04:05+00:00",
        machine={"cores": "2"},
        records=RECORDS,
        record_bytes=224.9,
        rounds=2,
        measured=measured,
    )


def a_rate(rate: float) -> dict[str, Any]:
    return {"rate": rate, "cpu_us": 1e6 / rate, "load_before": 0.0, "process_seconds": 2.0}


class TestMeasurements:
    """In processes of their own, as in a real run, on a few records."""

    def test_input_has_each_record_once(self, inputs: Inputs) -> None:
        lines = inputs.source.read_bytes().splitlines()
        assert RECORDS == len(lines) == len({json.loads(line)["id"] for line in lines})
        assert 200 < inputs.source.stat().st_size / RECORDS < 240

    def test_changed_input_has_the_same_ids_and_other_values(self, inputs: Inputs) -> None:
        before, after = (
            [json.loads(line) for line in path.read_bytes().splitlines()]
            for path in (inputs.source, inputs.changed)
        )
        assert [record["id"] for record in before] == [record["id"] for record in after]
        assert RECORDS == sum(a["message"] != b["message"] for a, b in zip(before, after, strict=True))

    @pytest.mark.parametrize("name", ["bare", "append", "null"])
    def test_each_record_is_handled(self, name: str, inputs: Inputs) -> None:
        found = take(name, inputs)
        assert RECORDS == found["records"]
        assert found["rate"] > 0
        assert found["cpu_us"] > 0

    def test_overwriting_replaces_and_adds_nothing(self, inputs: Inputs) -> None:
        assert RECORDS == take("upsert", inputs)["documents"]
        again = take("overwrite", inputs)
        assert (RECORDS, RECORDS) == (again["records"], again["documents"])

    def test_bare_and_pipeline_index_the_same(self, inputs: Inputs) -> None:
        """Else the ratio would compare apples with pears."""
        take("bare", inputs)
        take("append", inputs)
        bare, product = inputs.work / "bare" / "bare", inputs.work / "append" / "data" / "indexes" / "logs"
        documents = stored(bare)
        assert RECORDS == len(documents)
        assert documents == stored(product)
        assert read_meta(bare / ENGINE)["schema"] == read_meta(product / ENGINE)["schema"]

    def test_service_answers_and_is_measured(self, inputs: Inputs) -> None:
        found = take("service", inputs)
        assert RECORDS == found["records"]
        assert {"term", "phrase", "bool, range, sort", "terms aggregation"} == set(found["search_ms"])
        assert found["peak_mb"] > 1
        assert 0 < found["ready_full_s"]

    def test_a_measurement_that_skips_work_fails_the_run(self, inputs: Inputs, tmp_path: Path) -> None:
        short = Inputs(tmp_path, RECORDS)
        short.source.write_bytes(b"".join(inputs.source.read_bytes().splitlines(keepends=True)[1:]))
        with pytest.raises(RuntimeError, match="append was to handle 500 records"):
            take("append", short)


def stored(directory: Path) -> list[tuple[int, dict[str, Any]]]:
    """What an index holds, by sequence number."""
    reader = open_reader(directory)
    try:
        return [
            (seq, json.loads(source))
            for frame in reader.scan(None, 1000)
            for seq, source in frame.select("_seq", "_source").iter_rows()
        ]
    finally:
        reader.close()


class TestReport:
    def test_ratio_is_the_median_of_ratios_within_rounds(self) -> None:
        """Not the ratio of medians: a slow round slows both."""
        run = a_run(
            {
                "bare": [a_rate(100.0), a_rate(50.0), a_rate(200.0)],
                "append": [a_rate(80.0), a_rate(45.0), a_rate(100.0)],
            }
        )
        found = next(row for row in report.rows(run) if "append" in row.what)
        assert ("0.80", "0.50 to 0.90") == report.told(found)[:2]

    def test_ratio_comes_first_in_every_row(self) -> None:
        run = a_run({"bare": [a_rate(100.0)] * 2, "append": [a_rate(80.0), a_rate(90.0)]})
        lines = report.table(run).splitlines()
        assert lines[0].startswith("ratio to bare")
        assert lines[2].split()[0] == "0.85"

    def test_page_names_command_date_machine_and_rows(self) -> None:
        page = report.page(a_run({"bare": [a_rate(100.0)]}))
        for expected in ("`python -m benches.run`", "2026-01-02", "| cores | 2 |", "bare Tantivy"):
            assert expected in page

    def test_a_busy_machine_is_said_to_be_busy(self) -> None:
        run = a_run({"bare": [{**a_rate(100.0), "load_before": 7.5}]})
        assert "others were at work" in report.page(run)


def test_every_measurement_is_tried_here() -> None:
    assert {"bare", "append", "upsert", "overwrite", "null", "service"} == set(MEASUREMENTS)


def test_the_program_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches.run", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout
    assert "--publish" in done.stdout
