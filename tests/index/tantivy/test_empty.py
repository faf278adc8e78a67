"""An index that has no folder yet answers as it will when it has one: empty, but with its own fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from built import build
from headrace.core.errors import ConfigError, RequestError
from headrace.index.base import SearchRequest, SortKey
from headrace.index.tantivy import Settings, empty_reader

FIELDS: dict[str, Any] = {"host": "keyword", "n": "integer", "at": "date", "text": {"type": "text"}}


@pytest.mark.parametrize(
    "request_",
    [
        SearchRequest(),
        SearchRequest(query={"match": {"text": "word"}}, highlight={"fields": {"text": {}}}),
        SearchRequest(query={"range": {"n": {"gte": 1}}}, sort=[SortKey("at", descending=True)]),
        SearchRequest(query={"term": {"undeclared.keyword": "x"}}),
        SearchRequest(
            aggregations={"hosts": {"terms": {"field": "host"}, "aggs": {"n": {"avg": {"field": "n"}}}}}
        ),
        SearchRequest(aggregations={"top": {"max": {"field": "n"}}}, size=0),
    ],
)
def test_an_index_without_a_folder_answers_like_one_without_documents(
    tmp_path: Path, request_: SearchRequest
) -> None:
    made = build(tmp_path / "made", FIELDS, [])
    empty = empty_reader("empty", Settings(fields=FIELDS))
    assert made.search(request_) == empty.search(request_)
    assert made.fields == empty.fields


@pytest.mark.parametrize(
    "query", [{"nope": {}}, {"term": {"n": "many"}}, {"range": {"at": {"gte": "never"}}}]
)
def test_what_cannot_be_answered_is_refused_as_well(query: Any) -> None:
    with pytest.raises(RequestError):
        empty_reader("empty", Settings(fields=FIELDS)).count(query)


def test_options_that_make_no_index_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown field type 'colour'"):
        empty_reader("empty", Settings(fields={"a": "colour"}))
