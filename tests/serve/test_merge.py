"""Aggregations of several indexes: what each is asked for, and how the answers become one."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core.errors import RequestError
from headrace.serve.merge import merged, planned


def _terms(others: int, **counts: int) -> Any:
    buckets = [{"key": key, "doc_count": count} for key, count in counts.items()]
    return {"x": {"buckets": buckets, "sum_other_doc_count": others, "doc_count_error_upper_bound": 0}}


def test_an_average_is_asked_for_as_sum_and_count() -> None:
    assert {"x": {"stats": {"field": "n"}}} == planned({"x": {"avg": {"field": "n"}}})
    answers = [("a", {"x": {"count": 1, "sum": 10.0}}), ("b", {"x": {"count": 4, "sum": 10.0}})]
    assert {"x": {"value": 4.0}} == merged({"x": {"avg": {"field": "n"}}}, answers)


def test_terms_are_asked_for_beyond_the_wanted_size_and_the_error_is_bounded() -> None:
    """A term that an index left out has at most as many documents there as the last one it gave."""
    request = {"x": {"terms": {"field": "k", "size": 2, "show_term_doc_count_error": True}}}
    assert 2 < planned(request)["x"]["terms"]["size"]
    found = merged(request, [("a", _terms(9, p=8, q=5)), ("b", _terms(0, q=4, r=3))])["x"]
    assert [("q", 9, 0), ("p", 8, 0)] == [
        (b["key"], b["doc_count"], b["doc_count_error_upper_bound"]) for b in found["buckets"]
    ]
    assert (5, 12) == (found["doc_count_error_upper_bound"], found["sum_other_doc_count"])
    third = merged({"x": {"terms": {"field": "k", "size": 3, "show_term_doc_count_error": True}}}, [
        ("a", _terms(9, p=8, q=5)), ("b", _terms(0, q=4, r=3)),
    ])["x"]["buckets"][2]  # fmt: skip
    assert ("r", 5) == (third["key"], third["doc_count_error_upper_bound"])


def test_terms_in_an_order_that_needs_all_of_them_are_refused_where_there_are_too_many() -> None:
    request = {"x": {"terms": {"field": "k", "order": {"_count": "asc"}}}}
    assert 65_535 == planned(request)["x"]["terms"]["size"]
    with pytest.raises(RequestError, match="order by _count descending or by _key"):
        merged(request, [("a", _terms(1, p=1))])


def test_terms_are_ordered_by_a_merged_metric() -> None:
    request = {
        "x": {
            "terms": {"field": "k", "order": [{"m": "desc"}, {"_key": "desc"}]},
            "aggs": {"m": {"avg": {"field": "n"}}},
        }
    }
    assert "order" not in planned(request)["x"]["terms"]

    def bucket(key: str, count: int, total: float) -> Any:
        return {"key": key, "doc_count": count, "m": {"count": count, "sum": total}}

    one = {"x": {"buckets": [bucket("p", 1, 9.0), bucket("q", 1, 1.0)], "sum_other_doc_count": 0}}
    two = {"x": {"buckets": [bucket("p", 2, 0.0), bucket("r", 1, 3.0)], "sum_other_doc_count": 0}}
    found = merged(request, [("a", one), ("b", two)])["x"]["buckets"]
    assert [("r", 3.0), ("p", 3.0), ("q", 1.0)] == [(b["key"], b["m"]["value"]) for b in found]


def _histogram(*keys: float, count: int = 1) -> Any:
    return {
        "x": {"buckets": [{"key": key, "doc_count": count, "m": {"count": 1, "sum": 1.0}} for key in keys]}
    }


def test_a_histogram_has_no_gap_between_the_indexes() -> None:
    request = {"x": {"histogram": {"field": "n", "interval": 0.5}, "aggs": {"m": {"avg": {"field": "n"}}}}}
    found = merged(request, [("a", _histogram(0.0, 0.5)), ("b", _histogram(2.0))])["x"]["buckets"]
    assert [(0.0, 1), (0.5, 1), (1.0, 0), (1.5, 0), (2.0, 1)] == [(b["key"], b["doc_count"]) for b in found]
    assert {"value": None} == found[2]["m"]


def test_a_calendar_histogram_is_filled_by_the_calendar_and_the_zone() -> None:
    options = {
        "field": "d", "calendar_interval": "month", "time_zone": "Europe/Berlin", "format": "yyyy-MM-dd HH:mm",
    }  # fmt: skip
    answers = [("a", _histogram(1_706_742_000_000)), ("b", _histogram(1_714_514_400_000))]
    found = merged({"x": {"date_histogram": options}}, answers)["x"]["buckets"]
    texts = [bucket.get("key_as_string") for bucket in found]
    assert [None, "2024-03-01 00:00", "2024-04-01 00:00", None] == texts
    assert [1, 0, 0, 1] == [bucket["doc_count"] for bucket in found]


def test_a_least_count_is_judged_after_merging() -> None:
    request = {"x": {"histogram": {"field": "n", "interval": 1, "min_doc_count": 2}}}
    assert 1 == planned(request)["x"]["histogram"]["min_doc_count"]
    found = merged(request, [("a", _histogram(0.0, 1.0)), ("b", _histogram(1.0))])["x"]["buckets"]
    assert [(1.0, 2)] == [(bucket["key"], bucket["doc_count"]) for bucket in found]


def test_too_many_empty_buckets_are_an_error() -> None:
    request = {"x": {"histogram": {"field": "n", "interval": 1}}}
    with pytest.raises(RequestError, match="use a larger interval"):
        merged(request, [("a", _histogram(0.0)), ("b", _histogram(1e9))])


def test_top_hits_go_by_their_sort_values() -> None:
    request = {
        "x": {"top_hits": {"size": 2, "from": 1, "sort": [{"n": {"order": "desc", "missing": "_first"}}]}}
    }
    assert {"from": 0, "size": 3} == {k: planned(request)["x"]["top_hits"][k] for k in ("from", "size")}

    def answer(*values: Any) -> Any:
        hits = [{"_id": str(value), "sort": [value]} for value in values]
        total = {"value": len(values), "relation": "eq"}
        return {"x": {"hits": {"total": total, "max_score": None, "hits": hits}}}

    found = merged(request, [("a", answer(None, 5, 1)), ("b", answer(7))])["x"]["hits"]
    assert [("b", "7"), ("a", "5")] == [(hit["_index"], hit["_id"]) for hit in found["hits"]]
    assert {"value": 4, "relation": "eq"} == found["total"]
    addresses = merged(
        {"x": {"top_hits": {"sort": ["ip"]}}}, [("a", answer("9.9.9.9")), ("b", answer("10.0.0.1", "::1"))]
    )["x"]["hits"]["hits"]
    assert ["::1", "9.9.9.9", "10.0.0.1"] == [hit["_id"] for hit in addresses]


def test_true_and_one_are_two_terms() -> None:
    request = {"x": {"terms": {"field": "k"}}}
    one = {"x": {"buckets": [{"key": True, "doc_count": 1}], "sum_other_doc_count": 0}}
    two = {"x": {"buckets": [{"key": 1, "doc_count": 1}], "sum_other_doc_count": 0}}
    assert 2 == len(merged(request, [("a", one), ("b", two)])["x"]["buckets"])


@pytest.mark.parametrize("kind", ["percentiles", "cardinality", "composite"])
def test_what_does_not_merge_is_refused_with_a_way_out(kind: str) -> None:
    with pytest.raises(RequestError, match=rf"\[y\] of type \[{kind}\] cannot be merged .* search one index"):
        planned({"x": {"terms": {"field": "k"}, "aggs": {"y": {kind: {"field": "n"}}}}})
