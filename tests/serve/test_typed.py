"""`typed_keys`: names as typed clients read them, in a search, in several, and in a scroll."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

ROWS = [
    {
        "k": "a",
        "n": 1,
        "f": 1.5,
        "b": True,
        "t": "2026-05-01T00:00:00Z",
        "ip": "10.0.0.1",
        "dyn": "x",
        "w": 3,
    },
    {
        "k": "b",
        "n": 2,
        "f": 2.5,
        "b": False,
        "t": "2026-05-02T00:00:00Z",
        "ip": "10.0.0.2",
        "dyn": "y",
        "w": 4,
    },
]
FIELDS = {"k": "keyword", "n": "integer", "f": "float", "b": "boolean", "t": "date", "ip": "ip"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("typed")
    readers = Readers(
        {"one": build(folder / "one", FIELDS, ROWS), "two": build(folder / "two", FIELDS, ROWS)}
    )
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def asked(client: TestClient, aggs: Any, path: str = "/one/_search?typed_keys=true") -> Any:
    answer = client.post(path, json={"size": 0, "aggs": aggs})
    assert 200 == answer.status_code, answer.text
    return answer.json()["aggregations"]


def terms(field: str) -> Any:
    return {"terms": {"field": field}}


N = {"field": "n"}
NAMED: dict[str, tuple[Any, str]] = {
    "a keyword": (terms("k"), "sterms"),
    "a number": (terms("n"), "lterms"),
    "a fraction": (terms("f"), "dterms"),
    "true or false": (terms("b"), "lterms"),
    "a date": (terms("t"), "lterms"),
    "an address": (terms("ip"), "sterms"),
    "a dynamic text": (terms("dyn.keyword"), "sterms"),
    "a dynamic number": (terms("w"), "lterms"),
    "a field that no document has": (terms("nothing"), "umterms"),
    "days": ({"date_histogram": {"field": "t", "calendar_interval": "day"}}, "date_histogram"),
    "a histogram": ({"histogram": {**N, "interval": 1}}, "histogram"),
    "ranges": ({"range": {**N, "ranges": [{"to": 2}]}}, "range"),
    "filters": ({"filters": {"filters": {"x": {"match_all": {}}}}}, "filters"),
    "composite": ({"composite": {"sources": [{"k": terms("k")}]}}, "composite"),
    "percentiles": ({"percentiles": N}, "tdigest_percentiles"),
    "cardinality": ({"cardinality": N}, "cardinality"),
    "stats": ({"stats": N}, "stats"),
    "top hits": ({"top_hits": {"size": 1}}, "top_hits"),
}


@pytest.mark.parametrize("what", NAMED)
def test_a_name_has_the_type_of_its_answer(client: TestClient, what: str) -> None:
    """As Elasticsearch names the classes of its answers."""
    body, kind = NAMED[what]
    assert [f"{kind}#x"] == list(asked(client, {"x": body}))
    assert ["x"] == list(asked(client, {"x": body}, "/one/_search"))


def test_names_inside_of_buckets_have_types_too(client: TestClient) -> None:
    """At every level, in lists and in named buckets, and of what is computed from buckets."""
    inner = {"most": {"max": N}, "only": {"filter": {"term": {"b": True}}, "aggs": {"least": {"min": N}}}}
    found = asked(
        client,
        {
            "kinds": {**terms("k"), "aggs": inner},
            "named": {"filters": {"filters": {"all": {"match_all": {}}}}, "aggs": {"most": {"max": N}}},
            "best": {"max_bucket": {"buckets_path": "kinds>most"}},
        },
    )
    first = found["sterms#kinds"]["buckets"][0]
    assert {"key": "a", "doc_count": 1, "max#most": {"value": 1.0}} == {
        name: value for name, value in first.items() if name != "filter#only"
    }
    assert {"doc_count": 1, "min#least": {"value": 1.0}} == first["filter#only"]
    assert {"value": 2.0} == found["filters#named"]["buckets"]["all"]["max#most"]
    assert 2.0 == found["bucket_metric_value#best"]["value"]


def test_several_indexes_searches_and_a_scroll_name_types_as_one_does(client: TestClient) -> None:
    """Each of them answers aggregations in its own place."""
    body = {"size": 1, "aggs": {"x": terms("k")}}
    assert ["sterms#x"] == list(asked(client, body["aggs"], "/one,two/_search?typed_keys"))
    lines = f"{json.dumps({'index': 'one'})}\n{json.dumps(body)}\n"
    several = client.post("/_msearch?typed_keys=true", content=lines).json()["responses"]
    assert ["sterms#x"] == list(several[0]["aggregations"])
    first = client.post("/one/_search?scroll=1m&typed_keys=true", json=body).json()
    assert ["sterms#x"] == list(first["aggregations"])
    following = client.post("/_search/scroll", json={"scroll_id": first["_scroll_id"]}).json()
    assert "aggregations" not in following
    suggested = client.post(
        "/one/_search?typed_keys", json={"suggest": {"w": {"text": "aa", "term": {"field": "k"}}}}
    )
    assert ["term#w"] == list(suggested.json()["suggest"])
