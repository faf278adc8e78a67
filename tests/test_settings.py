"""The configuration file: equal settings from every format, and errors that say where and what next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace.index
import headrace.ingest
import headrace.transform
from headrace.core.errors import ConfigError
from headrace.core.registry import kinds, own
from headrace.settings import Settings, SettingsError, When, load, loads
from headrace.units import Duration, Secret, Size

WELL = """\
from typing import Annotated
import msgspec
from headrace.units import Duration, Secret
class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width: Annotated[int, msgspec.Meta(ge=1)] = 1
class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    depth: Annotated[int, msgspec.Meta(ge=1, description="Metres.")] = 10
    bucket: str = "wood"
    key: Secret | None = None
    every: Duration | None = None
    pools: list[Pool] = []
"""
STIR = "Settings = dict[str, str]\n"
POND = """\
import msgspec
from typing import Any
class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fields: dict[str, Any] = {}
    id: list[str] = []
"""


@pytest.fixture(autouse=True)
def _kinds(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three components added from a temporary folder: a well (source), stir (transform), a pond (index)."""
    roles = {"ingest": ("well", WELL), "transform": ("stir", STIR), "index": ("pond", POND)}
    for role, (name, code) in roles.items():
        folder = tmp_path_factory.mktemp(role)
        (folder / f"{name}.py").write_text(code)
        package = getattr(headrace, role)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    own.cache_clear()
    kinds.cache_clear()
    yield
    own.cache_clear()
    kinds.cache_clear()


BASE = """\
indexes:
  water: {type: pond, fields: {taste: text}}
pipelines:
  fill:
    source:
      type: well
      depth: 3
    transform:
      - stir: {a: b}
    index: water
"""


def problems(text: str, style: str = "yaml", environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        loads(dedent(text), style, environ=environ or {})
    return str(raised.value).splitlines()


def source(options: str, environ: dict[str, str] | None = None) -> Settings:
    return loads(BASE.replace("depth: 3", options), environ=environ or {})


def options(settings: Settings) -> object:
    return settings.pipelines["fill"].source_options


def test_each_component_gets_its_options_in_the_type_its_kind_declares() -> None:
    pipeline = loads(BASE).pipelines["fill"]
    assert ("well", 3) == (pipeline.source_kind, pipeline.source_options.depth)
    assert [("stir", "stir", {"a": "b"}, "dead_letter")] == [
        (step.kind, step.name, step.options, step.on_reject) for step in pipeline.steps
    ]


def test_a_file_gives_absolute_paths_and_the_line_of_each_key(tmp_path: Path) -> None:
    file = tmp_path / "water.yaml"
    file.write_text(BASE)
    settings = load(file)
    assert (tmp_path / "data", file) == (settings.data_dir, settings.source_file)
    assert f"{file}:7" == settings.locate(("pipelines", "fill", "source", "depth"))
    assert f"{file}:5" == settings.locate(("pipelines", "fill", "source", "not there"))


def test_no_interval_between_commits_is_not_an_interval_left_out() -> None:
    settings = loads(BASE + "    commit_interval: 0\n")
    assert Duration("0") == settings.pipelines["fill"].commit_interval


def test_what_a_pipeline_leaves_out_comes_from_the_top() -> None:
    settings = loads("commit_interval: 5s\nmemory: {channel_bytes: 1MB}\n" + BASE)
    pipeline = settings.pipelines["fill"]
    assert (Duration("5s"), Size("1MB")) == (pipeline.commit_interval, pipeline.channel_bytes)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("toml", ('[indexes.water]\ntype = "pond"\n[pipelines.fill]\nindex = "water"\n'
                 '[pipelines.fill.source]\ntype = "well"\nbukcet = 1\n')),
        ("json", ('{"indexes": {"water":\n{"type": "pond"}},\n"pipelines": {"fill":\n{"index": "water",\n'
                 '"source": {"type": "well",\n\t"bukcet": 1}}}}')),
    ],
)  # fmt: skip
def test_the_other_formats_name_lines_too(style: str, text: str) -> None:
    line = text[: text.index("bukcet")].count("\n") + 1
    [problem] = problems(text, style)
    assert problem.startswith(f"<text>:{line}: pipelines.fill.source.bukcet: unknown key 'bukcet', ")
    assert "did you mean 'bucket'?" in problem


@pytest.mark.parametrize("version", ["8", "8.17", "10.0.0", "6.8.0", "8.17.0-rc1", "latest"])
def test_a_version_that_no_client_would_take_is_refused(version: str) -> None:
    [found] = problems(f"server: {{version: '{version}'}}\n" + BASE)
    expected = f"expected a version from 7.0.0 to 9.x, such as 8.17.0, got '{version}'"
    assert f"<text>:1: server.version: {expected}" == found
    assert "9.1.0" == loads("server: {version: 9.1.0}\n" + BASE).server.version


def test_all_independent_problems_are_reported_in_the_order_of_the_file() -> None:
    text = BASE.replace("depth: 3", "depth: 0").replace("type: pond", "type: pnod").replace("stir:", "stri:")
    found = problems("server: {port: 70000, hots: x}\n" + text.replace("index: water", "index: wader"))
    assert [
        "<text>:1: server.hots: unknown key 'hots', did you mean 'host'? (have: auto_create, cors, host, insecure, keys, max_body, max_concurrent, port, rate_limit, search, slow_client_timeout, tls, version)",
        "<text>:1: server.port: expected integer <= 65535",
    ] == found[:2]
    assert "<text>:3: indexes.water.type: unknown index type 'pnod', did you mean 'pond'?" in found[2]
    assert "<text>:8: pipelines.fill.source.depth: expected integer >= 1" == found[3]
    assert "transform[0].stri: unknown transform 'stri', did you mean 'stir'?" in found[4]
    assert "pipelines.fill.index: unknown index 'wader', did you mean 'water'? (have: water)" in found[5]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("depth: 3", "pools: [{width: 1}, {widht: 2}]", "source.pools[1].widht: unknown key 'widht'"),
        ("depth: 3", "pools: [{width: 0}]", "source.pools[0].width: expected integer >= 1"),
        ("depth: 3", "depth: deep", "source.depth: expected integer, got text"),
        ("depth: 3", "every: 5", "source.every: expected a duration with its unit"),
        ("type: well", "typ: well", "source: 'type' is missing"),
        ("taste: text", "taste: txet", "indexes.water.fields.taste: unknown field type 'txet', did you mean"),
        ("{a: b}", "{a: [1]}", "transform[0].stir.a: expected text, got list"),
        (
            "- stir: {a: b}",
            "- {stir: {}, shadow: x}",
            "transform[0].shadow: 'shadow' is reserved for a later",
        ),
        (
            "- stir: {a: b}",
            "- {stir: {}, when: x}",
            "transform[0].when: 'when' needs a flag file: say `flags:",
        ),
        (
            "- stir: {a: b}",
            "- {stir: {}, when: {flagg: x}}",
            "transform[0].when.flagg: unknown key 'flagg', did you mean 'flag'?",
        ),
        ("- stir: {a: b}", "- {stir: {}, when: [x]}", "transform[0].when: expected text, got list"),
        (
            "- stir: {a: b}",
            "- {stir: {}, on_rejct: drop}",
            "unknown key of a step 'on_rejct', did you mean 'on_r",
        ),
        ("- stir: {a: b}", "- {stir: {}, on_reject: dorp}", "unknown value 'dorp', did you mean 'drop'?"),
        ("- stir: {a: b}", "- {name: x}", "transform[0]: a step has exactly one kind, found none"),
        ("- stir: {a: b}", "- stir", "transform[0]: expected mapping, got text"),
        ("    index: water", "    indx: water", "pipelines.fill: 'index' is missing, it is required"),
        ("  fill:", "  Fill it:", "cannot be the name of a pipeline"),
        ("depth: 3", "depth: 3\n      depth: 4", "duplicate key 'depth', first given in line 7"),
        ("depth: 3", "depth: [3", "not YAML"),
        (
            "    index: water",
            "    index: water\n    batch_bytes: 10",
            "batch_bytes: expected at least 64kB, got 10B",
        ),
    ],
)
def test_an_error_says_where_and_what_next(old: str, new: str, expected: str) -> None:
    assert expected in "\n".join(problems(BASE.replace(old, new)))


@pytest.mark.parametrize("name", ["ui", "api", "openapi.json", "Big", "_x", "a b", "a,b", "a/b", "x" * 256])
def test_an_index_name_that_http_could_not_serve_is_refused(name: str) -> None:
    text = f"indexes: {{ {json.dumps(name)}: {{type: pond}} }}\n"
    assert "cannot be the name of an index" in problems(text)[0]


def test_steps_of_one_kind_get_names_of_their_own() -> None:
    settings = loads(
        BASE.replace("- stir: {a: b}", "- stir: {}\n      - stir: {}\n      - {stir: {}, name: x}")
    )
    assert ["stir", "stir_2", "x"] == [step.name for step in settings.pipelines["fill"].steps]


def test_a_flag_stands_beside_a_step_and_a_pipeline(tmp_path: Path) -> None:
    text = "flags: flags.json\n" + BASE.replace(
        "- stir: {a: b}", "- {stir: {}, when: {flag: x, key: [a, b]}}"
    )
    text = text.replace("index: water", "index: water\n    when: y")
    settings = loads(text, base=tmp_path)
    (step,) = settings.pipelines["fill"].steps
    assert tmp_path / "flags.json" == settings.flags
    assert When(flag="x", key=["a", "b"]) == step.when
    assert "y" == settings.pipelines["fill"].when


def test_references_are_read_where_a_number_is_wanted_and_stay_text_where_text_is() -> None:
    settings = source("depth: ${D}\n      bucket: ${D:-x}", {"D": "007"})
    assert (7, "007") == (options(settings).depth, options(settings).bucket)  # type: ignore[attr-defined]


def test_a_reference_in_quotes_is_a_number_only_where_text_does_not_do() -> None:
    settings = source('depth: "${D}"\n      bucket: "${D}"', {"D": "7"})
    assert (7, "7") == (options(settings).depth, options(settings).bucket)  # type: ignore[attr-defined]


def test_each_form_of_reference_gives_its_value(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("from file\n")
    text = BASE.replace("depth: 3", "bucket: '%s'")
    cases = {
        "a ${V} b": "a v b",
        "${NONE:-d}": "d",
        "${EMPTY:-d}": "d",
        "${V:?needed}": "v",
        "${file:x}": "from file",
        "$${V}": "${V}",
        "$V {}": "$V {}",
        "${HOLDS}": "${V}",
    }
    environ = {"V": "v", "EMPTY": "", "HOLDS": "${V}"}
    for written, expected in cases.items():
        settings = loads(text % written, base=tmp_path, environ=environ)
        assert expected == options(settings).bucket  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${V}", "environment variable V is not set; set it or write ${V:-default}"),
        ("${V:?set me}", "environment variable V is not set: set me"),
        ("${V", "is not closed by '}'"),
        ("${1V}", "not a reference: ${1V}"),
        ("${file:/nowhere/at/all}", "cannot read /nowhere/at/all: No such file"),
    ],
)
def test_a_reference_without_a_value_is_one_error_with_its_line(written: str, expected: str) -> None:
    [problem] = problems(BASE.replace("depth: 3", f'bucket: "{written}"'))
    assert problem.startswith("<text>:7: pipelines.fill.source.bucket: ")
    assert expected in problem


def test_an_unresolved_reference_to_an_index_is_not_also_an_unknown_index() -> None:
    [problem] = problems(BASE.replace("index: water", "index: ${WHERE}"))
    assert "WHERE is not set" in problem


def test_a_secret_never_shows_and_is_never_empty() -> None:
    settings = source("key: ${KEY}", {"KEY": "0123"})
    assert Secret("0123") == options(settings).key  # type: ignore[attr-defined]
    assert "0123" not in repr(settings)
    assert (
        "a secret must not be empty" in problems(BASE.replace("depth: 3", "key: ${K}"), environ={"K": ""})[0]
    )


@pytest.mark.parametrize("value", ["null", "~", "12345", "true", "1e5"])
def test_no_value_of_the_environment_unsets_a_secret(value: str) -> None:
    assert Secret(value) == options(source("key: ${KEY}", {"KEY": value})).key  # type: ignore[attr-defined]


def test_an_error_beside_a_secret_does_not_tell_it() -> None:
    text = BASE.replace("depth: 3", "key: ${K}\n      nope: 1").replace("{a: b}", "{a: [1]}")
    assert "hunter2" not in "\n".join(problems(text, environ={"K": "hunter2"}))
    listed = BASE.replace("depth: 3", "key: [hunter2]")
    assert [
        "<text>:7: pipelines.fill.source.key: expected a secret as text, got list: put it in quotes"
    ] == problems(listed)


def test_yaml_is_version_1_2_so_on_and_no_and_times_are_text() -> None:
    for written in ("on", "NO", "12:30", "2026-01-01", "1_000"):
        assert written == options(source(f"bucket: {written}")).bucket  # type: ignore[attr-defined]


def test_a_missing_or_foreign_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="unknown configuration format"):
        load(tmp_path / "x.ini")
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="byte 3 is not UTF-8"):
        load(tmp_path / "bad.yaml")


def test_a_few_lines_of_aliases_cannot_become_billions() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert "after following all aliases" in problems(text)[0]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12).filter(
    lambda text: "${" not in text
)


def toml(tree: dict[str, object], path: str = "") -> str:
    """A tree as TOML, mappings as tables: written here so that the test does not trust a writer."""
    inner = [(key, value) for key, value in tree.items() if isinstance(value, dict)]
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in tree.items()
        if not isinstance(value, dict)
    ]
    for key, value in inner:
        name = f"{path}.{json.dumps(key)}" if path else json.dumps(key)
        lines += [f"[{name}]", toml(value, name)]
    return "\n".join(lines)


def yaml(tree: object) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    out = StringIO()
    YAML(typ="safe", pure=True).dump(tree, out)
    return out.getvalue()


@given(
    depth=st.integers(1, 10**6),
    bucket=TEXTS,
    port=st.integers(0, 65_535),
    interval=st.sampled_from(["1s", "250ms", "2m"]),
    pipelines=st.sets(st.text("abc09", min_size=1, max_size=4), max_size=3),
)
def test_the_same_configuration_in_each_format_gives_equal_settings(
    depth: int, bucket: str, port: int, interval: str, pipelines: set[str]
) -> None:
    tree: dict[str, object] = {
        "server": {"port": port},
        "commit_interval": interval,
        "indexes": {"water": {"type": "pond", "id": ["a", "b"], "fields": {"taste": "keyword[]"}}},
        "pipelines": {
            name: {
                "source": {"type": "well", "depth": depth, "bucket": bucket},
                "transform": [],
                "index": "water",
            }
            for name in pipelines
        },
    }
    as_json = loads(json.dumps(tree), "json")
    assert as_json == loads(yaml(tree), "yaml")
    assert as_json == loads(toml(tree), "toml")
