"""The JSON Schema accepts what the loader accepts, and refuses what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from headrace.cli.app import run
from headrace.cli.schema import configuration_schema
from headrace.core.registry import kinds
from headrace.settings.documents import parse

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def errors(validator: Draft202012Validator, tree: object) -> list[str]:
    return [error.message for error in validator.iter_errors(tree)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid(validator: Draft202012Validator, path: Path) -> None:
    assert [] == errors(validator, parse(path.read_text(), "yaml").tree)


def with_example(role: str, name: str, options: Any) -> dict[str, Any]:
    index = {"type": "tantivy"}
    source = {"type": "files", "paths": ["x"]}
    steps: list[Any] = []
    if role == "index":
        index = {"type": name, **options}
    elif role == "ingest":
        source = {"type": name, **options}
    else:
        steps = [{name: options}]
    pipeline = {"source": source, "transform": steps, "index": "i"}
    return {"indexes": {"i": index}, "pipelines": {"p": pipeline}}


def examples() -> Iterator[Any]:
    for role in ("ingest", "transform", "index"):
        for kind in kinds(role).values():
            for at, options in enumerate(getattr(kind.load(), "examples", ())):
                yield pytest.param(role, kind.name, options, id=f"{role}-{kind.name}-{at}")


@pytest.mark.parametrize(("role", "name", "options"), list(examples()))
def test_the_examples_of_each_kind_are_valid(
    validator: Draft202012Validator, role: str, name: str, options: Any
) -> None:
    assert [] == errors(validator, with_example(role, name, json.loads(json.dumps(options))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sever": {}},
        {"server": {"port": 70_000}},
        {"indexes": {"i": {}}},
        {"indexes": {"i": {"type": "tantivi"}}},
        {"indexes": {"i": {"type": "tantivy", "filds": {}}}},
        with_example("transform", "set", {"a": 5}),
        with_example("transform", "sett", {}),
        {"pipelines": {"p": {"source": {"type": "files"}, "index": "i"}}},
    ],
)
def test_what_the_loader_refuses_is_not_valid(validator: Draft202012Validator, wrong: object) -> None:
    assert errors(validator, wrong)


def test_a_reference_may_stand_for_a_number(validator: Draft202012Validator) -> None:
    assert [] == errors(validator, {"server": {"port": "${PORT:-7223}"}, "drain_timeout": "${T}"})


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["schema"])
    assert configuration_schema() == json.loads(capsys.readouterr().out)
