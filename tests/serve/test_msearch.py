"""Several searches in one request, each with its own answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import msearch, search


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    fields = {"n": "integer"}
    readers = Readers(
        {name: build(tmp_path / name, fields, [{"n": n} for n in range(3)]) for name in ("a", "b")}
    )
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def _body(*lines: Any) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )


def test_each_search_has_its_own_indexes_answer_and_status(client: TestClient) -> None:
    lines = [
        {"search_type": "query_then_fetch", "ignore_unavailable": True, "index": "a,nope"},
        {"size": 1, "query": {"range": {"n": {"gte": 1}}}},
        {"index": ["a", "b"], "preference": "x"},
        {"size": 0},
        {"index": "nope"},
        {},
        {"index": "a"},
        {"query": {"nonsense": {}}},
        b"",
        {"size": 0},
        {"index": "a"},
        b"{not json",
    ]
    answer = client.post("/_msearch?max_concurrent_shard_requests=5", content=_body(*lines))
    assert 200 == answer.status_code
    found = answer.json()["responses"]
    assert [200, 200, 404, 400, 200, 400] == [each["status"] for each in found]
    assert [2, 6, 6] == [each["hits"]["total"]["value"] for each in found if each["status"] == 200]
    assert "index_not_found_exception" == found[2]["error"]["type"]
    assert "[nonsense]" in found[3]["error"]["reason"]
    assert {"a", "b"} == set(json.loads(answer.headers["Headrace-Freshness"]))


def test_the_index_of_the_path_is_for_those_that_name_none(client: TestClient) -> None:
    body = _body({}, {"size": 0}, {"index": "b"}, {"size": 1})
    found = client.post("/a/_msearch", content=body).json()["responses"]
    assert 3 == found[0]["hits"]["total"]["value"]
    assert ["b"] == [hit["_index"] for hit in found[1]["hits"]["hits"]]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no requests added"),
        (b"{}\n{}", "must be terminated by a newline"),
        (b"{}\n{}\n{}\n", "found 3 lines"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_as_a_whole(client: TestClient, body: bytes, told: str) -> None:
    answer = client.post("/_msearch", content=body)
    assert 400 == answer.status_code
    assert told in answer.json()["error"]["reason"]


def test_there_is_a_limit_to_searches(client: TestClient) -> None:
    answer = client.post("/_msearch", content=b"{}\n{}\n" * (msearch.MOST + 1))
    assert f"at most {msearch.MOST} searches" in answer.json()["error"]["reason"]


def test_an_unknown_key_of_a_header_is_refused(client: TestClient) -> None:
    (found,) = client.post("/_msearch", content=_body({"indx": "a"}, {})).json()["responses"]
    assert 400 == found["status"]
    assert "key [indx] is not supported" in found["error"]["reason"]
