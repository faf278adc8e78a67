"""The house keeps its shape: one direction of imports, small rooms, a test and a page for everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

import house
from headrace.core import registry
from headrace.units import decode

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "headrace"
KINDS = [(role, name) for role in registry.ROLES for name in registry.kinds(role)]


class Inner(msgspec.Struct):
    described: Annotated[int, msgspec.Meta(description="a number")]
    bare: int


class HalfDescribed(msgspec.Struct):
    inner: Annotated[dict[str, Inner], msgspec.Meta(description="by name")]
    plain: Annotated[int, msgspec.Meta(description="a number")] = 1


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    """Check the layers that pyproject.toml declares against the package in `source`."""
    command = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    return subprocess.run(
        [sys.executable, "-c", command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        check=False,
        capture_output=True,
        text=True,
        cwd=source,
        env={"PYTHONPATH": str(source)},
    )


def write(root: Path, **files: str) -> Path:
    """A tree of modules: `core__errors="…"` becomes core/errors.py. Every folder is a package."""
    for name, text in files.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        for folder in (path.parent, *path.parent.relative_to(root).parents):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "__init__.py").touch()
        path.write_text(text, "utf-8")
    return root


class TestTheTree:
    """What has to hold for every module, today and after each addition."""

    def test_imports_point_one_way(self) -> None:
        done = lint_imports(SOURCE.parent)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        "rule",
        [
            house.too_long,
            house.undescribed_modules,
            house.prints,
            house.homeless_libraries,
            house.front_door_users,
            house.acting_components,
            house.unused_capacities,
        ],
        ids=lambda rule: str(rule.__name__),
    )
    def test_no_module_breaks_the_rule(self, rule: house.Rule) -> None:
        assert [] == list(rule(SOURCE))

    def test_nothing_says_it_is_unfinished(self) -> None:
        folders = ("src", "tests", "benches", "examples", "scripts")
        files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
        assert [] == list(house.unfinished(files))

    def test_every_metric_is_documented(self) -> None:
        assert [] == list(house.undocumented_metrics(SOURCE, ROOT / "docs" / "operations.md"))


@pytest.mark.parametrize(("role", "name"), KINDS)
class TestEveryKind:
    """Three files, described options, examples that work."""

    def test_has_a_test_and_a_page(self, role: str, name: str) -> None:
        assert [] == list(house.missing_files(ROOT, role, name))

    def test_describes_every_option(self, role: str, name: str) -> None:
        assert [] == list(house.undescribed_options(registry.kind(role, name).settings_type))

    def test_has_examples_that_are_accepted(self, role: str, name: str) -> None:
        kind = registry.kind(role, name)
        examples = kind.load().examples
        assert examples
        for example in examples:
            msgspec.convert(example, kind.settings_type, dec_hook=decode)


class TestEachRuleBites:
    """A check that cannot fail checks nothing: each is run on a small house that breaks it."""

    def test_an_import_of_a_higher_layer_is_found(self, tmp_path: Path) -> None:
        rooms = ("cli", "serve", "pipeline", "ingest", "transform", "index", "core")
        files = {f"headrace__{room}____init__": "" for room in rooms}
        layers = {
            "headrace__model": "",
            "headrace__fields": "",
            "headrace__core__clock": "import headrace.model",
        }
        done = lint_imports(write(tmp_path, **files, **layers))
        assert "headrace.core.clock -> headrace.model" in done.stdout
        assert done.returncode == 1

    def test_a_module_without_a_room_is_found(self, tmp_path: Path) -> None:
        rooms = ("cli", "serve", "pipeline", "ingest", "transform", "index", "core")
        files = {f"headrace__{room}____init__": "" for room in rooms}
        layers = {"headrace__model": "", "headrace__fields": "", "headrace__utils": ""}
        done = lint_imports(write(tmp_path, **files, **layers))
        assert "utils" in done.stdout
        assert done.returncode == 1

    def test_a_long_module_and_a_long_median_are_found(self, tmp_path: Path) -> None:
        found = list(house.too_long(write(tmp_path / "headrace", core__long="pass\n" * 401)))
        assert ["core.long: 401 lines, at most 400: split it"] == found
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "only.py").write_text("pass\n" * 201, "utf-8")
        assert ["the median module has 201 lines, at most 200"] == list(house.too_long(tmp_path / "one"))

    def test_a_docstring_that_is_no_sentence_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "none.py").write_text("pass\n", "utf-8")
        (tmp_path / "words.py").write_text('"""Some words"""\n', "utf-8")
        (tmp_path / "fine.py").write_text('"""A sentence\nover two lines.\n\nMore"""\n', "utf-8")
        found = list(house.undescribed_modules(tmp_path))
        assert ["none", "words"] == [line.partition(":")[0] for line in found]

    def test_a_print_outside_cli_is_found(self, tmp_path: Path) -> None:
        package = write(tmp_path / "headrace", cli__run="print(1)", core__clock="print(1)")
        assert ["headrace/core/clock.py:1: prints outside cli"] == list(house.prints(package))

    def test_a_library_outside_its_home_or_without_one_is_found(self, tmp_path: Path) -> None:
        package = write(
            tmp_path / "headrace",
            index__tantivy__writer="import tantivy",
            serve__search="def search():\n    import tantivy.query",
            core__clock="import json\nfrom leftpad import pad",
        )
        found = list(house.homeless_libraries(package))
        assert [
            "headrace/core/clock.py:2: imports leftpad, which has no home in tests/house.py",
            "headrace/serve/search.py:2: imports tantivy, whose home is index.tantivy",
        ] == found

    def test_a_room_that_uses_the_front_door_is_found(self, tmp_path: Path) -> None:
        code = "from headrace import __version__, core\nfrom headrace import open"
        package = write(tmp_path / "headrace", core__clock="", serve__search=code)
        expected = "headrace/serve/search.py:2: imports open through the front door"
        assert [expected] == list(house.front_door_users(package))

    @pytest.mark.parametrize(
        ("room", "code", "expected"),
        [
            ("ingest", "time.sleep(1)", "sleeps"),
            ("transform", "self.clock.sleep(1)", "sleeps"),
            ("index", "group.start_soon(work)", "starts a task or a thread"),
            ("index", "Thread(target=work)", "starts a task or a thread"),
            ("ingest", "tenacity.AsyncRetrying()", "retries"),
            ("transform", "logging.basicConfig()", "configures logging"),
        ],
    )
    def test_a_component_that_acts_is_found(
        self, tmp_path: Path, room: str, code: str, expected: str
    ) -> None:
        package = write(tmp_path / "headrace", **{f"{room}__kind": code})
        assert [f"headrace/{room}/kind.py:1: {expected}"] == list(house.acting_components(package))

    @pytest.mark.parametrize(
        ("room", "code"), [("ingest", "self._clock.sleep(0.05)"), ("pipeline", "group.start_soon(work)")]
    )
    def test_waiting_for_input_and_the_runtime_are_no_offence(
        self, tmp_path: Path, room: str, code: str
    ) -> None:
        package = write(tmp_path / "headrace", **{f"{room}__kind": code})
        assert [] == list(house.acting_components(package))

    def test_an_undocumented_metric_is_found(self, tmp_path: Path) -> None:
        package = write(
            tmp_path / "headrace", core__metrics='A = Counter("headrace_a_total")\nB = "headrace_b"'
        )
        page = tmp_path / "operations.md"
        page.write_text("`headrace_b` is a gauge.", "utf-8")
        assert ["headrace_a_total is not in operations.md"] == list(house.undocumented_metrics(package, page))

    def test_a_capacity_that_bounds_nothing_is_found(self, tmp_path: Path) -> None:
        capacities = "A: Final = 1\nB: Final = 2\nC: Final = A + 1"
        package = write(tmp_path / "headrace", pipeline__capacities=capacities, pipeline__stages="use(C)")
        assert ["B bounds nothing"] == list(house.unused_capacities(package))

    def test_a_kind_without_test_and_page_is_found(self, tmp_path: Path) -> None:
        found = list(house.missing_files(tmp_path, "ingest", "redis"))
        assert [
            "ingest kind 'redis' has no test: tests/ingest/test_redis.py",
            "ingest kind 'redis' has no page: docs/ingest/redis.md",
        ] == found

    def test_an_undescribed_option_is_found_in_depth(self) -> None:
        assert ["`inner.NAME.bare` has no description"] == list(house.undescribed_options(HalfDescribed))

    def test_an_unfinished_note_is_found(self, tmp_path: Path) -> None:
        note = "todo".upper()
        file = tmp_path / "late.py"
        file.write_text(f"x = 1  # {note}: later\n", "utf-8")
        assert [f"late.py:1: x = 1  # {note}: later"] == list(house.unfinished([file]))
