"""What is shipped: a wheel that has all it needs, pins for all it asks for, and a light start."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import headrace
import house

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINS = (ROOT / "constraints.txt").read_text("utf-8").splitlines()

OPTIONAL = ("opentelemetry", "pandas", "pyarrow")
"""Clients that only an extra brings; the core must live without them."""

HEAVY = ("polars", "starlette", "uvicorn", "tantivy", "sqlglot", "rich", "httpx2", "openfeature")
"""What the command line does not need to print its help."""


def requirements() -> list[Requirement]:
    """Everything pyproject.toml can bring in: core, extras, groups."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    lists = [PROJECT["project"]["dependencies"], *extras, *groups]
    return [Requirement(text) for texts in lists for text in texts]


def pinned() -> dict[str, str]:
    pairs = (line.split("==") for line in PINS if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


IMPORT_ALL = """
import importlib, pkgutil, sys
{before}
import headrace
for module in pkgutil.walk_packages(headrace.__path__, "headrace."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
"""A program that imports every module of ours."""


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published; built by the project's own backend, offline."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> Iterator[ZipFile]:
    with ZipFile(wheel_file) as opened:
        yield opened


def imported_by(statement: str, *names: str) -> list[str]:
    """Which of `names` a fresh interpreter has imported after `statement`."""
    code = f"import sys; {statement}; print(*(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


class TestPins:
    """Ranges are in pyproject.toml, what was tested in constraints.txt; neither names a host."""

    def test_every_pin_is_a_name_and_a_version_and_nothing_else(self) -> None:
        odd = [line for line in PINS if not re.fullmatch(r"#.*|[\w.-]+==[\w.!+-]+", line)]
        assert [] == odd
        assert [] == [line for line in PINS if "//" in line or "@" in line]

    @pytest.mark.parametrize("wanted", requirements(), ids=lambda wanted: str(wanted.name))
    def test_every_dependency_has_a_pin_inside_its_range(self, wanted: Requirement) -> None:
        version = pinned().get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} has no pin: `make pins`"
        assert wanted.specifier.contains(version, prereleases=True)

    def test_the_tree_names_no_registry_and_no_machine(self) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "scan.py")], check=False, capture_output=True, text=True
        )
        assert done.stderr == ""

    # Put together only here, so that the scan does not find its own test.
    @pytest.mark.parametrize("parts", [("pypi", "org"), ("quay", "io"), ("registry", "npmjs", "com")])
    def test_the_scan_bites(self, tmp_path: Path, parts: tuple[str, ...]) -> None:
        scan = runpy.run_path(str(ROOT / "scripts" / "scan.py"))
        file = tmp_path / "lock.txt"
        file.write_text(f"fine\nurl = {'.'.join(parts)}\n", "utf-8")
        (found,) = scan["findings"](tmp_path, [file])
        assert found.startswith("lock.txt:2: names ")


UNSEEN = {"httptools"}
"""Used by uvicorn when it is there, and never imported by us."""


def test_every_dependency_of_the_core_is_imported_somewhere() -> None:
    names = packages_distributions()
    imported = {
        canonicalize_name(distribution)
        for module in house.modules(ROOT / "src" / "headrace")
        for library in house.libraries(module)
        for distribution in names.get(library, ())
    }
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert set() == wanted - imported - UNSEEN


class TestTheWheel:
    """What arrives at somebody who only installs the package."""

    def test_has_everything_that_the_source_has(self, wheel: ZipFile) -> None:
        source = ROOT / "src"
        files = [
            str(path.relative_to(source))
            for path in (source / "headrace").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
        assert [] == sorted(set(files) - set(wheel.namelist()))
        assert "headrace/py.typed" in wheel.namelist()

    def test_names_its_licence_version_and_python(self, wheel: ZipFile) -> None:
        info = f"headrace-{headrace.__version__}.dist-info"
        metadata = wheel.read(f"{info}/METADATA").decode()
        assert "License-Expression: Apache-2.0" in metadata
        assert "Requires-Python: >=3.11" in metadata
        assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()

    def test_brings_the_command(self, wheel: ZipFile) -> None:
        points = wheel.read(f"headrace-{headrace.__version__}.dist-info/entry_points.txt").decode()
        assert "headrace = headrace.cli:main" in points


@pytest.mark.service
@pytest.mark.timeout(400)
def test_the_wheel_works_in_an_empty_environment(wheel_file: Path, tmp_path: Path) -> None:
    """Only what it declares is there: a dependency that merely our own environment has would be missed."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    pins = ["-c", str(ROOT / "constraints.txt")]
    installed = subprocess.run([*pip, *pins, str(wheel_file)], check=False, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"the dependencies cannot be installed here: {installed.stderr.strip()[-200:]}")
    everything = [str(python), "-c", IMPORT_ALL.format(before="")]
    done = subprocess.run(everything, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    command = [str(python.with_name("headrace")), "--version"]
    assert headrace.__version__ in subprocess.run(command, check=True, capture_output=True, text=True).stdout


class TestTheStart:
    """An unused component costs no start-up time, and an extra that is not installed no error."""

    def test_the_package_imports_no_optional_client(self) -> None:
        assert [] == imported_by("import headrace, headrace.cli", *OPTIONAL)

    def test_the_command_line_imports_nothing_heavy(self) -> None:
        assert [] == imported_by("import headrace.cli", *HEAVY)

    def test_the_whole_package_imports_without_the_extras(self) -> None:
        blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in OPTIONAL)
        done = subprocess.run(
            [sys.executable, "-c", IMPORT_ALL.format(before=blocked)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def test_the_check_of_the_start_bites(self) -> None:
        assert ["polars"] == imported_by("import polars", "polars", "starlette")
