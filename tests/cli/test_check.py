"""`headrace check`: what a configuration promises, and what it must not be allowed to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli.app import USAGE, run
from headrace.cli.check import delivery
from headrace.ingest.base import Guarantee

CONFIGURATION = """\
indexes:
  sales:
    type: tantivy
    id: order
    fields: {order: keyword, price: float}
pipelines:
  sales:
    source: {type: files, paths: [sales.ndjson]}
    transform:
      - set: {dear: "price > 100"}
    index: sales
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sales.ndjson").write_text('{"order": "a", "price": 5.5, "note": "x"}\n')
    path = tmp_path / "sales.yaml"
    path.write_text(CONFIGURATION)
    return path


def changed(file: Path, old: str, new: str) -> str:
    assert old in CONFIGURATION
    file.write_text(CONFIGURATION.replace(old, new))
    return str(file)


def test_it_says_what_a_pipeline_promises_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(file.parent.iterdir())
    assert 0 == run(["check", str(file)])
    out = capsys.readouterr().out
    assert "sales: files → set → sales (tantivy)" in out
    assert "  delivery        exactly once\n" in out
    assert "  kill -9 loses   nothing\n" in out
    assert "  full disk       below 256 MB free the pipeline pauses" in out
    assert before == sorted(file.parent.iterdir())


def test_what_lookups_keep_in_memory_is_counted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{number},{'x' * 100}\n" for number in range(1000))
    (file.parent / "notes.csv").write_text("note,text\n" + rows)

    def counted(step: str) -> int:
        assert 0 == run(["check", changed(file, 'set: {dear: "price > 100"}', step), "--json"])
        memory = json.loads(capsys.readouterr().out)["memory"]
        return sum(part["bytes"] for part in memory if part["what"] == "lookup tables and caches")

    table = counted("lookup: {table: notes.csv, key: note, add: [text]}")
    assert 3 * 100_000 < table < 3 * 200_000
    asked = "http_lookup: {url: 'http://localhost/{note}', key: note, add: [text], cache: {bytes: 10MB}}"
    assert 10_000_000 < counted(asked)


def test_the_worst_case_is_the_sum_of_its_parts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["check", str(file), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["worst_case"] == sum(part["bytes"] for part in report["memory"])
    assert report["worst_case"] <= report["limit"]
    assert "writer of index sales" in [part["what"] for part in report["memory"]]
    assert "note: String" in report["pipelines"][0]["fields"]


def test_a_configuration_that_breaks_its_own_limit_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(CONFIGURATION + "memory:\n  limit: 100MB\n")
    assert USAGE == run(["check", str(file)])
    err = capsys.readouterr().err
    assert err.startswith(f"{file}:13: memory.limit: the worst case of ")
    assert "is more than the limit of 100 MB" in err


def test_a_value_of_several_kinds_is_told_all_that_it_may_be(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["check", changed(file, "id: order", "id: order\n    dynamic: maybe")])
    expected = f"{file}:5: indexes.sales.dynamic: unknown value 'maybe', have: false, strict, true\n"
    assert expected == capsys.readouterr().err


def test_a_misspelt_field_is_found_with_its_line_and_the_nearest_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["check", changed(file, "price > 100", "pricee > 100")])
    err = capsys.readouterr().err
    assert err.startswith(f"{file}:10: pipelines.sales.transform[0].set.dear: ")
    assert "'price'" in err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("id: order", "id: oder", "id 'oder' is no field of the first records and not declared, "),
        (
            "id: order",
            "id: [order, oder]\n    dynamic: strict",
            "id 'oder' is not declared, and dynamic: strict would reject every record that has it, ",
        ),
    ],
)
def test_an_id_that_no_record_has_is_found_with_its_line_and_the_nearest_name(
    file: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    assert USAGE == run(["check", changed(file, old, new)])
    err = capsys.readouterr().err
    assert err.startswith(f"{file}:4: indexes.sales.id: {says}did you mean 'order'? (have: "), err


@pytest.mark.parametrize("name", ["note", "made"])
def test_an_id_may_be_undeclared_where_the_records_or_a_step_have_it(file: Path, name: str) -> None:
    file.write_text(
        CONFIGURATION.replace("id: order", f"id: {name}").replace(
            "set: {dear:", 'set: {made: "upper(note)", dear:'
        )
    )
    assert 0 == run(["check", str(file)])


def test_a_missing_file_is_found_with_its_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert USAGE == run(["check", changed(file, "sales.ndjson", "none.ndjson")])
    err = capsys.readouterr().err
    assert err.startswith(f"{file}:8: pipelines.sales.source")
    assert "none.ndjson" in err


def test_problems_of_several_pipelines_are_told_together(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = CONFIGURATION.split("pipelines:\n")[1].replace("  sales:\n", "  other:\n", 1)
    file.write_text((CONFIGURATION + second).replace("price > 100", "avg(price) > 100"))
    assert USAGE == run(["check", str(file)])
    assert 2 == len(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("guarantee", "declared_id", "expected"),
    [
        (Guarantee(replayable=True, stable_ids=True), False, "exactly once"),
        (Guarantee(replayable=True, stable_ids=False), True, "exactly once: a repeated record replaces"),
        (Guarantee(replayable=True, stable_ids=False), False, "at least once: the source may number"),
        (Guarantee(replayable=False, stable_ids=True), True, "at least once from the client"),
    ],
)
def test_delivery_follows_from_the_source_and_the_declared_id(
    guarantee: Guarantee, declared_id: bool, expected: str
) -> None:
    assert delivery(guarantee, declared_id=declared_id).startswith(expected)
