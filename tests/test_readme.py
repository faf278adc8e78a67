"""README's five minutes, run as a stranger would type them: one shell, from top to bottom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.running import free_port

README = Path(__file__).parent.parent / "README.md"
TOUR = re.search(r"## Five minutes\n(.*?)\n## ", README.read_text(), re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """(language, text) of each fenced block of the tour, in order."""
    assert TOUR is not None
    return re.findall(r"```(sh|python|yaml)\n(.*?)```", TOUR[1], re.DOTALL)


def as_script(port: int) -> str:
    """The tour as one bash script: files are written, Python is run, the service is stopped at the end."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for number, (language, text) in enumerate(blocks()):
        here = text.replace("7223", str(port))
        if language == "sh":
            lines.append(here)
        else:
            name = "headrace.yaml" if language == "yaml" else f"tour{number}.py"
            lines.append(f"cat > {name} <<'TOUR_END'\n{here}TOUR_END")
            if language == "python":
                lines.append(f"{sys.executable} {name}")
    return "\n".join(lines)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour uses curl")
def test_the_five_minute_tour_works_as_written(tmp_path: Path) -> None:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", as_script(free_port())],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "3 records read" in said
    assert "timeout waiting for the payment provider" in said
    assert "0 records read" in said
    assert "2 ['/checkout', '/checkout']" in said
    assert "exactly once" in said
    assert '"errors":false' in said
    assert '"count":1' in said
    assert '"count":4' in said
    assert "below_min" in said
