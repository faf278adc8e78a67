"""Documents read by id, one and several at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.catalogue.entry import Alias
from headrace.serve import documents


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    readers = Readers(
        {
            "a": build(
                tmp_path / "a", {}, [{"_id": "1", "n": 1, "m": {"x": 2, "y": 3}}, {"_id": "x/y", "n": 2}]
            ),
            "b": build(tmp_path / "b", {}, [{"_id": "1", "n": 10}]),
        },
        {"one": {"a": Alias()}, "both": {"a": Alias(), "b": Alias()}},
    )
    with TestClient(Starlette(routes=documents.routes(readers))) as client:
        yield client


def test_several_documents_each_with_its_index_and_parts(client: TestClient) -> None:
    docs = [
        {"_index": "a", "_id": "1", "_source": ["m.x"]},
        {"_id": "1"},
        {"_index": "a", "_id": "1", "_source": False},
        {"_index": "a", "_id": "zzz"},
        {"_index": "nope", "_id": "1"},
        {"_index": "both", "_id": "1"},
        {"_index": "one", "_id": "x/y", "_source": {"excludes": ["m"]}},
    ]
    found = client.post("/b/_mget", json={"docs": docs}).json()["docs"]
    assert {"m": {"x": 2}} == found[0]["_source"]
    assert ("b", {"n": 10}) == (found[1]["_index"], found[1]["_source"])
    assert "_source" not in found[2]
    assert {"_index": "a", "_id": "zzz", "found": False} == found[3]
    assert "index_not_found_exception" == found[4]["error"]["type"]
    assert "names 2 indexes [a, b]" in found[5]["error"]["reason"]
    assert ("a", {"n": 2}) == (found[6]["_index"], found[6]["_source"])


def test_several_documents_by_their_ids_alone(client: TestClient) -> None:
    found = client.post("/a/_mget?_source=n", json={"ids": ["1", "x/y", "zzz"]}).json()["docs"]
    assert [{"n": 1}, {"n": 2}, None] == [each.get("_source") for each in found]
    assert [(0, 1), (1, 2)] == [(each["_seq_no"], each["_version"]) for each in found[:2]]


def test_the_version_is_the_one_the_write_was_answered_with(client: TestClient) -> None:
    """`_seq_no` and one more, as `_bulk` and `_doc` say it."""
    body = client.get("/a/_doc/x%2Fy").json()
    assert (1, 2) == (body["_seq_no"], body["_version"])


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/_mget", {"docs": [{"_id": "1"}]}, "index is missing"),
        ("/a/_mget", {"docs": [{"_index": "a"}]}, "id is missing"),
        ("/a/_mget", {}, "either [docs] or [ids]"),
        ("/a/_mget", {"docs": [{"_id": "1", "_idd": 1}]}, "unknown key [_idd]"),
        ("/a/_mget", {"docs": [{"_id": "1", "stored_fields": ["a"]}]}, "use [_source]"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(client: TestClient, path: str, body: Any, told: str) -> None:
    answer = client.post(path, json=body)
    assert 400 == answer.status_code
    assert told in answer.json()["error"]["reason"]


def test_a_document_is_read_from_one_index(client: TestClient) -> None:
    assert "a" == client.get("/one/_doc/1").json()["_index"]
    assert 400 == client.get("/both/_doc/1").status_code
    assert 404 == client.get("/nope/_doc/1").status_code
    assert {"n": 2} == client.get("/a/_source/x/y").json()
    assert 200 == client.head("/a/_doc/x/y").status_code
    assert 404 == client.head("/a/_doc/none").status_code
