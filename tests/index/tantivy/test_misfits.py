"""Queries on a declared field find the values that did not fit its type too, as plain Python says."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
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
from headrace.serve.searches import Part, search

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
    documents: list[Any] = [{"n": 1, "d": "2026-01-01T00:00:00Z"}, {"n": "zzz", "d": "zzz"}]
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
    files: dict[str, Any] = {
        "a.ndjson": whole,
        "b.ndjson": [{"v": number + 0.5} for number in range(5000, 6000)],
    }
    for name, records in files.items():
        pl.DataFrame(records).write_ndjson(tmp_path / name)
        headrace.index(pl.read_ndjson(tmp_path / name), into=tmp_path / "index")
    index = headrace.open(tmp_path / "index")
    assert index.search("v:>5000", size=1).total == 1000
    assert index.search({"query": {"range": {"v": {"gte": 0}}}}).total == 6000
    assert index.answer({"aggs": {"s": {"stats": {"field": "v"}}}})["aggregations"]["s"]["count"] == 6000


AGGREGATIONS: Any = {
    "stats": {"stats": {"field": "n"}},
    "avg": {"avg": {"field": "n"}},
    "count": {"value_count": {"field": "n"}},
    "steps": {"histogram": {"field": "n", "interval": 10, "min_doc_count": 1}},
    "ranges": {"range": {"field": "n", "ranges": [{"to": 2}, {"from": 2}]}},
    "all": {"filter": {"exists": {"field": "n"}}, "aggs": {"most": {"max": {"field": "n"}}}},
    "world": {"global": {}},
    "none": {"missing": {"field": "n"}},
    "values": {"terms": {"field": "n", "size": 50}, "aggs": {"least": {"min": {"field": "n"}}}},
}
SMALL: Any = st.sampled_from([5, 1, -7, 1.5, 99.5, True, "abc", "5", ""])


@given(st.lists(st.fixed_dictionaries({}, optional={"n": SMALL}), min_size=1, max_size=10))
def test_aggregations_of_an_integer_take_in_its_misfits(documents: list[Any]) -> None:
    """Numbers for what is about numbers, and all of them for terms."""
    values = [doc["n"] for doc in documents if "n" in doc]
    numbers = [value for value in values if _is_number(value)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = build(Path(folder) / "i", {"n": "integer"}, documents, commit_every=3)
        found = search([Part("i", reader.view())], SearchRequest(size=0, aggregations=AGGREGATIONS))
    answer = found.aggregations
    assert answer["stats"]["count"] == len(numbers)
    assert answer["stats"]["min"] == min(numbers, default=None)
    assert answer["stats"]["max"] == max(numbers, default=None)
    assert answer["avg"]["value"] == (sum(numbers) / len(numbers) if numbers else None)
    assert answer["count"]["value"] == len(values) == answer["all"]["doc_count"]
    assert answer["all"]["most"]["value"] == max(numbers, default=None)
    assert answer["world"]["doc_count"] == len(documents) == found.total
    assert answer["none"]["doc_count"] == len(documents) - len(values)
    steps = Counter(math.floor(value / 10) * 10 for value in numbers)
    assert {bucket["key"]: bucket["doc_count"] for bucket in answer["steps"]["buckets"]} == steps
    low = sum(value < 2 for value in numbers)
    assert [b["doc_count"] for b in answer["ranges"]["buckets"]] == [low, len(numbers) - low]
    keys = Counter((type(value) in (int, float), _spelled(value)) for value in values)
    assert keys == {
        (
            isinstance(b["key"], int | float) and "key_as_string" not in b,
            b.get("key_as_string", str(b["key"])),
        ): b["doc_count"]
        for b in answer["values"]["buckets"]
    }
    assert found.left_out == ()


def test_an_aggregation_that_cannot_take_misfits_in_says_that_it_leaves_them_out(tmp_path: Path) -> None:
    reader = build(tmp_path, {"n": "integer"}, [{"n": 1}, {"n": 2}, {"n": 2.5}])
    percentiles = {"percentiles": {"field": "n", "percents": [100]}}
    wanted: Any = {"p": percentiles, "m": {"max": {"field": "n"}}}
    found = search([Part("i", reader.view())], SearchRequest(size=0, aggregations=wanted))
    assert found.aggregations["m"] == {"value": 2.5}
    (told,) = found.left_out
    assert told.startswith("aggregation [p] leaves out the values of [n] in [i] that did not fit")


@pytest.mark.parametrize(
    ("kind", "fits", "misfits", "aggregation"),
    [
        (
            "date",
            "2026-01-01T00:00:00Z",
            [5, "n/a"],
            {"date_histogram": {"field": "f", "fixed_interval": "1d"}},
        ),
        ("date", "2026-01-01T00:00:00Z", [5, "n/a"], {"max": {"field": "f"}}),
        ("ip", "10.0.0.1", ["localhost"], {"ip_range": {"field": "f", "ranges": [{"mask": "10.0.0.0/8"}]}}),
        ("boolean", True, ["maybe", 5], {"stats": {"field": "f"}}),
    ],
)
def test_misfits_of_another_kind_change_no_answer(
    tmp_path: Path, kind: str, fits: Any, misfits: list[Any], aggregation: Any
) -> None:
    """A number among dates is no date of 1970, here as in a range."""
    request = SearchRequest(size=0, aggregations={"x": aggregation})
    without = build(tmp_path / "a", {"f": kind}, [{"f": fits}])
    beside = build(tmp_path / "b", {"f": kind}, [{"f": fits}, *({"f": value} for value in misfits)])
    expected = search([Part("i", without.view())], request).aggregations
    assert expected == search([Part("i", beside.view())], request).aggregations
