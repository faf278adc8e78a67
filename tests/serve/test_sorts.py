"""A sort by a field that an index cannot have is refused, unless its `unmapped_type` is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

DOCUMENTS: list[dict[str, object]] = [{"n": 2, "j": {"x": 1}}, {"n": 1}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    fields = {"n": "integer", "j": "json"}
    readers = Readers(
        {
            "strict": build(tmp_path / "strict", fields, DOCUMENTS, dynamic="strict"),
            "open": build(tmp_path / "open", fields, DOCUMENTS),
        }
    )
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def test_an_unknown_field_of_an_index_that_takes_no_others_is_a_400(client: TestClient) -> None:
    answer = client.post("/strict/_search", json={"sort": ["missing"]})
    assert 400 == answer.status_code
    assert answer.json()["error"]["reason"].startswith("No mapping found for [missing] in order to sort on")


@pytest.mark.parametrize(
    ("index", "sort"),
    [
        ("strict", {"missing": {"unmapped_type": "long"}}),
        ("strict", {"j.x": "asc"}),
        ("strict", {"n": {"order": "desc", "unmapped_type": "long"}}),
        ("open", {"missing": "asc"}),
    ],
)
def test_fields_that_may_come_and_those_with_an_unmapped_type_are_sorted_by(
    client: TestClient, index: str, sort: dict[str, object]
) -> None:
    answer = client.post(f"/{index}/_search", json={"sort": [sort]})
    assert 200 == answer.status_code, answer.text
    assert ["0", "1"] == [hit["_id"] for hit in answer.json()["hits"]["hits"]]
