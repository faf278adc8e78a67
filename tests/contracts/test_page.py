"""The example on the page about testing is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from headrace import testing

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_example_runs_and_every_promise_is_tested(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_countdown.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=50)
    assert done.returncode == 0, done.stdout
    promises = [name for name in vars(testing.SourceContract) if name.startswith("test_")]
    assert f"{len(promises)} passed" in done.stdout


def test_every_public_part_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert [] == [name for name in testing.__all__ if name not in text and name not in ("Row", "Step")]
