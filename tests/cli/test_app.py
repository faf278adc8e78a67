"""The command line as a whole: quick, one line per error, exit codes that mean something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headrace import __version__
from headrace.cli.app import COMMANDS, FAILED, USAGE, run
from headrace.cli.reference import command_page


def test_the_help_names_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["--help"])
    out = capsys.readouterr().out
    for title in COMMANDS:
        assert f"{title}:" in out
    for name in ("search", "check", "dlq", "verify", "schema", "components"):
        assert f"  {name} " in out


def test_the_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from headrace.cli.app import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert set() == loaded & {
        "polars",
        "tantivy",
        "msgspec",
        "anyio",
        "starlette",
        "rich",
        "ruamel",
        "httpx2",
    }


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["--version"])
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert USAGE == run(["chekc"])
    assert "unknown command 'chekc', did you mean 'check'?" in capsys.readouterr().err


def test_an_error_is_one_line_on_stderr_and_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["check", str(tmp_path / "none.yaml")])
    captured = capsys.readouterr()
    assert ("", f"cannot read {tmp_path}/none.yaml: no such file or directory\n") == (
        captured.out,
        captured.err,
    )


def test_what_failed_without_being_asked_wrongly_is_another_code(tmp_path: Path) -> None:
    assert FAILED == run(["dlq", "show", str(tmp_path), "7"])


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.mkdir()
    monkeypatch.setitem(COMMANDS, "Broken", {"_broken": "Not ours."})
    monkeypatch.setattr("headrace.cli.app._exists", lambda _: True)
    with pytest.raises(ModuleNotFoundError):
        run(["_broken"])


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    """After a change: python -m headrace.cli.reference > docs/cli.md."""
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert command_page() == page.read_text("utf-8")
