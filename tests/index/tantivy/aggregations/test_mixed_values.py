"""Aggregations over an undeclared field answer what plain Python says of its values, whatever kinds they are."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from built import build
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.index.tantivy.reader import TantivyReader

DATES = ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00.5Z", "2026-01-01T01:00:00+01:00"]
NUMBERS = [5, 1, 0, -7, 1.5, 2**40]
VALUE: Any = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(DATES),
    st.booleans(),
    st.sampled_from(["", "n/a", "5", "true", "2026-01-03"]),
)
DOCUMENTS = st.lists(st.fixed_dictionaries({}, optional={"t": VALUE, "m": VALUE}), min_size=1, max_size=10)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000


def _key(value: Any) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "boolean", int(value)
    if isinstance(value, int | float):
        return "number", value
    return ("date", _moment(value)) if value in DATES else ("text", value)


def _kinds(documents: list[dict[str, Any]]) -> set[str]:
    return {_key(doc["t"])[0] for doc in documents if "t" in doc}


def _asked(reader: TantivyReader, **aggregations: Any) -> dict[str, Any]:
    found = reader.search(SearchRequest(query={"match_all": {}}, size=0, aggregations=aggregations))
    return dict(found.aggregations or {})


def _bucket(bucket: dict[str, Any]) -> tuple[str, Any]:
    spelled = bucket.get("key_as_string")
    if spelled in ("true", "false"):
        return "boolean", bucket["key"]
    if spelled is not None:
        return "date", bucket["key"]
    return ("text" if isinstance(bucket["key"], str) else "number"), bucket["key"]


@given(DOCUMENTS, st.integers(1, 10))
def test_terms_of_mixed_values_are_counted_each_by_its_own_kind(
    documents: list[dict[str, Any]], commit_every: int
) -> None:
    """Also with a sub-aggregation that is a query for each bucket."""
    expected = Counter(_key(doc["t"]) for doc in documents if "t" in doc)
    with tempfile.TemporaryDirectory() as folder:
        reader = build(Path(folder), {}, documents, commit_every=commit_every)
        inner: Any = {"all": {"filters": {"filters": [{"match_all": {}}]}}}
        found = _asked(reader, x={"terms": {"field": "t", "size": 50}, "aggs": inner})["x"]["buckets"]
        ordered = _asked(reader, x={"terms": {"field": "t", "size": 50, "order": {"_key": "asc"}}})
    assert {_bucket(bucket): bucket["doc_count"] for bucket in found} == dict(expected)
    assert {_bucket(bucket): bucket["all"]["buckets"][0]["doc_count"] for bucket in found} == dict(expected)
    assert Counter(map(_bucket, ordered["x"]["buckets"])) == Counter(list(expected))


@given(DOCUMENTS, st.integers(1, 10))
def test_metrics_are_those_of_the_numbers_or_the_dates_and_refused_of_both(
    documents: list[dict[str, Any]], commit_every: int
) -> None:
    kinds = _kinds(documents)
    with tempfile.TemporaryDirectory() as folder:
        reader = build(Path(folder), {}, documents, commit_every=commit_every)
        count = _asked(reader, x={"value_count": {"field": "t"}})["x"]["value"]
        assert count == sum("t" in doc for doc in documents)
        if {"number", "date"} <= kinds:
            for kind in ("min", "stats", "sum", "histogram", "date_histogram", "range"):
                options: Any = {"interval": 5} if kind == "histogram" else {}
                options |= {"fixed_interval": "1d"} if kind == "date_histogram" else {}
                options |= {"ranges": [{"to": 5}]} if kind == "range" else {}
                with pytest.raises(RequestError, match="numbers in some documents and dates in others"):
                    _asked(reader, x={kind: {"field": "t", **options}})
            return
        stats = _asked(reader, x={"stats": {"field": "t"}})["x"]
    wanted = next((kind for kind in ("number", "date") if kind in kinds), "boolean")
    if wanted == "boolean" and "text" in kinds:
        wanted = "boolean"
    points = [key[1] for doc in documents if "t" in doc and (key := _key(doc["t"]))[0] == wanted]
    assert stats["count"] == len(points)
    assert stats["min"] == (min(points) if points else None)
    assert stats["max"] == (max(points) if points else None)
    assert ("min_as_string" in stats) == (wanted == "date" and bool(points))


@given(DOCUMENTS)
def test_multi_terms_and_composite_of_mixed_values_are_counted_or_refused(
    documents: list[dict[str, Any]],
) -> None:
    pairs = Counter((_key(doc["t"]), _key(doc["m"])) for doc in documents if "t" in doc and "m" in doc)
    kinds = _kinds(documents)
    with tempfile.TemporaryDirectory() as folder:
        reader = build(Path(folder), {}, documents, commit_every=3)
        terms = {"terms": [{"field": "t"}, {"field": "m"}], "size": 100}
        found = _asked(reader, x={"multi_terms": terms})["x"]["buckets"]
        assert sum(bucket["doc_count"] for bucket in found) == sum(pairs.values())
        sources = [{"t": {"terms": {"field": "t"}}}]
        if {"number", "date"} <= kinds:
            with pytest.raises(RequestError, match="numbers in some documents"):
                _asked(reader, x={"composite": {"sources": sources}})
            return
        pages: list[dict[str, Any]] = []
        after: dict[str, Any] = {}
        inner: Any = {"all": {"filters": {"filters": [{"match_all": {}}]}}}
        while True:
            request = {"composite": {"sources": sources, "size": 2, **after}, "aggs": inner}
            page = _asked(reader, x=request)["x"]
            if not page["buckets"]:
                break
            pages += page["buckets"]
            after = {"after": page["after_key"]}
    expected = Counter(_key(doc["t"]) for doc in documents if "t" in doc)
    assert Counter({str(b["key"]["t"]): b["doc_count"] for b in pages}).total() == expected.total()
    assert len(pages) == len(expected)
    assert [b["all"]["buckets"][0]["doc_count"] for b in pages] == [b["doc_count"] for b in pages]


def test_terms_of_dates_and_one_text_are_buckets_of_both(tmp_path: Path) -> None:
    documents = [{"t": DATES[0]}] * 20 + [{"t": "n/a"}]
    reader = build(tmp_path, {}, documents)
    found = _asked(reader, x={"terms": {"field": "t"}})["x"]["buckets"]
    assert found == [
        {"key": 1767225600000, "key_as_string": "2026-01-01T00:00:00.000Z", "doc_count": 20},
        {"key": "n/a", "doc_count": 1},
    ]


def test_the_least_of_dates_is_a_date_though_the_first_document_has_a_text(tmp_path: Path) -> None:
    reader = build(tmp_path, {}, [{"t": "n/a"}, {"t": DATES[0]}])
    assert _asked(reader, x={"min": {"field": "t"}})["x"] == {
        "value": 1767225600000.0,
        "value_as_string": "2026-01-01T00:00:00.000Z",
    }


def test_include_and_exclude_choose_among_all_kinds_of_values(tmp_path: Path) -> None:
    reader = build(tmp_path, {}, [{"t": value} for value in (5, 6, "a", DATES[0], True)])

    def keys(**options: Any) -> list[Any]:
        found = _asked(reader, x={"terms": {"field": "t", **options}})["x"]["buckets"]
        return [bucket.get("key_as_string", bucket["key"]) for bucket in found]

    assert keys(include=[5, "a"]) == [5, "a"]
    assert keys(exclude=["5", "true"]) == [6, "2026-01-01T00:00:00.000Z", "a"]
    assert keys(include=[DATES[0], "true"]) == ["true", "2026-01-01T00:00:00.000Z"]
    with pytest.raises(RequestError, match="use a list of values"):
        keys(include="a.*")


def test_a_mapping_shows_a_type_only_where_all_values_are_of_it(tmp_path: Path) -> None:
    documents: list[Any] = [
        {"date": DATES[0], "mixed": DATES[0], "float": 1.0, "large": 1e20, "whole": 5, "flag": True},
        {"mixed": "n/a"},
    ]
    reader = build(tmp_path, {}, documents)
    assert reader.dynamic_fields() == {
        "date": "date",
        "flag": "boolean",
        "float": "double",
        "large": "double",
        "mixed": "text",
        "whole": "long",
    }
