"""Kinds and their options as the command line and the documentation show them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from headrace.cli.app import USAGE, run
from headrace.cli.components import options_table, table
from headrace.core.registry import ROLES, kinds
from headrace.units import Duration, Secret, Size


class Inner(msgspec.Struct):
    depth: Annotated[int, Meta(description="How deep.", ge=1)]


class Options(msgspec.Struct, kw_only=True):
    mode: Annotated[Literal["once", "follow"], Meta(description="What to do at the end.")] = "once"
    every: Annotated[Duration, Meta(description="How often.")] = Duration("5m")
    room: Annotated[Size | None, Meta(description="How much | at most.")] = None
    key: Annotated[Secret, Meta(description="Who we are.")]
    names: Annotated[list[str], Meta(description="Which.")] = []
    inner: Annotated[dict[str, Inner], Meta(description="By name.")] = {}


def test_a_table_has_each_option_with_its_type_default_and_meaning() -> None:
    assert [
        "| Option | Type | Default | Meaning |",
        "|---|---|---|---|",
        "| `mode` | `once`, `follow` | `once` | What to do at the end. |",
        "| `every` | duration | `5m` | How often. |",
        "| `room` | size |  | How much \\| at most. |",
        "| `key` | secret | required | Who we are. |",
        "| `names` | list of text | `[]` | Which. |",
        "| `inner` | mapping of mapping | `{}` | By name. |",
        "| `inner.NAME.depth` | integer (≥ 1) | required | How deep. |",
    ] == table(Options).splitlines()


@pytest.mark.parametrize("role", ROLES)
def test_every_option_of_every_kind_has_a_meaning(role: str) -> None:
    for kind in kinds(role).values():
        for row in options_table(kind).splitlines()[2:]:
            assert not row.endswith("|  |"), f"{kind.name}: {row}"


def test_all_kinds_are_listed_by_role(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["components"])
    out = capsys.readouterr().out
    for role in ROLES:
        assert f"{role}:\n" in out
        for name in kinds(role):
            assert f"  {name} " in out


def test_one_kind_is_shown_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["components", "transform", "lookup"])
    assert "| `table` | text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["transfrom"], "did you mean 'transform'?"), (["transform", "lokup"], "did you mean 'lookup'?")],
)
def test_an_unknown_name_gets_the_nearest(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["components", *words])
    assert expected in capsys.readouterr().err
