"""What the report says of numbers, with numbers made up: ratios, bars, goals, what is missing, plots."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent.parent

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # the suite is a program beside the package, not a part of it

from benches.load import quantiles  # noqa: E402
from benches.table import Row, Table, least, most  # noqa: E402

from benches import plot, publish, report  # noqa: E402  after its folder is known

Measured = dict[str, list[dict[str, Any]]]


def a_run(measured: Measured) -> report.Run:
    return report.Run(
        command="python -m benches.run",
        taken_at="2026-01-02T03:04:05+00:00",
        machine={"cores": "2"},
        records=500,
        record_bytes=224.9,
        rounds=2,
        measured=measured,
        seconds=600.0,
    )


def a_rate(rate: float) -> dict[str, Any]:
    found = {"rate": rate, "cpu_us": 1e6 / rate, "others_cores": 0.0, "peak_mb": 100.0}
    return {**found, "disk_bytes": 60, "input_bytes": 100}


def the_row(measured: Measured, number: str) -> Row:
    return next(row for row in Table(measured).rows() if row.number == number)


class TestTable:
    def test_ratio_is_the_median_of_ratios_within_rounds(self) -> None:
        """Not the ratio of medians: a slow round slows both."""
        measured = {
            "bare": [a_rate(100.0), a_rate(50.0), a_rate(200.0)],
            "append": [a_rate(80.0), a_rate(45.0), a_rate(100.0)],
        }
        assert ("P1", "0.80", "0.50 to 0.90") == report.cells(the_row(measured, "P1"))[:3]

    def test_a_failed_round_costs_neither_the_others_nor_their_ratios(self) -> None:
        measured = {
            "bare": [a_rate(100.0), a_rate(100.0)],
            "append": [{"failed": "it broke"}, a_rate(90.0)],
        }
        row = the_row(measured, "P1")
        assert ([90.0], [0.9], "1 failed: it broke") == (row.values, row.ratios, row.verdict)

    def test_what_was_not_measured_is_a_row_that_says_why(self) -> None:
        row = the_row({"append": [{"skipped": "no disk"}]}, "P9")
        assert ("-", "not measured: no disk") == (report.cells(row)[3], row.verdict)

    def test_a_rate_too_high_to_be_measured_leaves_the_others(self) -> None:
        seen = {"ack_ms": {"p99": 5.0}, "searchable_ms": {"p99": 50.0}}
        taken = {"rates": {"25000": seen}, "failures": {"50000": "at 50,000/s the client ended with 1"}}
        rows = [row for row in Table({"latencies": [taken]}).rows() if row.number == "P4"]
        assert {"not measured: at 50,000/s the client ended with 1", "", "bar met"} == {
            row.verdict for row in rows
        }

    def test_what_was_not_asked_for_is_no_row(self) -> None:
        assert not [row for row in Table({}).rows() if row.number != "P11"]

    @pytest.mark.parametrize(
        ("verdict", "value"),
        [
            ("goal met", 120.0),
            ("bar met; 0.80 of the goal", 80.0),
            ("**falls short**: 0.50 of the bar", 25.0),
        ],
    )
    def test_a_rate_is_judged_by_what_it_reaches(self, verdict: str, value: float) -> None:
        assert verdict == Row("P", "a rate", [value], "/s", bar=least(50), goal=least(100)).verdict

    @pytest.mark.parametrize(
        ("verdict", "value"),
        [
            ("goal met", 20.0),
            ("bar met; 1.50 times the goal", 30.0),
            ("**falls short**: 2.00 times the bar", 100.0),
        ],
    )
    def test_a_latency_is_judged_the_other_way_round(self, verdict: str, value: float) -> None:
        assert verdict == Row("P", "a wait", [value], "ms", bar=most(50), goal=most(20)).verdict

    def test_value_and_ratio_each_have_a_bar(self) -> None:
        row = Row("P", "both", [100.0], "/s", bar=least(90), ratios=[0.5], ratio_bar=least(0.75))
        assert "**falls short**: 0.67 of the bar" == row.verdict
        assert ("≥ 90/s, ratio ≥ 0.75", "") == row.limits


class TestPage:
    def test_it_names_command_date_machine_and_rows(self) -> None:
        page = publish.page(a_run({"bare": [a_rate(100.0)]}), {})
        for expected in ("`python -m benches.run`", "2026-01-02", "| cores | 2 |", "bare Tantivy"):
            assert expected in page

    def test_a_busy_machine_is_said_to_be_busy(self) -> None:
        run = a_run({"bare": [{**a_rate(100.0), "others_cores": 1.5}]})
        assert "others were at work" in publish.page(run, {})
        assert "others were at work" not in publish.page(a_run({"bare": [a_rate(100.0)]}), {})

    def test_what_falls_short_is_told_with_its_bound(self) -> None:
        page = publish.page(a_run({"append": [a_rate(80_000.0)]}), {"P1": "the disk is slow"})
        assert "80,000/s (bar ≥ 100,000/s, ratio ≥ 0.75" in page
        assert "the disk is slow" in page

    def test_a_bound_is_not_told_where_nothing_falls_short(self) -> None:
        page = publish.page(a_run({"append": [a_rate(180_000.0)]}), {"P1": "the disk is slow"})
        assert "the disk is slow" not in page

    def test_publishing_writes_each_plot_that_the_page_shows(self, tmp_path: Path) -> None:
        run = a_run({"bare": [a_rate(100.0)], "append": [a_rate(90.0)]})
        publish.publish(run, tmp_path / "performance.md", tmp_path / "performance")
        page = (tmp_path / "performance.md").read_text("utf-8")
        shown = {line.partition("](")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")}
        assert {"performance/rates.svg"} == shown
        assert {tmp_path / name for name in shown} == set((tmp_path / "performance").iterdir())

    def test_the_notes_on_bounds_can_be_read(self) -> None:
        assert all(name.startswith("P") for name in publish.told_bounds())


class TestQuantiles:
    @given(st.lists(st.floats(0, 1e3), min_size=1))
    def test_they_are_values_that_were_seen_in_order(self, values: list[float]) -> None:
        found = quantiles(values)
        assert list(found.values()) == sorted(found.values())
        assert {value / 1000 for value in found.values()} <= {value * 1000 / 1000 for value in values}
        assert max(values) * 1000 == found["max"]

    def test_a_single_outlier_of_a_hundred_is_the_p99(self) -> None:
        found = quantiles([0.001] * 99 + [1.0])
        assert (1.0, 1000.0) == (found["p50"], found["p99"])

    def test_of_nothing_there_is_nothing(self) -> None:
        assert {} == quantiles([])


NUMBERS = st.floats(0, 1e9, allow_nan=False)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


class TestPlots:
    @given(
        st.lists(
            st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["C"])), NUMBERS), max_size=8
        )
    )
    def test_bars_are_well_formed_and_stay_inside(self, drawn: list[tuple[str, float]]) -> None:
        bars = [plot.Bar(name, value, value * 0.9, value * 1.1, mark=value) for name, value in drawn]
        root = parsed(plot.bars("a < b & c", bars, told=str))
        boxes = root.findall("{*}rect")
        assert len(drawn) == len(boxes)
        for box in boxes:
            assert float(box.attrib["x"]) + float(box.attrib["width"]) <= plot.WIDTH

    @given(
        st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30), min_size=1, max_size=4),
        st.booleans(),
    )
    def test_lines_are_well_formed_and_stay_inside(
        self, drawn: list[list[tuple[float, float]]], logarithmic: bool
    ) -> None:
        seen = [plot.Line("one", points) for points in drawn]
        text = plot.lines(
            "t", seen, across="x", told=str, told_across=str, limit=100.0, logarithmic=logarithmic
        )
        for line in parsed(text).findall("{*}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= plot.WIDTH
                assert 0 <= y <= plot.HEIGHT

    @given(st.floats(1e-6, 1e9))
    def test_a_nice_step_is_never_smaller_and_never_much_larger(self, step: float) -> None:
        assert step * (1 - 1e-6) <= plot.nice(step) <= 2.5 * step

    def test_the_same_run_gives_the_same_files(self) -> None:
        bars = [plot.Bar("one", 1.0, 0.5, 1.5)]
        assert plot.bars("t", bars, told=str) == plot.bars("t", bars, told=str)
