"""A cardinality is the exact number of values up to its threshold, and close to it beyond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from built import build
from headrace.index.base import SearchRequest
from headrace.index.tantivy.reader import TantivyReader

FIELDS = {"k": "keyword", "n": "integer", "f": "float", "d": "date", "b": "boolean", "ip": "ip"}
COUNT = 972


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> TantivyReader:
    documents: list[dict[str, Any]] = [
        {
            "k": f"u{at % COUNT}",
            "n": at % COUNT,
            "f": at % COUNT + 0.5,
            "d": f"2024-01-01T00:{at % 60:02}:{at // 60 % 60:02}Z",
            "b": at % 2 == 0,
            "ip": f"10.0.{at % 4}.1",
            "u": at % COUNT if at % 2 else f"t{at % COUNT}",
            "large": at,
        }
        for at in range(4 * COUNT)
    ]
    path: Path = tmp_path_factory.mktemp("cardinality")
    return build(path / "i", FIELDS, documents, commit_every=1000)


def _count(reader: TantivyReader, **options: Any) -> int:
    found = reader.search(SearchRequest(size=0, aggregations={"x": {"cardinality": options}}))
    assert found.aggregations is not None
    answer: Any = found.aggregations["x"]
    return int(answer["value"])


@pytest.mark.parametrize(
    ("field", "expected"),
    [("k", COUNT), ("n", COUNT), ("f", COUNT), ("d", 3600), ("b", 2), ("ip", 4), ("u", COUNT), ("none", 0)],
)
def test_distinct_values_of_every_type_are_counted_exactly(
    reader: TantivyReader, field: str, expected: int
) -> None:
    assert _count(reader, field=field, precision_threshold=4000) == expected


def test_beyond_the_threshold_it_is_an_estimate_that_is_no_less_than_what_was_seen(
    reader: TantivyReader,
) -> None:
    assert _count(reader, field="large") == pytest.approx(4 * COUNT, rel=0.05)
    assert _count(reader, field="k", precision_threshold=10) == pytest.approx(COUNT, rel=0.05)
    assert _count(reader, field="k") == COUNT


def test_in_buckets_it_does_not_count_against_the_bound_of_all(reader: TantivyReader) -> None:
    inner = {"x": {"cardinality": {"field": "large", "precision_threshold": 40000}}}
    request: Any = {"t": {"terms": {"field": "k", "size": 1000}, "aggs": inner}}
    answer: Any = reader.search(SearchRequest(size=0, aggregations=request)).aggregations
    assert {bucket["x"]["value"] for bucket in answer["t"]["buckets"]} == {4}
