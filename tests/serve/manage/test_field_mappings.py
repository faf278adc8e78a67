"""Single fields of a mapping."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

PROPERTIES: dict[str, Any] = {
    "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "who": {"properties": {"name": {"type": "keyword"}}},
}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("title", {"title"}),
        ("title.raw,who.name", {"title.raw", "who.name"}),
        ("*", {"title", "title.raw", "who.name"}),
        ("none", set()),
    ],
)
def test_fields_are_found_by_name_and_pattern(client: TestClient, asked: str, found: set[str]) -> None:
    client.put("/books", json={"mappings": {"properties": PROPERTIES}})
    answer = client.get(f"/books/_mapping/field/{asked}").json()["books"]["mappings"]
    assert found == set(answer)
    for path, field in answer.items():
        assert (path, [path.rpartition(".")[2]]) == (field["full_name"], list(field["mapping"]))
    assert 404 == client.get("/nothing/_mapping/field/a").status_code
