"""Each line of the specification names what shows it, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "specification.md"
REFERENCE = re.compile(r"`((?:tests|benches|\.ci)/[^`:]*)(?:::(\w+))?`")


def rows() -> list[tuple[str, str]]:
    """(what, shown by) of each line."""
    cells = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| **")]
    return [(what.strip(), shown.strip()) for what, shown in cells]


def missing(shown: str, root: Path = ROOT) -> list[str]:
    """What is named and not there; or that nothing is named."""
    named = REFERENCE.findall(shown)
    if not named:
        return ["it names no test and no benchmark"]
    faults = []
    for path, name in named:
        file = root / path
        if not file.exists():
            faults.append(f"{path} is not there")
        elif name and not re.search(rf"^\s*(async )?def {name}\(", file.read_text(), re.MULTILINE):
            faults.append(f"{path} has no {name}")
    return faults


@pytest.mark.parametrize(("what", "shown"), rows(), ids=[what[:50] for what, _ in rows()])
def test_each_line_is_shown(what: str, shown: str) -> None:
    assert missing(shown) == [], what


def test_a_line_without_a_test_or_with_one_that_is_gone_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_there() -> None: ...\n")
    assert missing("trust us", tmp_path) == ["it names no test and no benchmark"]
    assert missing("`tests/test_a.py::test_there`", tmp_path) == []
    assert missing("`tests/test_a.py::test_gone`", tmp_path) == ["tests/test_a.py has no test_gone"]
    assert missing("`tests/test_b.py`", tmp_path) == ["tests/test_b.py is not there"]
