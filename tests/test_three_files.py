"""A new kind costs three new files and no edit elsewhere: one laid into a folder, one plugged in."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

import headrace.transform
import house
from headrace.core import registry
from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError
from headrace.transform.base import Transform, TransformContext

MODULE = '''
"""Write a field in capitals."""

from typing import Annotated

import msgspec
import polars as pl

from headrace.transform.base import Outcome


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    field: Annotated[str, msgspec.Meta(description="the text field to shout", min_length=1)]


class Shout:
    def __init__(self, settings):
        self._field = settings.field

    def bind(self, schema):
        return schema

    def apply(self, frame):
        return Outcome(frame.with_columns(pl.col(self._field).str.to_uppercase()))

    def close(self):
        pass


def create(settings, context):
    return Shout(settings)


examples = ({"field": "title"},)
'''

TEST = """
import polars as pl
from headrace.transform.shout import Settings, Shout


def test_shouts():
    frame = Shout(Settings(field="word")).apply(pl.DataFrame({"word": ["sluice"]})).frame
    assert ["SLUICE"] == frame["word"].to_list()
"""

PAGE = """# shout

Writes a field in capitals.

```yaml
- shout: { field: title }
```

<!-- options -->
"""


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    """The list of kinds is made once per process; here it changes, and must be ours again afterwards."""
    registry.own.cache_clear()
    registry.kinds.cache_clear()
    before = set(sys.modules)
    yield
    registry.own.cache_clear()
    registry.kinds.cache_clear()
    for name in set(sys.modules) - before:
        if "shout" in name:
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three new files, laid beside ours by their folders alone."""
    files = {
        "src/transform/shout.py": MODULE,
        "tests/transform/test_shout.py": TEST,
        "docs/transform/shout.md": PAGE,
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text, "utf-8")
    path = [*headrace.transform.__path__, str(tmp_path / "src" / "transform")]
    monkeypatch.setattr(headrace.transform, "__path__", path)
    return tmp_path


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's distribution, as pip would leave it on the path."""
    site = tmp_path / "site"
    info = site / "loudness-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "loud_shout.py").write_text(MODULE, "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loudness\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text("[headrace.transform]\nshout = loud_shout\n", "utf-8")
    monkeypatch.syspath_prepend(str(site))


def created(options: dict[str, str]) -> Transform:
    """The component as the runtime makes it: kind by name, options converted, then `create`."""
    kind = registry.kind("transform", "shout")
    settings = msgspec.convert(options, kind.settings_type)
    step: Transform = kind.create(settings, TransformContext("shout", Path(), SystemClock()))
    return step


def shouted() -> list[str]:
    step = created({"field": "word"})
    frame = pl.DataFrame({"word": ["sluice", "weir"]})
    step.bind(frame.schema)
    return step.apply(frame).frame["word"].to_list()


def test_without_its_file_the_kind_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown transform type 'shout'"):
        registry.kind("transform", "shout")


@pytest.mark.usefixtures("folder")
def test_a_kind_laid_into_the_folder_works() -> None:
    assert ["SLUICE", "WEIR"] == shouted()


def test_its_three_files_are_all_that_the_house_asks_for(folder: Path) -> None:
    assert [] == list(house.missing_files(folder, "transform", "shout"))
    assert [] == list(house.undescribed_options(registry.kind("transform", "shout").settings_type))
    assert [] == list(house.acting_components(folder / "src"))
    _run_its_test(folder / "tests" / "transform" / "test_shout.py")


@pytest.mark.usefixtures("plugin")
def test_a_kind_from_an_entry_point_works() -> None:
    assert ["SLUICE", "WEIR"] == shouted()


@pytest.mark.usefixtures("plugin")
def test_a_kind_from_an_entry_point_is_listed_without_being_imported() -> None:
    assert "shout" in registry.kinds("transform")
    assert "loud_shout" not in sys.modules


@pytest.mark.usefixtures("folder")
def test_its_options_are_as_strict_as_ours() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `feild`"):
        created({"feild": "word"})


def _run_its_test(path: Path) -> None:
    spec = importlib.util.spec_from_file_location("test_shout", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_shouts()
