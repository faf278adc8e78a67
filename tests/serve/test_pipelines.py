"""Pipelines over several indexes: as over one that has all of their documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

FIELDS = {"t": "date", "k": "keyword", "n": "integer"}
DOCUMENTS: list[dict[str, Any]] = [
    {"_id": str(n), "t": f"2026-01-{1 + n * n % 13:02}T05:00:00Z", "k": "xyz"[n % 3], "n": n}
    for n in range(30)
]
OVER_TIME = {"date_histogram": {"field": "t", "fixed_interval": "1d"}}


def pipelines(metric: str = "s") -> dict[str, Any]:
    return {
        "s": {"sum": {"field": "n"}},
        "c": {"cumulative_sum": {"buckets_path": metric}},
        "d": {"derivative": {"buckets_path": "c"}},
        "l": {"serial_diff": {"buckets_path": metric, "lag": 2}},
        "m": {"moving_fn": {"buckets_path": metric, "window": 3, "script": "MovingFunctions.max(values)"}},
        "b": {
            "bucket_script": {"buckets_path": {"s": metric, "n": "_count"}, "script": "params.s / params.n"}
        },
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("pipelines")
    readers = {
        "a": build(folder / "a", FIELDS, DOCUMENTS[::2]),
        "b": build(folder / "b", FIELDS, DOCUMENTS[1::2]),
        "whole": build(folder / "whole", FIELDS, DOCUMENTS),
    }
    with TestClient(Starlette(routes=search.routes(Readers(readers)))) as client:
        yield client


RATES = {"r": {"rate": {"unit": "hour"}}, "rs": {"rate": {"field": "n", "unit": "hour"}},
         "rc": {"rate": {"field": "n", "mode": "value_count"}}}  # fmt: skip
BEST = {"sort": {"bucket_sort": {"sort": [{"s": "desc"}], "size": 3}}}
REQUESTS: dict[str, dict[str, Any]] = {
    "in a histogram": {"x": {**OVER_TIME, "aggs": {**pipelines(), **RATES}}},
    "of counts": {"x": {**OVER_TIME, "aggs": pipelines("_count")}},
    "in terms": {"x": {"terms": {"field": "k"}, "aggs": pipelines()}},
    "in both": {
        "x": {"terms": {"field": "k"}, "aggs": {"y": {**OVER_TIME, "aggs": {**pipelines(), **RATES}}}}
    },
    "keyed, and cut": {
        "x": {
            "date_histogram": {**OVER_TIME["date_histogram"], "keyed": True},
            "aggs": {**pipelines(), **BEST},
        }
    },
    "beside": {"x": {**OVER_TIME, "aggs": pipelines()}, "best": {"max_bucket": {"buckets_path": "x>s"}}},
    "beside, inside": {
        "k": {
            "terms": {"field": "k"},
            "aggs": {"x": {**OVER_TIME, "aggs": pipelines()}, "sum": {"sum_bucket": {"buckets_path": "x>c"}}},
        }
    },
}


@pytest.mark.parametrize("what", REQUESTS)
def test_pipelines_are_of_the_merged_buckets(client: TestClient, what: str) -> None:
    """Not of each index's: a sum over time begins once."""
    body = {"size": 0, "aggs": REQUESTS[what]}
    apart = client.post("/a,b/_search", json=body)
    together = client.post("/whole/_search", json=body)
    assert (200, 200) == (apart.status_code, together.status_code), apart.text
    expected = together.json()["aggregations"]
    assert pytest.approx(_flat(expected)) == _flat(apart.json()["aggregations"])


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every number and text under its path; an empty bucket's sum is 0 in one and none in several indexes."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _flat(inner, f"{path}.{name}").items()}
    if isinstance(value, list):
        return {k: v for place, inner in enumerate(value) for k, v in _flat(inner, f"{path}.{place}").items()}
    return {path: value or 0}


@pytest.mark.parametrize("index", ["whole", "a,b"])
@pytest.mark.parametrize(
    ("aggs", "told"),
    [
        ({"c": {"cumulative_sum": {"buckets_path": "_count"}}}, "must be inside a histogram or terms"),
        ({"r": {"rate": {"unit": "day"}}}, "must be inside a histogram or terms"),
        ({"t": {"terms": {"field": "k"}, "aggs": {"r": {"rate": {"field": "n"}}}}}, "directly inside a date_histogram"),
        ({"x": {**OVER_TIME, "aggs": {"b": {"bucket_script": {"buckets_path": {}, "script": "x"}}}}}, "[script] is + -"),
        ({"x": {**OVER_TIME, "aggs": {"c": {"derivative": {"buckets_path": "no"}}}}}, "path [no]"),
        ({"b": {"max_bucket": {"buckets_path": "x>s"}}}, "no buckets at [x]"),
    ],
)  # fmt: skip
def test_a_wrong_pipeline_is_told_over_one_index_and_over_several(
    client: TestClient, index: str, aggs: Any, told: str
) -> None:
    answer = client.post(f"/{index}/_search", json={"size": 0, "aggs": aggs})
    assert 400 == answer.status_code
    assert told in answer.json()["error"]["reason"]


def test_typed_names_are_those_of_elasticsearch(client: TestClient) -> None:
    body = {"size": 0, "aggs": {"x": {**OVER_TIME, "aggs": {**pipelines(), **RATES}}}}
    for index in ("whole", "a,b"):
        found = client.post(f"/{index}/_search?typed_keys=true", json=body).json()["aggregations"]
        bucket = found["date_histogram#x"]["buckets"][3]
        assert {"simple_value#m", "simple_value#b", "simple_value#l", "simple_value#c", "rate#r"} <= set(
            bucket
        )
