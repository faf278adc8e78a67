"""Documentation that can be wrong is executed: the chart, the tables, the links, every YAML block."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import house
from headrace.cli.components import options_table
from headrace.core import registry
from headrace.core.errors import ConfigError
from headrace.pipeline import capacities
from headrace.settings import loads

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
KINDS = [(role, name) for role in registry.ROLES for name in registry.kinds(role)]

CONFIGURATION = """
data_dir: ./data
indexes:
  things: { type: tantivy, fields: {} }
pipelines:
  things:
    source: { type: files, paths: [things.ndjson] }
    index: things
"""


def flow() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "flow.py"))


def yaml_blocks() -> Iterator[Any]:
    """Every ```yaml block of every page, named by page and line."""
    for page in (*PAGES, ROOT / "README.md"):
        text = page.read_text("utf-8")
        for block in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            yield pytest.param(page, block[1], id=f"{page.relative_to(ROOT)}:{line}")


class TestWhatIsGenerated:
    def test_the_committed_flow_chart_is_the_one_the_capacities_give(self) -> None:
        assert flow()["chart"]() == (DOCS / "flow.txt").read_text("utf-8"), "run: python docs/flow.py"

    def test_every_capacity_has_its_reason_in_the_table(self) -> None:
        table = flow()["table"]()
        names = [name for name in vars(capacities) if name.isupper()]
        assert [] == [name for name in names if f"`{name}`" not in table]

    @pytest.mark.parametrize(("role", "name"), KINDS)
    def test_the_page_of_every_kind_gets_its_option_table(
        self, role: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        source = [(DOCS / role / f"{name}.md").read_text("utf-8")]
        runpy.run_path(str(DOCS / "conf.py"))["fill"](None, f"{role}/{name}", source)
        assert house.OPTIONS_MARK not in source[0]
        assert options_table(registry.kind(role, name)) in source[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
class TestEveryPage:
    def test_begins_with_its_title(self, page: Path) -> None:
        assert page.read_text("utf-8").startswith("# ")

    def test_links_to_files_that_exist(self, page: Path) -> None:
        targets = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", page.read_text("utf-8"))
        assert [] == [target for target in targets if not (page.parent / target).exists()]


class TestTheMakefile:
    """Bare `make` is the table of contents, so that nothing may be missing from it or made up elsewhere."""

    TEXT = (ROOT / "Makefile").read_text("utf-8")

    def test_says_of_every_target_what_it_does(self) -> None:
        (targets,) = re.findall(r"^\.PHONY: (.*)", self.TEXT, re.MULTILINE)
        described = re.findall(r"^([a-z-]+):.*## \w", self.TEXT, re.MULTILINE)
        assert sorted(targets.split()) == sorted(described)

    @pytest.mark.parametrize(
        "page", [*PAGES, *ROOT.glob("*.md"), ROOT / ".ci" / "run"], ids=lambda page: page.name
    )
    def test_has_every_target_that_a_page_names(self, page: Path) -> None:
        named = re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)`", page.read_text("utf-8"), re.MULTILINE)
        targets = {first or second for first, second in named}
        assert [] == [target for target in targets if f"\n{target}:" not in self.TEXT]


def as_configuration(page: Path, block: str) -> str:
    """A page's example as a whole configuration: it may be one, a section of one, a step, or a component."""
    given = YAML(typ="safe").load(block)
    whole = YAML(typ="safe").load(CONFIGURATION)
    pipeline = whole["pipelines"]["things"]
    if isinstance(given, list):
        pipeline["transform"] = given
    elif "type" in given:
        if page.parent.name == "index":
            whole["indexes"]["things"] = given
        else:
            pipeline["source"] = given
    elif given.keys() <= {"source", "transform"}:
        pipeline |= given
    elif page.parent.name == "transform" and given.keys() & registry.kinds("transform").keys():
        pipeline["transform"] = [given]
    else:
        return _joined(whole, given)
    return _dumped(whole)


def _joined(whole: dict[str, Any], given: dict[str, Any]) -> str:
    """A section of a configuration beside the sections it left out."""
    if "pipelines" in given and "indexes" not in given:
        wanted = [pipeline["index"] for pipeline in given["pipelines"].values()]
        whole["indexes"] = {
            name: {"type": "tantivy", "fields": {}} for name in wanted if isinstance(name, str)
        }
    elif "indexes" in given and "pipelines" not in given:
        whole["pipelines"]["things"]["index"] = next(iter(given["indexes"]))
    return _dumped(whole | given)


def _dumped(whole: dict[str, Any]) -> str:
    return json.dumps(whole, default=str)


@pytest.mark.parametrize(("page", "block"), list(yaml_blocks()))
def test_every_yaml_block_loads(page: Path, block: str) -> None:
    required = re.findall(r"\$\{([A-Z_]+)(?::\?[^}]*)?\}", block)
    text = as_configuration(page, block)
    loads(text, "json", base=ROOT, environ=dict.fromkeys(required, "a value as long as a secret"))


@pytest.mark.parametrize(
    ("page", "block"),
    [
        ("ingest/files.md", "type: files\npaths: [things.csv]"),
        ("ingest/files.md", "source: { type: files, paths: [things.csv] }"),
        ("transform/where.md", '- where: "n > 1"\n- drop: [n]'),
        ("transform/where.md", 'where: "n > 1"\nname: only-some'),
        ("transform/where.md", 'transform:\n  - where: "n > 1"'),
        ("index/tantivy.md", "type: tantivy\nid: [n]\nfields: { n: integer }"),
        ("index/tantivy.md", "indexes:\n  others: { type: tantivy, fields: {} }"),
        ("operations.md", "server: { port: 7223 }"),
        ("architecture.md", CONFIGURATION),
    ],
    ids=[
        "source",
        "source section",
        "steps",
        "one step",
        "transform section",
        "index",
        "indexes",
        "server",
        "all",
    ],
)
def test_every_shape_of_example_is_understood(page: str, block: str) -> None:
    loads(as_configuration(DOCS / page, block), "json", base=ROOT)


def test_an_example_with_a_misspelt_option_would_be_found() -> None:
    text = as_configuration(DOCS / "ingest" / "files.md", "type: files\npath: [things.ndjson]\n")
    with pytest.raises(ConfigError, match="path"):
        loads(text, "json", base=ROOT)
