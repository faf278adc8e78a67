"""Each measurement does all the work it is named for. How fast it was is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.index.tantivy import open_reader
from headrace.index.tantivy.store import ENGINE, read_meta

ROOT = Path(__file__).parent.parent.parent
RECORDS = 500

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # the suite is a program beside the package, not a part of it

from benches.inputs import Inputs  # noqa: E402
from benches.measure import MEASUREMENTS, Measurement  # noqa: E402
from benches.run import Suite, chosen, take  # noqa: E402
from benches.scale import FULL, QUICK, TINY  # noqa: E402

from benches import run  # noqa: E402  after its folder is known


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    made = Inputs(tmp_path_factory.mktemp("bench"))
    made.prepare(replace(TINY, records=RECORDS))
    return made


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
        kinds = {"term", "phrase", "bool, range, sort", "terms aggregation", "date_histogram"}
        assert kinds == set(found["search_ms"]) == set(found["busy_ms"])
        assert found["peak_mb"] > 1
        assert 0 < found["ready_full_s"]
        assert 0 < found["pushed"]["searchable_ms"]["p99"]

    def test_nothing_is_lost_while_the_index_stands_still(self, inputs: Inputs) -> None:
        found = take("held", inputs)
        assert (0, TINY.held, TINY.held) == (found["lost"], found["accepted"], found["records"])
        assert 1 < found["stalled_peak_mb"] <= found["peak_mb"]

    def test_pushes_are_timed_at_each_rate(self, inputs: Inputs) -> None:
        found = take("latencies", inputs)
        assert [str(rate) for rate in TINY.rates] == list(found["rates"])
        for seen in found["rates"].values():
            assert 0 < seen["ack_ms"]["p50"] < seen["searchable_ms"]["max"]

    @pytest.mark.parametrize("kind", ["sqlite", "tantivy"])
    def test_what_one_would_pick_instead_is_asked_the_same(self, kind: str, inputs: Inputs) -> None:
        found = take(f"beside-{kind}", inputs)
        assert {"term": 40, "phrase": 40, "terms": 32} == {
            name: count for name, count in found["answers"].items() if name != "filter"
        }
        assert {"term", "phrase", "filter", "terms"} == set(found["search_ms"])

    def test_a_measurement_that_skips_work_is_a_failed_one(self, inputs: Inputs, tmp_path: Path) -> None:
        short = Inputs(tmp_path)
        inputs.scale.save(tmp_path)
        short.source.write_bytes(b"".join(inputs.source.read_bytes().splitlines(keepends=True)[1:]))
        assert take("append", short) == {"failed": "was to handle 500 records, and handled 499"}

    def test_a_measurement_that_breaks_says_its_last_words(self, inputs: Inputs, tmp_path: Path) -> None:
        inputs.scale.save(tmp_path)
        failed = take("bare", Inputs(tmp_path))["failed"]
        assert "No such file or directory" in failed
        assert str(tmp_path) not in failed

    def test_a_measurement_that_hangs_is_ended(self, inputs: Inputs) -> None:
        assert take("append", inputs, limit=0.01)["failed"].startswith("ended after 0 s")


class TestSuite:
    """What a whole run does with its measurements."""

    def test_one_that_fails_does_not_end_the_run(
        self, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        inputs.scale.save(tmp_path)
        short = Inputs(tmp_path)
        short.whole.symlink_to(inputs.whole)
        suite = Suite(short, ["bare", "null"])
        suite.run()
        assert "failed" in suite.taken["bare"][0]
        assert RECORDS == suite.taken["null"][0]["records"]
        assert "bare failed: " in capsys.readouterr().err

    def test_nothing_begins_once_the_time_is_over(
        self, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run, "OVERALL", -1e6)
        suite = Suite(inputs, ["bare"])
        suite.run()
        assert "not begun" in suite.taken["bare"][0]["failed"]

    def test_the_time_it_takes_is_known_before(self) -> None:
        assert 300 < run.expected(FULL, list(MEASUREMENTS)) < 900
        quick = [name for name, each in MEASUREMENTS.items() if each.quick]
        assert run.expected(QUICK, quick) < 120

    def test_the_command_names_no_folder_of_this_machine(self) -> None:
        assert "python -m benches.run --quick" == run.command(["--work", "/somewhere", "--quick"])

    def test_what_goes_on_with_another_brings_it_along(self) -> None:
        assert ["upsert", "overwrite"] == chosen(["overwrite"])

    def test_every_need_is_a_measurement_of_the_round_before(self) -> None:
        names = list(MEASUREMENTS)
        needing = {name: each for name, each in MEASUREMENTS.items() if each.needs}
        assert {"overwrite"} == set(needing)
        for name, each in needing.items():
            assert isinstance(each, Measurement)
            assert names.index(each.needs) < names.index(name)


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


def test_the_program_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches.run", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout
    assert "--publish" in done.stdout
