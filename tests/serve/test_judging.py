"""Whether a query can be answered, and whether a document is found by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.catalogue.entry import Alias
from headrace.serve import search

DOCUMENTS = [{"_id": "1", "word": "snow", "n": 1}, {"_id": "2", "word": "rain", "n": 2}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    readers = {
        "a": build(tmp_path / "a", {"word": "text", "n": "integer"}, DOCUMENTS),
        "b": build(tmp_path / "b", {"word": "text", "n": "keyword"}, DOCUMENTS),
    }
    indices = Readers(readers, {"ones": {"a": Alias(filter={"term": {"n": 1}})}})
    with TestClient(Starlette(routes=search.routes(indices))) as client:
        yield client


def test_a_valid_query_is_so_byte_for_byte(client: TestClient) -> None:
    answer = client.post("/a/_validate/query", json={"query": {"match": {"word": "snow"}}})
    assert '{"_shards":{"total":1,"successful":1,"failed":0},"valid":true}' == answer.text
    explained = client.get("/a/_validate/query?q=word:snow&explain=true").json()
    assert [("a", True)] == [(each["index"], each["valid"]) for each in explained["explanations"]]


def test_one_that_is_not_is_an_answer_and_no_error(client: TestClient) -> None:
    answer = client.post("/_validate/query", json={"query": {"mach": {}}})
    assert (200, {"valid": False}) == (answer.status_code, answer.json())
    answer = client.post("/_validate/query?explain=true", json={"query": {"mach": {}}})
    assert "unknown query [mach]" in answer.json()["error"]


def test_what_only_one_index_can_answer_is_told_apart(client: TestClient) -> None:
    body = {"query": {"term": {"n": "many"}}}
    found = client.post("/_validate/query?explain=true", json=body).json()
    assert not found["valid"]
    assert {"a": False, "b": True} == {each["index"]: each["valid"] for each in found["explanations"]}


def test_a_document_that_is_found_has_the_score_of_the_search(client: TestClient) -> None:
    query = {"query": {"match": {"word": "snow"}}}
    [hit] = client.post("/a/_search", json=query).json()["hits"]["hits"]
    found = client.post("/a/_explain/1", json=query).json()
    assert ("a", "1", True, hit["_score"]) == (
        found["_index"],
        found["_id"],
        found["matched"],
        pytest.approx(found["explanation"]["value"]),
    )
    missed = client.get("/a/_explain/2?q=word:snow")
    assert (200, False, 0.0) == (
        missed.status_code,
        missed.json()["matched"],
        missed.json()["explanation"]["value"],
    )


def test_a_match_of_all_scores_one(client: TestClient) -> None:
    found = client.post("/a/_explain/1", json={"query": {"match_all": {}}}).json()
    assert (True, 1.0) == (found["matched"], found["explanation"]["value"])


@pytest.mark.parametrize(
    ("parameters", "source"),
    [
        ("_source=true", {"word": "snow", "n": 1}),
        ("_source", {"word": "snow", "n": 1}),
        ("_source=n", {"n": 1}),
        ("_source_includes=w*", {"word": "snow"}),
        ("_source_excludes=n", {"word": "snow"}),
    ],
)
@pytest.mark.parametrize("word", ["snow", "rain"])
def test_the_document_is_given_where_its_source_is_asked_for(
    client: TestClient, parameters: str, source: Any, word: str
) -> None:
    """As Elasticsearch's `get`, whether or not the query finds it."""
    found = client.get(f"/a/_explain/1?q=word:{word}&{parameters}").json()
    assert (word == "snow") is found["matched"]
    assert {"_seq_no": 0, "_primary_term": 1, "found": True, "_source": source} == found["get"]


@pytest.mark.parametrize("path", ["/a/_explain/1?q=word:snow", "/a/_explain/1?q=word:snow&_source=false"])
def test_without_it_the_document_is_not_given(client: TestClient, path: str) -> None:
    assert "get" not in client.get(path).json()
    assert 400 == client.get(f"{path}&stored_fields=word").status_code


def test_an_alias_binds_what_is_found(client: TestClient) -> None:
    body: Any = {"query": {"match_all": {}}}
    assert [True, False] == [client.post(f"/ones/_explain/{n}", json=body).json()["matched"] for n in (1, 2)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/a/_explain/9", {"query": {"match_all": {}}}, 404),
        ("/a/_explain/1", {}, 400),
        ("/a,b/_explain/1", {"query": {"match_all": {}}}, 400),
        ("/nothing/_explain/1", {"query": {"match_all": {}}}, 404),
        ("/nothing/_validate/query", {}, 404),
    ],
)
def test_what_cannot_be_explained_is_said(client: TestClient, path: str, body: Any, status: int) -> None:
    assert status == client.post(path, json=body).status_code
