"""Queries on a declared field find the values that did not fit its type too, as plain Python says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from built import build
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.index.tantivy.reader import TantivyReader

VALUE: Any = st.sampled_from([5, 1, -7, 2**53 + 1, 1.5, 4999.5, True, "abc", "5", "x yab", "ab", ""])
DOCUMENTS = st.lists(st.fixed_dictionaries({}, optional={"n": VALUE}), min_size=1, max_size=10)
Law = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(one: Any, other: Any) -> bool:
    return _spelled(one) == _spelled(other) or (_is_number(one) and _is_number(other) and one == other)


def _words(value: Any) -> list[str]:
    return re.findall(r"[a-z0-9]+", value) if isinstance(value, str) else []


def _range(bounds: tuple[float, float, bool, bool]) -> tuple[Any, Law]:
    low, high, closed, text = bounds
    spell = str if text else lambda bound: bound
    body = {"gte" if closed else "gt": spell(low), "lte" if closed else "lt": spell(high)}

    def holds(value: Any) -> bool:
        return _is_number(value) and (low <= value <= high if closed else low < value < high)

    return {"range": {"n": body}}, holds


QUERIES: Any = st.one_of(
    VALUE.map(lambda v: ({"term": {"n": v}}, lambda value: _same(v, value))),
    st.lists(VALUE, min_size=1, max_size=3).map(
        lambda vs: ({"terms": {"n": vs}}, lambda value: any(_same(v, value) for v in vs))
    ),
    st.tuples(
        st.sampled_from([0, 1, 1.5, -8]), st.sampled_from([5, 1.5, 5000, 2**60]), st.booleans(), st.booleans()
    ).map(_range),
    st.sampled_from(["a", "ab", "x"]).map(
        lambda p: ({"prefix": {"n": p}}, lambda value: isinstance(value, str) and value.startswith(p))
    ),
    st.sampled_from(["*b", "a?c", "*"]).map(
        lambda p: (
            {"wildcard": {"n": p}},
            lambda value: (
                isinstance(value, str) and bool(re.fullmatch(p.replace("*", ".*").replace("?", "."), value))
            ),
        )
    ),
    st.sampled_from(["abc", "x", "5"]).map(
        lambda w: (
            {"match": {"n": w}},
            lambda value: w in _words(value) or (_same(w, value) and not isinstance(value, str)),
        )
    ),
)


@given(DOCUMENTS, st.lists(QUERIES, min_size=1, max_size=6))
def test_every_query_on_an_integer_finds_what_python_finds(documents: list[Any], queries: list[Any]) -> None:
    """A query for what no integer can be is a 400 as long as there is nothing else in the field."""
    misfit = any(not isinstance(doc.get("n", 0), int) or doc.get("n") is True for doc in documents)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = build(Path(folder) / "i", {"n": "integer"}, documents, commit_every=3)
        for query, holds in queries:
            expected = [str(at) for at, doc in enumerate(documents) if "n" in doc and holds(doc["n"])]
            found = _found_or_refused(reader, query)
            assert found == expected or (found is None and not misfit), query


def _found_or_refused(reader: TantivyReader, query: Any) -> list[str] | None:
    try:
        return _found(reader, query)
    except RequestError:
        return None


def _found(reader: TantivyReader, query: Any) -> list[str]:
    return sorted((hit.id for hit in reader.search(SearchRequest(query=query, size=100)).hits), key=int)


@pytest.mark.parametrize(
    ("kind", "fits", "misfit", "query"),
    [
        ("date", "2026-01-01T00:00:00Z", "n/a", {"match": {"f": "n/a"}}),
        ("boolean", True, "maybe", {"query_string": {"query": "f:maybe"}}),
        ("ip", "10.0.0.1", "localhost", {"term": {"f": "localhost"}}),
        ("keyword", "a", 5, {"range": {"f": {"gte": 4, "lt": 6}}}),
        ("text", "a b", 5, {"match": {"f": 5}}),
        ("float", 1.5, "much", {"fuzzy": {"f": "mucj"}}),
        ("float", 1.5, "much more", {"match_phrase": {"f": "much more"}}),
        ("integer", 1, "much more", {"multi_match": {"query": "more", "fields": ["f"]}}),
        ("integer", 1, "ab", {"regexp": {"f": "a."}}),
    ],
)
def test_a_misfit_is_found_by_its_own_value(
    tmp_path: Path, kind: str, fits: Any, misfit: Any, query: Any
) -> None:
    reader = build(tmp_path, {"f": kind}, [{"f": fits}, {"f": misfit}])
    assert _found(reader, query) == ["1"]


def test_no_text_is_within_a_range_of_numbers_or_dates(tmp_path: Path) -> None:
    documents = [{"n": 1, "d": "2026-01-01T00:00:00Z"}, {"n": "zzz", "d": "zzz"}]
    reader = build(tmp_path, {"n": "integer", "d": "date"}, documents)
    assert _found(reader, {"range": {"n": {"gte": "0"}}}) == ["0"]
    assert _found(reader, {"range": {"d": {"gte": "2025-01-01"}}}) == ["0"]


def test_a_range_over_text_stays_refused_beside_misfits(tmp_path: Path) -> None:
    reader = build(tmp_path, {"t": "text"}, [{"t": "a"}, {"t": 5}])
    with pytest.raises(RequestError, match="does not support range queries"):
        _found(reader, {"range": {"t": {"gte": 1}}})


def test_fractions_that_come_after_an_integer_was_inferred_are_found_in_ranges(tmp_path: Path) -> None:
    """The 6,000 records of which the first 5,000 have whole numbers."""
    whole = [{"v": number} for number in range(5000)]
    files = {"a.ndjson": whole, "b.ndjson": [{"v": number + 0.5} for number in range(5000, 6000)]}
    for name, records in files.items():
        pl.DataFrame(records).write_ndjson(tmp_path / name)
        headrace.index(pl.read_ndjson(tmp_path / name), into=tmp_path / "index")
    index = headrace.open(tmp_path / "index")
    assert index.search("v:>5000", size=1).total == 1000
    assert index.search({"query": {"range": {"v": {"gte": 0}}}}).total == 6000
