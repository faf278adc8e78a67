"""Reading dead letters from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli.app import FAILED, USAGE, run
from headrace.core.lock import RoleLock
from headrace.layout import dead_letter_file, run_directory
from headrace.pipeline.deadletter import DeadLetter, DeadLetters


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with two real dead letters."""
    letters = DeadLetters(dead_letter_file(tmp_path))
    letters.open({})
    try:
        letters.append(
            [
                letter(1, "missing_field", "price: expected a value", b'{"price":null}'),
                letter(2, "bad_json", "not JSON \x1b[31mred", b"\xff\x1b[2J"),
            ]
        )
        letters.confirm({("sales", "a"): 10})
    finally:
        letters.close()
    return tmp_path


def letter(record: int, reason: str, detail: str, original: bytes) -> DeadLetter:
    return DeadLetter(
        pipeline="sales",
        partition="a",
        record=record,
        stage="validate",
        reason=reason,
        detail=detail,
        original=original,
        origin="sales.ndjson",
        position=f"line {record + 1}",
        time=0.0,
    )


def test_rejected_records_are_listed_with_their_reason(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["dlq", "list", str(data_dir)])
    captured = capsys.readouterr()
    header, first, second = captured.out.splitlines()
    assert ["ID", "TIME", "PIPELINE", "STAGE", "REASON", "DETAIL"] == header.split()
    assert "1970-01-01T00:00:00Z  sales     validate  missing_field  price: expected a value" in first
    assert "2 dead letters" in captured.err
    assert "\x1b" not in second


def test_a_listing_can_be_narrowed_and_read_by_programs(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["dlq", "list", str(data_dir), "--reason", "bad_json", "--json"])
    [line] = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert ("bad_json", "\\xff\x1b[2J", 2) == (told["reason"], told["original"], told["record"])


def test_one_record_is_shown_with_where_it_came_from(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["dlq", "show", str(data_dir), "1"])
    out = capsys.readouterr().out
    assert "from       sales.ndjson, line 2" in out
    assert '{"price":null}' in out


def test_a_directory_without_letters_is_empty_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["dlq", "list", str(tmp_path)])
    assert "no dead letters\n" == capsys.readouterr().err


def test_an_unknown_letter_and_an_unknown_folder_are_told_apart(data_dir: Path) -> None:
    assert FAILED == run(["dlq", "show", str(data_dir), "99"])
    assert USAGE == run(["dlq", "list", str(data_dir / "nowhere")])


def test_letters_are_deleted_by_pipeline_and_reason(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["dlq", "purge", str(data_dir), "sales", "--reason", "bad_json"])
    assert "1 dead letters deleted" in capsys.readouterr().err
    assert 0 == run(["dlq", "purge", str(data_dir), "sales"])
    assert 0 == run(["dlq", "list", str(data_dir)])
    assert "no dead letters" in capsys.readouterr().err


def test_beside_a_running_ingester_nothing_is_deleted(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RoleLock(run_directory(data_dir), "ingester"):
        assert FAILED == run(["dlq", "purge", str(data_dir), "sales"])
    assert "is in use" in capsys.readouterr().err
    assert 0 == run(["dlq", "list", str(data_dir), "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 2
