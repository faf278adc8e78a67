"""The suite's own rules bite: a left process fails its test, a promised service may not be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def run_pytest(folder: Path, test: str, **environment: str) -> str:
    """What pytest prints for one test under this suite's conftest."""
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text("utf-8"), "utf-8")
    (folder / "test_it.py").write_text(test, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = service: beside Python\n", "utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=plain | {"PYTHONPATH": str(TESTS)} | environment,
    )
    return done.stdout + done.stderr


def test_a_test_that_leaves_a_process_fails_by_name(tmp_path: Path) -> None:
    test = """
        import subprocess
        kept = []

        def test_leaves_one():
            kept.append(subprocess.Popen(["sleep", "60"]))

        def test_innocent():
            pass
    """
    output = run_pytest(tmp_path, "if True:" + test)
    assert "processes were left behind" in output
    assert "sleep 60) of test_it.py::test_leaves_one" in output
    assert "2 passed, 1 error" in output


def test_a_grandchild_whose_parent_died_is_found(tmp_path: Path) -> None:
    test = """
        import subprocess

        def test_leaves_a_grandchild():
            subprocess.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 &"], check=True)
    """
    assert "sleep 60) of test_it.py::test_leaves_a_grandchild" in run_pytest(tmp_path, "if True:" + test)


def test_a_process_that_was_ended_is_no_offence(tmp_path: Path) -> None:
    test = """
        import subprocess

        def test_ends_it():
            with subprocess.Popen(["sleep", "60"]) as child:
                child.kill()
    """
    assert "1 passed" in run_pytest(tmp_path, "if True:" + test)


SKIPPED_SERVICE = """
import pytest

@pytest.mark.service
def test_browser():
    pytest.skip("no browser here")

@pytest.mark.service
@pytest.mark.skipif(True, reason="no tmpfs here")
def test_disk():
    pass

def test_plain():
    pytest.skip("not about services")
"""


@pytest.mark.parametrize(
    ("promised", "expected"), [("0", "3 skipped"), ("1", "1 failed, 1 skipped, 1 error")]
)
def test_a_skipped_service_fails_only_where_services_are_promised(
    tmp_path: Path, promised: str, expected: str
) -> None:
    output = run_pytest(tmp_path, SKIPPED_SERVICE, HEADRACE_REQUIRE_SERVICES=promised)
    assert expected in output
    assert "no browser here" in output


def test_a_module_that_skips_itself_fails_where_services_are_promised(tmp_path: Path) -> None:
    test = "import pytest\npytest.skip('no browser here', allow_module_level=True)\n"
    assert "1 error" in run_pytest(tmp_path, test, HEADRACE_REQUIRE_SERVICES="1")
