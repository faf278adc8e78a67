"""The pages about pushes, run as a stranger would type them: one shell for each, from top to bottom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.running import free_port

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of what can be run, in order; the first YAML is the configuration, others are parts."""
    found = re.findall(r"^```(sh|python|yaml)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    [configuration, *_] = [text for language, text in found if language == "yaml"]
    return [("yaml", configuration), *((kind, text) for kind, text in found if kind != "yaml")]


def as_script(page: Path, port: int) -> str:
    """The page as one bash script; the service is stopped at its end."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for number, (language, text) in enumerate(blocks(page)):
        here = text.replace("7223", str(port))
        if language == "sh":
            lines.append(here)
            continue
        name = "headrace.yaml" if language == "yaml" else f"part{number}.py"
        lines.append(f"cat > {name} <<'PAGE_END'\n{here}PAGE_END")
        if language == "python":
            lines.append(f"{sys.executable} {name}")
    return "\n".join(lines)


def run(page: str, folder: Path) -> str:
    """All that the page's commands print."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", as_script(DOCS / page, free_port())],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_page_about_pushes_works_as_written(tmp_path: Path) -> None:
    """Every format is accepted, a token waits, a key makes two requests one, a subscriber lets go."""
    said = run("push.md", tmp_path)
    assert '{"accepted":2,"pipeline":"orders","log":"orders","first":0,"end":2' in said
    assert said.count('"accepted":1,') == 4, said
    assert '"_id":"b1"' in said
    first, second = re.findall(r'\{"accepted":[^{}]*\}', said)[-2:]
    assert first == second
    assert '{"released":"audit"}' in said


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_recipes_of_the_wire_api_work_as_written(tmp_path: Path) -> None:
    """curl, both clients, an update, an aggregation, a scan, and Arrow at the end."""
    said = run("elasticsearch.md", tmp_path)
    assert '"errors":false' in said
    assert "timeout waiting for the provider" in said
    assert "(1000, [])" in said
    assert "'key': 'a0', 'doc_count': 334" in said
    assert "\n500\n" in said
    assert "{'count': 4}" in said
    assert "499500.0" in said
