"""One hit of each value, over several indexes and many rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search


def client_of(folder: Path, *parts: list[dict[str, Any]]) -> TestClient:
    fields = {"g": "keyword", "n": "integer"}
    readers = {
        f"i{at}": build(folder / f"i{at}", fields, documents, commit_every=3)
        for at, documents in enumerate(parts)
    }
    return TestClient(Starlette(routes=search.routes(Readers(readers))))


def test_total_and_aggregations_are_of_all_hits(tmp_path: Path) -> None:
    client = client_of(tmp_path, [{"g": "ab"[n % 2], "n": n} for n in range(9)])
    body = {"collapse": {"field": "g"}, "sort": [{"n": "desc"}], "aggs": {"m": {"max": {"field": "n"}}}}
    answer = client.post("/i0/_search", json=body).json()
    assert (9, 8.0) == (answer["hits"]["total"]["value"], answer["aggregations"]["m"]["value"])
    assert [(8, ["a"]), (7, ["b"])] == [
        (hit["_source"]["n"], hit["fields"]["g"]) for hit in answer["hits"]["hits"]
    ]


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdef "), st.integers(0, 99)), min_size=1, max_size=30),
    start=st.integers(0, 3),
    size=st.integers(0, 4),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_the_first_of_each_group_of_the_whole_list(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], start: int, size: int
) -> None:
    """A space stands for no value, which is a group too."""
    documents = [{"n": n, **({"g": g} if g != " " else {})} for g, n in rows]
    client = client_of(tmp_path_factory.mktemp("c"), documents[::2], documents[1::2])
    sort = [{"n": "asc"}, "_doc"]
    whole = client.post("/_search", json={"size": 100, "sort": sort}).json()["hits"]["hits"]
    firsts: dict[Any, Any] = {}
    for hit in whole:
        firsts.setdefault(hit["_source"].get("g"), (hit["_index"], hit["_id"]))
    body = {"collapse": {"field": "g"}, "sort": sort, "from": start, "size": size}
    found = client.post("/_search", json=body).json()["hits"]["hits"]
    assert list(firsts.values())[start : start + size] == [(hit["_index"], hit["_id"]) for hit in found]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/i0/_search", {"search_after": [1], "sort": ["n"]}, "[search_after]"),
        ("/i0/_search?scroll=1m", {}, "scroll context"),
        ("/i0/_search", {"from": 10_000, "size": 1}, "at most 10000"),
        ("/i0/_search", {"collapse": {"field": "g", "size": 1}}, "no option [size]"),
        ("/i0/_search", {"collapse": "g"}, "an object with a [field]"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, path: str, body: Any, said: str) -> None:
    client = client_of(tmp_path, [{"g": "a", "n": 1}])
    answer = client.post(path, json={"collapse": {"field": "g"}, **body})
    assert (400, True) == (answer.status_code, said in answer.json()["error"]["reason"]), answer.text


def test_a_search_among_many_collapses_too(tmp_path: Path) -> None:
    client = client_of(tmp_path, [{"g": "a", "n": 1}, {"g": "a", "n": 2}])
    lines = b'{"index":"i0"}\n{"collapse":{"field":"g"}}\n'
    answer = client.post("/_msearch", content=lines, headers={"Content-Type": "application/x-ndjson"}).json()
    assert 1 == len(answer["responses"][0]["hits"]["hits"])
