"""Several indexes searched at once answer as one that holds all their documents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.catalogue.entry import Alias
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest, SortKey
from headrace.serve import search, searches
from headrace.serve.searches import Part

FIELDS = {"k": "keyword", "n": "integer", "f": "float", "d": "date", "b": "boolean", "ip": "ip", "t": "text"}


def app(readers: Readers) -> TestClient:
    return TestClient(Starlette(routes=search.routes(readers)))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    one = build(tmp_path / "a", FIELDS, [{"_id": "1", "k": "x", "n": 1}, {"_id": "2", "k": "y", "n": 4}])
    two = build(tmp_path / "b", FIELDS, [{"_id": "1", "k": "x", "n": 3}, {"_id": "3", "n": 2}])
    aliases = {
        "all": {"a": Alias(), "b": Alias()},
        "small": {"a": Alias(filter={"range": {"n": {"lt": 3}}}), "b": Alias()},
    }
    with app(Readers({"a": one, "b": two}, aliases)) as client:
        yield client


def _found(client: TestClient, path: str, body: Any = None) -> list[tuple[str, str]]:
    answer = client.post(path, json=body or {})
    assert 200 == answer.status_code, answer.text
    return [(hit["_index"], hit["_id"]) for hit in answer.json()["hits"]["hits"]]


@pytest.mark.parametrize("path", ["/_search", "/_all/_search", "/*/_search", "/a,b/_search", "/all/_search"])
def test_every_way_to_name_both_indexes_searches_both(client: TestClient, path: str) -> None:
    body = {"sort": [{"n": "desc"}]}
    assert [("a", "2"), ("b", "1"), ("b", "3"), ("a", "1")] == _found(client, path, body)
    answer = client.post(path, json=body).json()
    assert {"value": 4, "relation": "eq"} == answer["hits"]["total"]
    assert {"total": 2, "successful": 2, "skipped": 0, "failed": 0} == answer["_shards"]


def test_an_alias_is_bound_by_its_filter(client: TestClient) -> None:
    assert [("a", "1"), ("b", "3"), ("b", "1")] == _found(client, "/small/_search", {"sort": ["n"]})
    assert 3 == client.get("/small/_count").json()["count"]


def test_the_filter_of_an_alias_stands_beside_the_query_and_takes_nothing_of_its_score(
    client: TestClient,
) -> None:
    """1.0 for a search of everything, as in the index itself."""
    for path in ("/a/_search", "/small/_search"):
        hits = client.post(path, json={"query": {"match_all": {}}}).json()["hits"]
        assert {1.0} == {hit["_score"] for hit in hits["hits"]} | {hits["max_score"]}, path


def test_a_missing_index_is_an_error_unless_it_may_be_missing(client: TestClient) -> None:
    assert 404 == client.get("/a,nope/_search").status_code
    assert 2 == client.get("/a,nope/_search?ignore_unavailable=true").json()["hits"]["total"]["value"]
    empty = client.get("/nope*/_search").json()
    assert {"value": 0, "relation": "eq"} == empty["hits"]["total"]
    assert 0 == empty["_shards"]["total"]
    assert 404 == client.get("/nope*/_search?allow_no_indices=false").status_code


def test_from_and_size_are_a_window_on_the_merged_hits(client: TestClient) -> None:
    body = {"sort": ["n"], "from": 1, "size": 2}
    assert [("b", "3"), ("b", "1")] == _found(client, "/_search", body)


def test_ties_go_by_index_and_seq_and_a_cursor_in_the_middle_of_them_loses_none(client: TestClient) -> None:
    body: dict[str, Any] = {"sort": [{"b": "asc"}], "size": 1}
    found = []
    while True:
        hits = client.post("/_search", json=body).json()["hits"]["hits"]
        if not hits:
            break
        found.append((hits[0]["_index"], hits[0]["_id"]))
        body["search_after"] = hits[0]["sort"]
    assert [("a", "1"), ("a", "2"), ("b", "1"), ("b", "3")] == found


def test_a_cursor_of_one_index_does_not_fit_several(client: TestClient) -> None:
    answer = client.post("/_search", json={"sort": ["n"], "search_after": [1, 0]})
    assert 400 == answer.status_code
    assert "begin again" in answer.json()["error"]["reason"]
    assert [("a", "2")] == _found(client, "/a/_search", {"sort": ["n"], "search_after": [1, "a:0"]})


def test_values_that_do_not_compare_are_not_sorted(tmp_path: Path) -> None:
    one = build(tmp_path / "a", {"v": "integer"}, [{"v": 1}])
    two = build(tmp_path / "b", {"v": "keyword"}, [{"v": "x"}])
    with app(Readers({"a": one, "b": two})) as client:
        answer = client.post("/_search", json={"sort": ["v"]})
    assert 400 == answer.status_code
    assert "it is a number in [a], a text in [b]" in answer.json()["error"]["reason"]


def test_what_cannot_be_merged_is_refused_with_a_way_out(client: TestClient) -> None:
    for kind in ("percentiles", "cardinality"):
        body = {"size": 0, "aggs": {"x": {kind: {"field": "n"}}}}
        answer = client.post("/_search", json=body)
        assert 400 == answer.status_code
        assert "search one index" in answer.json()["error"]["reason"]
        assert 200 == client.post("/a/_search", json=body).status_code


def test_hits_in_an_aggregation_say_their_index_and_are_in_order(client: TestClient) -> None:
    top = {"top_hits": {"size": 2, "sort": [{"n": "desc"}]}}
    found = client.post("/_search", json={"size": 0, "aggs": {"x": top}}).json()["aggregations"]["x"]["hits"]
    assert [("a", "2"), ("b", "1")] == [(hit["_index"], hit["_id"]) for hit in found["hits"]]
    one = client.post("/a/_search", json={"size": 0, "aggs": {"x": top}}).json()["aggregations"]["x"]["hits"]
    assert ["a", "a"] == [hit["_index"] for hit in one["hits"]]


DATES = [
    "2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00.001Z",
    "2024-03-05T10:00:00Z",
    "2024-03-05T10:00:00.000001Z",
]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "k": st.sampled_from(["", "a", "b", "B", "é"]),
    "n": st.sampled_from([-3, 0, 1, 2, 7, 2**53 + 1]),
    "f": st.sampled_from([-1.5, 0.0, 0.5, 2.0]),
    "b": st.booleans(),
    "d": st.sampled_from(DATES),
    "ip": st.sampled_from(["10.0.0.1", "::1", "9.9.9.9"]),
    "u": st.sampled_from([1, 2, "x", "yy", True, 1.5]),
}
DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.fixed_dictionaries({"t": st.just("word")}, optional=VALUES)),
    min_size=1,
    max_size=14,
)
SORTS = st.lists(
    st.builds(SortKey, st.sampled_from(["k", "n", "f", "b", "d", "ip", "u"]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=3,
)


FEW = max(8, settings().max_examples // 2)
"""Each example builds up to five indexes."""


def _split(directory: Path, documents: list[tuple[int, dict[str, Any]]]) -> tuple[list[Part], Part]:
    """The documents in up to four indexes, and all of them in one, in the order of ties."""
    given = [{"_id": str(number), **document} for number, (_, document) in enumerate(documents)]
    by_index: dict[int, list[dict[str, Any]]] = {}
    for (index, _), document in zip(documents, given, strict=True):
        by_index.setdefault(index, []).append(document)
    parts = [
        Part(f"i{index}", build(directory / f"i{index}", FIELDS, by_index[index], commit_every=2))
        for index in sorted(by_index)
    ]
    whole = [document for index in sorted(by_index) for document in by_index[index]]
    return parts, Part("all", build(directory / "all", FIELDS, whole, commit_every=3))


def _pages(parts: list[Part], request: SearchRequest, size: int) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = SearchRequest(query=request.query, sort=request.sort, size=size, search_after=after)
        hits = searches.search(parts, page).hits
        if not hits:
            return found
        found += [hit.hit.id for hit in hits]
        after = list(hits[-1].hit.sort)


@settings(max_examples=FEW)
@given(DOCUMENTS, SORTS, st.integers(0, 5), st.integers(1, 6))
def test_any_split_into_indexes_is_searched_as_if_it_were_one(
    documents: list[tuple[int, dict[str, Any]]], sort: list[SortKey], start: int, size: int
) -> None:
    """Hits, their keys and the total; pages by `search_after` give each document once, in that order."""
    with tempfile.TemporaryDirectory() as folder:
        parts, whole = _split(Path(folder), documents)
        request = SearchRequest(query={"match": {"t": "word"}}, sort=sort, start=start, size=size)
        expected, found = searches.search([whole], request), searches.search(parts, request)
        assert expected.total == found.total
        assert [hit.hit.id for hit in expected.hits] == [hit.hit.id for hit in found.hits]
        assert [hit.hit.sort[:-1] for hit in expected.hits] == [hit.hit.sort[:-1] for hit in found.hits]
        all_of_them = _pages([whole], request, 100)
        assert len(documents) == len(set(all_of_them)) == len(all_of_them)
        assert all_of_them == _pages(parts, request, size)


AGGREGATIONS: dict[str, Any] = {
    "mean": {"avg": {"field": "n"}},
    "least": {"min": {"field": "f"}},
    "most": {"max": {"field": "f"}},
    "sum": {"sum": {"field": "f"}},
    "values": {"value_count": {"field": "k"}},
    "stats": {"stats": {"field": "f"}},
    "extended": {"extended_stats": {"field": "f"}},
    "earliest": {"min": {"field": "d"}},
    "steps": {"histogram": {"field": "f", "interval": 0.5}, "aggs": {"n": {"sum": {"field": "n"}}}},
    "days": {"date_histogram": {"field": "d", "fixed_interval": "30d"}},
    "ranges": {"range": {"field": "f", "ranges": [{"to": 0}, {"from": 0, "to": 1}, {"from": 1}]}},
    "named": {"range": {"field": "f", "ranges": [{"key": "low", "to": 0.5}]}},
    "filter": {"filter": {"term": {"k": "a"}}, "aggs": {"n": {"avg": {"field": "n"}}}},
    "filters": {"filters": {"filters": {"a": {"term": {"k": "a"}}, "b": {"term": {"b": True}}}}},
    "terms": {
        "terms": {"field": "k", "size": 20, "order": {"_key": "asc"}},
        "aggs": {"f": {"avg": {"field": "f"}}, "inner": {"terms": {"field": "b", "order": {"_key": "asc"}}}},
    },
    "two": {"terms": {"field": "k", "size": 2, "order": {"_key": "desc"}}},
}


def _near(expected: Any, found: Any) -> None:
    """Equal, but for the last digits of sums that were added in another order."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            # Of one value the engine says no deviation; Elasticsearch, and we where we merge, 0.
            if expected.get("count") != 1 or not name.startswith(("variance", "std_deviation")):
                _near(value, found.get(name))
    elif isinstance(expected, list):
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            _near(one, other)
    elif isinstance(expected, float):
        assert expected == pytest.approx(found, rel=1e-9, abs=1e-9)
    else:
        assert expected == found


@settings(max_examples=FEW)
@given(DOCUMENTS)
def test_aggregations_over_any_split_are_those_over_one_index(
    documents: list[tuple[int, dict[str, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts, whole = _split(Path(folder), documents)
        request = SearchRequest(size=0, aggregations=AGGREGATIONS)
        expected = searches.search([whole], request).aggregations
        found = searches.search(parts, request).aggregations
        for name in AGGREGATIONS:
            _near(expected[name], found[name])


@settings(max_examples=FEW)
@given(DOCUMENTS, st.integers(1, 5))
def test_pages_by_score_give_each_document_once(
    documents: list[tuple[int, dict[str, Any]]], size: int
) -> None:
    """Scores that differ, and ties of them, in one index and in several."""
    with tempfile.TemporaryDirectory() as folder:
        parts, whole = _split(Path(folder), documents)
        should: list[Any] = [{"term": {"k": "a"}}, {"term": {"b": True}}, {"exists": {"field": "n"}}]
        request = SearchRequest(
            query={"bool": {"must": [{"match": {"t": "word"}}], "should": should}},
            sort=(SortKey("_score", descending=True), SortKey("f")),
        )
        for searched in ([whole], parts):
            pages = _pages(searched, request, size)
            assert len(documents) == len(set(pages)) == len(pages)
            whole_page = searches.search(
                searched, SearchRequest(query=request.query, sort=request.sort, size=100)
            )
            assert pages == [hit.hit.id for hit in whole_page.hits]
            scores = [hit.hit.score or 0.0 for hit in whole_page.hits]
            assert sorted(scores, reverse=True) == scores


def test_a_score_can_only_be_the_first_key(tmp_path: Path) -> None:
    part = Part("a", build(tmp_path / "a", FIELDS, [{"n": 1}]))
    with pytest.raises(RequestError, match="first key, descending"):
        searches.search([part], SearchRequest(sort=(SortKey("n"), SortKey("_score", descending=True))))
