"""What the document says of keys is what the doors do: every operation, asked with keys of all kinds."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from described import made
from headrace.serve.doors import Door, Doors, Keyring
from headrace.serve.openapi.security import WITHOUT_TOO, required
from headrace.settings import Scope
from serve.doors.table import application, client, header, key

HELD: tuple[tuple[Scope, ...], ...] = (("read",), ("write",), ("admin",), ("monitor",), ("read", "write"))
FILLED = {"index": "logs-app", "pipeline": "app", "name": "x"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in made()["paths"].items():
        for method, operation in item.items():
            if method != "servers":
                yield method.upper(), path, operation


def requirements(operation: dict[str, Any]) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = operation["security"]
    return found


def opened(operation: dict[str, Any], held: Sequence[str]) -> bool:
    """Whether a key with these scopes is enough, as the document has it."""
    found = requirements(operation)
    return not found or any(set(scopes) <= set(held) for each in found for scopes in each.values())


def url(path: str) -> str:
    if path == "/ui/{name}":
        return "/ui/page.css"
    return re.sub(r"\{(\w+)\}", lambda found: FILLED.get(found[1], "x"), path) + "?timeout=0"


async def answers(folder: Path) -> dict[str, list[int]]:
    """Statuses of each operation: without a key, and with each of `HELD`."""
    doors = Doors(Door(Keyring([key("-".join(scopes), scopes) for scopes in HELD])))
    content = {"content-type": "application/json"}
    found: dict[str, list[int]] = {}
    async with application(folder, doors) as app, client(app) as asked:
        for method, path, _ in operations():
            ways = [{}, *(header("-".join(scopes)) for scopes in HELD)]
            found[f"{method} {path}"] = [
                (
                    await asked.request(method, url(path), headers={**content, **way}, content=b"{}\n")
                ).status_code
                for way in ways
            ]
    return found


@pytest.fixture(scope="module")
def statuses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    return anyio.run(answers, Path(tmp_path_factory.mktemp("document")))


def test_a_key_that_the_document_finds_enough_is_enough_and_no_other(
    statuses: dict[str, list[int]],
) -> None:
    for method, path, operation in operations():
        expected = [opened(operation, held) for held in HELD]
        given = statuses[f"{method} {path}"][1:]
        assert 401 not in given, path
        assert expected == [status != 403 for status in given], f"{method} {path}: {given}"


def test_only_what_the_document_leaves_open_needs_no_key(statuses: dict[str, list[int]]) -> None:
    for method, path, operation in operations():
        assert (401 == statuses[f"{method} {path}"][0]) == bool(requirements(operation)), path


def test_health_and_the_page_are_open_to_all() -> None:
    paths = {path for _, path, operation in operations() if not requirements(operation)}
    assert {"/health/live", "/health/ready", "/ui/", "/ui/{name}"} == paths


def test_some_are_answered_without_a_key_too() -> None:
    """`{}` is no key."""
    found = {f"{method} {path}" for method, path, each in operations() if {} in requirements(each)}
    assert set(WITHOUT_TOO) == found


def test_what_asks_for_a_key_declares_how_it_refuses_one() -> None:
    for method, path, operation in operations():
        asked = bool(requirements(operation))
        declared = {status for status in ("401", "403") if status in operation["responses"]}
        assert ({"401", "403"} if asked else set()) == declared, f"{method} {path}"
        assert "429" in operation["responses"], f"{method} {path}"


def test_each_operation_may_be_asked_in_each_of_the_three_ways() -> None:
    schemes = made()["components"]["securitySchemes"]
    assert {"ApiKey", "Bearer", "Basic"} == set(schemes)
    for _, path, operation in operations():
        used = {name for each in requirements(operation) for name in each}
        assert used in (set(schemes), set()), path


def test_each_way_of_the_document_opens_the_door() -> None:
    """With what its words say is in it."""
    door = Door(Keyring([key("right", ("read",))]))
    plain, secret = "right:the-secret-of-right", "the-secret-of-right"
    both = base64.b64encode(plain.encode()).decode()
    for given in (f"ApiKey {both}", f"ApiKey {secret}", f"Bearer {secret}", f"Basic {both}"):
        headers = [(b"authorization", given.encode())]
        scope = {"type": "http", "method": "GET", "path": "/_search", "headers": headers}
        who = door.whose(scope)
        assert who is not None
        assert "right" == who.name


def test_a_route_that_no_rule_names_asks_for_admin() -> None:
    assert [{name: ["admin"]} for name in ("ApiKey", "Bearer", "Basic")] == required("GET", "/surprise")
