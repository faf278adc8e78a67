"""Date histograms of random documents are what plain Python counts, in any zone and with any interval."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from built import build
from headrace.index.base import SearchRequest
from headrace.index.query.dates import iso, to_micros

FIELDS = {"d": "date", "k": "keyword", "n": "integer"}
ZONES = ("UTC", "+05:30", "Europe/Berlin", "America/New_York")
DATES = st.integers(to_micros(datetime(2022, 12, 1, tzinfo=UTC)), to_micros(datetime(2024, 4, 1, tzinfo=UTC)))
DOCUMENTS = st.lists(
    st.fixed_dictionaries({"k": st.sampled_from("ab")}, optional={"d": DATES, "n": st.integers(-9, 9)}),
    min_size=1,
    max_size=12,
)
UNITS = ("day", "week", "month", "quarter", "year")


def _local_start(micros: int, zone: str, unit: str) -> str:
    """The local date a bucket begins at."""
    where = ZoneInfo(zone) if "/" in zone else UTC if zone == "UTC" else None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    wall = moment.astimezone(where).replace(tzinfo=None) if where else (moment + timedelta(minutes=330))
    day = wall.date()
    match unit:
        case "week":
            day -= timedelta(days=day.weekday())
        case "month":
            day = day.replace(day=1)
        case "quarter":
            day = day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case "year":
            day = day.replace(month=1, day=1)
    return day.isoformat()


def _answer(documents: list[dict[str, Any]], aggregation: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {"id": str(number), **document, **({"d": iso(document["d"])} if "d" in document else {})}
        for number, document in enumerate(documents)
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = build(Path(folder) / "i", FIELDS, rows, commit_every=5)
        found = reader.search(SearchRequest(size=0, aggregations={"x": aggregation})).aggregations
        reader.close()
    assert found is not None
    return dict(found["x"])  # type: ignore[arg-type]


@given(DOCUMENTS, st.sampled_from(ZONES), st.sampled_from(UNITS))
def test_calendar_buckets_count_what_python_counts(
    documents: list[dict[str, Any]], zone: str, unit: str
) -> None:
    """Each bucket is a local period with its documents and their sum; none is missing between two."""
    histogram = {"field": "d", "calendar_interval": unit, "time_zone": zone, "format": "yyyy-MM-dd"}
    answer = _answer(documents, {"date_histogram": histogram, "aggs": {"s": {"sum": {"field": "n"}}}})
    expected = Counter(_local_start(doc["d"], zone, unit) for doc in documents if "d" in doc)
    found = {bucket["key_as_string"]: bucket for bucket in answer["buckets"]}
    assert dict(expected) == {name: one["doc_count"] for name, one in found.items() if one["doc_count"]}
    for name, bucket in found.items():
        inside = [doc for doc in documents if "d" in doc and _local_start(doc["d"], zone, unit) == name]
        assert float(sum(doc.get("n", 0) for doc in inside)) == bucket["s"]["value"]
    if unit in ("day", "week"):
        days = 1 if unit == "day" else 7
        for one, other in pairwise(found):
            assert timedelta(days=days) == datetime.fromisoformat(other) - datetime.fromisoformat(one)


@given(DOCUMENTS, st.sampled_from(["7h", "1d", "36h"]), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_equal_steps_hold_every_document_once_also_below_terms_and_filters(
    documents: list[dict[str, Any]], step: str, zone: str
) -> None:
    """A histogram inside terms, and one inside a filter inside terms, count the same documents."""
    histogram = {
        "date_histogram": {"field": "d", "fixed_interval": step, "time_zone": zone, "min_doc_count": 1}
    }
    inside = {"h": histogram, "f": {"filter": {"match_all": {}}, "aggs": {"h": histogram}}}
    answer = _answer(documents, {"terms": {"field": "k"}, "aggs": inside})
    for bucket in answer["buckets"]:
        dated = [doc for doc in documents if doc["k"] == bucket["key"] and "d" in doc]
        assert len(dated) == sum(one["doc_count"] for one in bucket["h"]["buckets"])
        assert bucket["h"] == bucket["f"]["h"]


@given(DOCUMENTS, st.sampled_from([1, 2, 5, 0.5]), st.sampled_from([0, 0.25, 1]))
def test_numeric_steps_count_what_python_counts(
    documents: list[dict[str, Any]], step: float, offset: float
) -> None:
    """With gaps filled, and with `missing` as its value."""
    options = {"field": "n", "interval": step, "offset": offset, "missing": 3}
    answer = _answer(documents, {"histogram": options, "aggs": {"c": {"value_count": {"field": "k"}}}})
    expected = Counter(((doc.get("n", 3) - offset) // step) * step + offset for doc in documents)
    found = {bucket["key"]: bucket["doc_count"] for bucket in answer["buckets"]}
    assert dict(expected) == {key: count for key, count in found.items() if count}
    keys = list(found)
    assert all(other - one == step for one, other in pairwise(keys))
    assert all(bucket["doc_count"] == bucket["c"]["value"] for bucket in answer["buckets"])


@given(DOCUMENTS, st.integers(1, 4))
def test_pages_of_a_composite_are_all_tuples_once(documents: list[dict[str, Any]], size: int) -> None:
    """Going on after each `after_key` until there is none visits every tuple in order."""
    sources = [{"k": {"terms": {"field": "k"}}}, {"n": {"terms": {"field": "n"}}}]
    expected = Counter((doc["k"], doc["n"]) for doc in documents if "n" in doc)
    found: list[tuple[tuple[str, int], int]] = []
    after: dict[str, Any] = {}
    while True:
        answer = _answer(documents, {"composite": {"sources": sources, "size": size, **after}})
        found += [((one["key"]["k"], one["key"]["n"]), one["doc_count"]) for one in answer["buckets"]]
        if "after_key" not in answer:
            break
        after = {"after": answer["after_key"]}
    assert sorted(expected.items()) == found
