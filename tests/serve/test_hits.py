"""What a search answers beside the documents, and what narrows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

FIELDS = {"k": "keyword", "n": "integer", "d": "date", "t": "text"}
DOCUMENTS = [
    {"k": "x", "n": 1, "d": "2024-01-01T00:00:00+01:00", "t": "red", "o": [{"a": 1}, {"a": [2, None]}]},
    {"k": "y", "n": 2, "t": "red red green", "plain": "2024-01-01"},
    {"k": "x", "n": 3, "t": "green blue blue blue blue blue"},
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    readers = Readers({"a": build(tmp_path / "a", FIELDS, DOCUMENTS, commit_every=2)})
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def _search(client: TestClient, body: Any, **parameters: str) -> Any:
    answer = client.post("/a/_search", json=body, params=parameters)
    assert 200 == answer.status_code, answer.text
    return answer.json()


def _ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_fields_are_read_from_source_flat_and_dates_as_asked(client: TestClient) -> None:
    body = {
        "sort": ["n"],
        "size": 1,
        "_source": False,
        "fields": ["k.keyword", "o.*", {"field": "n"}, "none"],
        "docvalue_fields": [{"field": "d", "format": "epoch_millis"}],
    }
    (hit,) = _search(client, body)["hits"]["hits"]
    assert "_source" not in hit
    expected = {"k.keyword": ["x"], "o.a": [1, 2], "n": [1], "d": ["1704063600000"]}
    assert expected == hit["fields"]
    (hit,) = _search(client, {"sort": ["n"], "size": 1, "fields": ["d"]})["hits"]["hits"]
    assert ["2023-12-31T23:00:00.000Z"] == hit["fields"]["d"]


def test_stored_fields_decide_whether_there_is_a_source(client: TestClient) -> None:
    (hit,) = _search(client, {"size": 1, "stored_fields": ["n"]})["hits"]["hits"]
    assert ("_source" not in hit, [1]) == (True, hit["fields"]["n"])
    assert "_source" in _search(client, {"size": 1, "stored_fields": ["*"]})["hits"]["hits"][0]
    assert "_source" not in _search(client, {"size": 1, "stored_fields": "_none_"})["hits"]["hits"][0]


def test_versions_and_sequence_numbers_are_told_when_asked_for(client: TestClient) -> None:
    (hit,) = _search(client, {"version": True, "size": 1, "sort": ["n"]}, seq_no_primary_term="true")["hits"][
        "hits"
    ]
    assert (1, 0, 1) == (hit["_version"], hit["_seq_no"], hit["_primary_term"])


def test_the_total_is_counted_as_far_as_asked(client: TestClient) -> None:
    assert {"value": 2, "relation": "gte"} == _search(client, {"track_total_hits": 2})["hits"]["total"]
    assert {"value": 3, "relation": "eq"} == _search(client, {"track_total_hits": 3})["hits"]["total"]
    assert "total" not in _search(client, {"track_total_hits": False})["hits"]
    assert 3 == _search(client, {}, rest_total_hits_as_int="true")["hits"]["total"]


def test_a_post_filter_narrows_hits_and_total_but_not_aggregations(client: TestClient) -> None:
    terms = {"x": {"terms": {"field": "k"}}}
    for sort in ([], ["n"], ["_score"]):
        body = {"post_filter": {"term": {"k": "y"}}, "aggs": terms, "sort": sort}
        answer = _search(client, body)
        assert ["1"] == _ids(answer)
        assert 1 == answer["hits"]["total"]["value"]
        assert 3 == sum(bucket["doc_count"] for bucket in answer["aggregations"]["x"]["buckets"])


def test_a_least_score_narrows_everything(client: TestClient) -> None:
    query = {"match": {"t": "red"}}
    scores = [hit["_score"] for hit in _search(client, {"query": query})["hits"]["hits"]]
    assert 2 == len(set(scores))
    for sort in ([], ["n"], ["_score"]):
        body = {
            "query": query,
            "min_score": max(scores),
            "sort": sort,
            "aggs": {"x": {"sum": {"field": "n"}}},
        }
        answer = _search(client, body)
        assert ["0"] == _ids(answer)
        assert (1, 1) == (answer["hits"]["total"]["value"], answer["aggregations"]["x"]["value"])


def test_scores_are_told_beside_a_sort_when_asked_for(client: TestClient) -> None:
    body = {"query": {"match": {"t": "red"}}, "sort": ["n"]}
    expected = {
        hit["_id"]: hit["_score"] for hit in _search(client, {"query": body["query"]})["hits"]["hits"]
    }
    assert [None, None] == [hit["_score"] for hit in _search(client, body)["hits"]["hits"]]
    found = _search(client, {**body, "track_scores": True})["hits"]["hits"]
    assert expected == {hit["_id"]: pytest.approx(hit["_score"]) for hit in found}


def test_a_date_among_the_sort_values_has_the_format_asked_for(client: TestClient) -> None:
    body = {"sort": [{"d": {"order": "asc", "format": "strict_date_optional_time"}}, {"n": "desc"}]}
    found = _search(client, body)["hits"]["hits"]
    assert "2023-12-31T23:00:00.000Z" == found[0]["sort"][0]
    after = _search(client, {**body, "search_after": found[0]["sort"]})
    assert ["2", "1"] == _ids(after)


def test_what_cuts_a_search_short_is_accepted_and_cuts_nothing(client: TestClient) -> None:
    answer = _search(client, {"terminate_after": 1, "timeout": "1ms"})
    assert (False, False, 3) == (
        answer["timed_out"],
        answer["terminated_early"],
        answer["hits"]["total"]["value"],
    )


def test_fields_are_read_from_the_whole_document_whatever_part_of_it_is_shown(client: TestClient) -> None:
    body = {"sort": ["n"], "size": 1, "_source": ["k"], "fields": ["o.a"]}
    (hit,) = _search(client, body)["hits"]["hits"]
    assert {"o.a": [1, 2]} == hit["fields"]
    assert {"k": "x"} == hit["_source"]
