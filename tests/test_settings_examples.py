"""Every configuration that people can copy loads: documentation, README, examples, and each kind's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core.registry import ROLES, kind, kinds
from headrace.settings import load, loads
from headrace.units import decode

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENVIRON = {"PORT": "7223", "API_KEY": "a key"}


def blocks() -> Iterator[Any]:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text("utf-8")
        for found in BLOCK.finditer(text):
            if re.search(r"^pipelines:", found[1], re.MULTILINE):
                line = text[: found.start()].count("\n") + 2
                yield pytest.param(found[1], id=f"{page.relative_to(ROOT)}:{line}")


def kind_examples() -> Iterator[Any]:
    for role in ROLES:
        for one in kinds(role).values():
            for at, options in enumerate(getattr(one.load(), "examples", ())):
                yield pytest.param(role, one.name, options, id=f"{role}-{one.name}-{at}")


@pytest.mark.parametrize("text", list(blocks()))
def test_every_whole_configuration_in_the_documentation_loads(text: str) -> None:
    assert loads(text, environ=ENVIRON).pipelines


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    assert load(path, environ={}).pipelines


@pytest.mark.parametrize(("role", "name", "options"), list(kind_examples()))
def test_the_examples_of_each_kind_are_options_of_it(role: str, name: str, options: Any) -> None:
    msgspec.convert(options, kind(role, name).settings_type, dec_hook=decode)


def test_every_kind_has_an_example() -> None:
    for role in ROLES:
        for one in kinds(role).values():
            assert one.load().examples, f"{role} {one.name}"
