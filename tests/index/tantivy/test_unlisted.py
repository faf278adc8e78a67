"""Documents whose keys are empty or hold a backslash: the engine panics where it is to list its columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from built import build
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest, SortKey
from headrace.index.tantivy import unlisted
from headrace.model import Json

ODD: list[dict[str, object]] = [
    {"n": 1, "fine": "x"},
    {"C:\\temp": "one two", "a": {"b\\c": 2}},
    {"": "nobody can ask for this", "x": {"": {"": True}}},
]


def test_the_fields_are_listed_all_the_same(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"n": "integer"}, ODD, commit_every=1)
    expected = {"C:\\temp": "text", "a.b\\c": "long", "fine": "text", "x..": "boolean"}
    assert expected == reader.dynamic_fields()


@pytest.mark.parametrize(
    "query",
    [
        {"match": {"C:\\temp": "two"}},
        {"match_phrase": {"C:\\temp": "one two"}},
        {"term": {"C:\\temp.keyword": "one two"}},
        {"prefix": {"C:\\temp.keyword": "one"}},
        {"wildcard": {"C:\\temp": "on*"}},
        {"range": {"C:\\temp": {"gte": "one", "lt": "p"}}},
        {"range": {"a.b\\c": {"gte": 2, "lt": 3}}},
        {"fuzzy": {"C:\\temp.keyword": {"value": "one twx", "prefix_length": 2}}},
        {"exists": {"field": "a.b\\c"}},
        {"query_string": {"query": "two"}},
    ],
)
def test_a_key_with_a_backslash_is_a_field_like_any_other(tmp_path: Path, query: Json) -> None:
    view = build(tmp_path / "i", {"n": "integer"}, ODD).view()
    assert ["1"] == [hit.id for hit in view.search(SearchRequest(query=query)).hits]


def test_it_sorts_too(tmp_path: Path) -> None:
    view = build(tmp_path / "i", {"n": "integer"}, ODD).view()
    hits = view.search(SearchRequest(sort=[SortKey("C:\\temp.keyword")], size=1)).hits
    assert "one two" == hits[0].sort[0]


def test_read_from_the_documents_are_the_fields_that_the_engine_lists(tmp_path: Path) -> None:
    """Of declared ones only values that do not fit are the engine's dynamic ones; their names are known."""
    documents: list[dict[str, object]] = [
        {"n": 1, "a": {"b": [1, 2], "c": {"d": "x"}}, "none": None, "e.f": 1.5},
        {"n": 2, "g": [{"h": True}, {"h": False, "i": "2026-01-01"}], "empty": {}, "list": []},
    ]
    snapshot = build(tmp_path / "i", {"n": "integer"}, documents, commit_every=1).snapshot()
    assert set(snapshot.dynamic_values) == set(unlisted.dynamic_values(snapshot, "it panicked"))


def test_of_too_many_documents_nothing_is_listed_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of all fields that leaves some out would be wrong."""
    monkeypatch.setattr(unlisted, "MOST_DOCUMENTS", 2)
    reader = build(tmp_path / "i", {"n": "integer"}, ODD)
    with pytest.raises(RequestError, match="name the fields that are asked for") as refused:
        reader.dynamic_fields()
    assert 400 == refused.value.status
    assert 1 == reader.count({"match": {"C:\\temp": "two"}})
