"""Lists of mixed scalars are taken where the declared fields coerce, and come back as they were sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.ingest.formats.ndjson import half_of_pair

COERCING = {"many": True, "coerce": True}
FIELDS = {
    "k": {"type": "keyword", **COERCING},
    "n": {"type": "long", **COERCING},
    "d": {"type": "date", "format": "strict_date_optional_time||epoch_millis", **COERCING},
    "it.sku": {"type": "keyword", **COERCING},
}


@pytest.mark.parametrize(
    ("document", "queries"),
    [
        ({"k": ["a", 5, True]}, ["k:a", "k:5", "k:true"]),
        ({"n": [1, "2"]}, ["n:1", "n:2", "n:>1"]),
        ({"d": ["2026-01-01", 1700000000000]}, ["d:2026-01-01", "d:<2024"]),
        ({"it": [{"sku": "a"}, {"sku": 5}]}, ["it.sku:a", "it.sku:5"]),
    ],
)
def test_each_value_is_found_and_the_source_is_as_it_was_sent(
    tmp_path: Path, document: dict[str, Any], queries: list[str]
) -> None:
    line = json.dumps({"plain": 1}) + "\n" + json.dumps(document) + "\n"
    (tmp_path / "a.ndjson").write_text(line)
    index = headrace.index(tmp_path / "a.ndjson", into=tmp_path / "i", fields=FIELDS)
    found = [index.answer({"query": {"query_string": {"query": query}}})["hits"]["hits"] for query in queries]
    assert [[hit["_source"] for hit in hits] for hits in found] == [[document]] * len(queries)


@pytest.mark.parametrize("document", [{"u": ["a", 5]}, {"it": [{"sku": "a"}, {"sku": ["b"]}]}])
def test_other_mixtures_are_rejected(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "a.ndjson").write_text(json.dumps({"plain": 1}) + "\n" + json.dumps(document) + "\n")
    index = headrace.index(tmp_path / "a.ndjson", into=tmp_path / "i", fields=FIELDS)
    assert index.search().total == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (rb'{"t":"\ud800"}', r"\ud800"),
        (rb'{"t":"\uDC00x"}', r"\uDC00"),
        (rb'{"t":"\ud83d\ude00 \ud83d"}', r"\ud83d"),
        (rb'{"t":"\ud83d\ude00"}', None),
        (rb'{"t":"\\ud800"}', None),
        (rb'{"t":"\\\ud800"}', r"\ud800"),
        (b'{"t":"x"}', None),
    ],
)
def test_half_a_character_is_told_by_its_escape(line: bytes, expected: str | None) -> None:
    assert half_of_pair(line) == expected
