"""Undeclared dates without a zone or a time are dates in UTC wherever they are, and come back as they were sent."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from built import build
from headrace.index.base import SearchRequest
from headrace.index.tantivy.isodates import with_iso_dates
from headrace.index.tantivy.rows import RowFormat
from headrace.index.tantivy.store import Description

DAY = 86_400_000
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 (their zone is what is missing)


def _spelled(moment: datetime, form: str) -> tuple[str, datetime]:
    """A moment as a text, and the moment in UTC that the text means."""
    text = moment.strftime(form)
    return text, datetime.fromisoformat(text).replace(tzinfo=UTC)


TEXTS = st.tuples(MOMENTS, st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])).map(
    lambda pair: _spelled(*pair)
)


@given(st.lists(TEXTS, min_size=1, max_size=8), MOMENTS, MOMENTS)
def test_a_range_over_undeclared_dates_finds_what_python_finds(
    dates: list[tuple[str, datetime]], one: datetime, other: datetime
) -> None:
    """Bounds as texts and as milliseconds since 1970; the documents stay as they were."""
    low, high = sorted(moment.replace(microsecond=0, tzinfo=UTC) for moment in (one, other))
    expected = sum(low <= moment <= high for _, moment in dates)
    bounds = ([low.isoformat(), high.isoformat()], [int(m.timestamp() * 1000) for m in (low, high)])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        frame = pl.DataFrame({"o": [{"at": text, "x": [text]} for text, _ in dates]})
        index = headrace.index(frame, into=folder)
        for least, most in bounds:
            for name in ("o.at", "o.x"):
                query: Any = {"range": {name: {"gte": least, "lte": most}}}
                assert index.search({"query": query}).total == expected, query
        found = index.answer({"size": 100, "sort": ["_doc"]})["hits"]["hits"]
        stats = index.answer({"size": 0, "aggs": {"s": {"stats": {"field": "o.at"}}}})["aggregations"]["s"]
    assert [hit["_source"]["o"]["at"] for hit in found] == [text for text, _ in dates]
    assert stats["count"] == len(dates)
    assert stats["min"] == min(moment.timestamp() * 1000 for _, moment in dates)


def test_undeclared_days_have_a_histogram_and_are_found_by_day(tmp_path: Path) -> None:
    days = ["2026-01-01", "2026-01-01T23:00:00", "2026-01-02", "2026-02-30", "later"]
    index = headrace.index(pl.DataFrame({"o": [{"day": day} for day in days]}), into=tmp_path)
    histogram: Any = {"x": {"date_histogram": {"field": "o.day", "fixed_interval": "1d"}}}
    buckets = index.answer({"size": 0, "aggs": histogram})["aggregations"]["x"]["buckets"]
    assert [(bucket["key_as_string"], bucket["doc_count"]) for bucket in buckets] == [
        ("2026-01-01T00:00:00.000Z", 2),
        ("2026-01-02T00:00:00.000Z", 1),
    ]
    assert index.search("o.day:2026-01-01").total == 2
    assert index.search('o.day:"2026-02-30"').total == 1, "no day, so it stays a text"
    assert index.search({"query": {"range": {"o.day": {"gte": "now-100y", "lt": "2026-01-02"}}}}).total == 2
    assert index.search({"query": {"match": {"o.day": "later"}}}).total == 1


def test_milliseconds_are_bounds_of_dates_and_no_dates_are_among_numbers(tmp_path: Path) -> None:
    documents: list[Any] = [{"t": "2026-01-01T00:00:00Z", "n": 5}, {"t": "2026-01-02T00:00:00Z", "n": 7}]
    reader = build(tmp_path, {}, documents)
    first = 1767225600000

    def count(field: str, **bounds: Any) -> int:
        return reader.search(SearchRequest(query={"range": {field: bounds}})).total

    assert count("t", gt=first) == 1
    assert count("t", gte=str(first), lt=first + DAY) == 1
    assert count("n", gte=5, lt=7) == 1


def test_a_frame_without_such_dates_is_left_as_it_is() -> None:
    frame = pl.DataFrame({"a": ["x", "2026-01-01T00:00:00Z", "2026-01-01 "], "b": [1, 2, 3]})
    assert with_iso_dates(frame) is frame


@pytest.mark.parametrize("name", ["*", "^a.*$", "", "a b", 'a"b'])
def test_a_field_is_found_under_any_name(name: str) -> None:
    row = {name: "2026-01-01", "in": {name: "2026-01-01"}, "list": [{name: "2026-01-01"}]}
    moment = "2026-01-01T00:00:00Z"
    expected = {name: moment, "in": {name: moment}, "list": [{name: moment}]}
    assert with_iso_dates(pl.DataFrame([row])).to_dicts() == [expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T10:30", "2026-01-01T10:30:00Z"),
        ("2026-01-01T10:30:05.123", "2026-01-01T10:30:05.123Z"),
        ("2026-02-30", "2026-02-30"),
        ("1500-01-01", "1500-01-01"),
        ("2026-01-01T24:00", "2026-01-01T24:00"),
        ("2026", "2026"),
    ],
)
def test_what_becomes_a_date_and_what_does_not(given: str, expected: str) -> None:
    frame = pl.DataFrame({"a": [[{"b": given}], None], "c": ["2026-01-01", None]})
    changed = with_iso_dates(frame)
    assert changed["a"].to_list() == [[{"b": expected}], None]


def test_an_index_made_before_keeps_such_dates_as_texts() -> None:
    """So that all of its documents are answered alike; another generation has them as dates."""
    old = msgspec.json.decode(
        b'{"format":1,"uuid":"u","name":"n","fields":{},"field_limit":9}', type=Description
    )
    frame = pl.DataFrame({"_record": [0], "_ordinal": [0], "d": ["2026-01-01"]})
    for schema, expected in (
        (old.schema, "2026-01-01"),
        (msgspec.structs.replace(old, iso_dates=True).schema, "2026-01-01T00:00:00Z"),
    ):
        (body,) = RowFormat(schema, (), "true").render(frame).frame["_body"]
        assert msgspec.json.decode(body)["_dyn"] == {"d": expected}
