"""What a field may say beside its type, shown by documents and searches of a real index."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import ConfigError, RequestError
from headrace.fields import parse_fields
from headrace.index.base import SearchRequest, SortKey
from headrace.index.mapping import from_elasticsearch
from headrace.index.tantivy.options import Settings, check
from headrace.index.tantivy.reader import TantivyReader
from headrace.model import Batch
from writing import reasons, rows, writer


def wrote(
    folder: Path, documents: Sequence[Mapping[str, Any]], expected: Sequence[str] = (), **options: Any
) -> TantivyReader:
    """An index of these documents, each a frame of its own as the decoder makes them of different shapes."""
    made = writer(folder, threads=1, **options)
    refused: list[str] = []
    for number, document in enumerate(documents):
        one: Batch = rows({"key": number, **document}, first=number)
        refused += [reason for _, reason in reasons(made.write(one))]
    made.commit()
    made.close()
    assert list(expected) == refused
    return TantivyReader(folder)


def mapped(
    folder: Path,
    properties: dict[str, Any],
    documents: Sequence[Mapping[str, Any]],
    analysis: dict[str, Any] | None = None,
    expected: Sequence[str] = (),
    **more: Any,
) -> TantivyReader:
    found = from_elasticsearch({"properties": properties, **more}, {"analysis": analysis or {}})
    return wrote(folder, documents, expected, **found.options)


def found(reader: TantivyReader, query: Any) -> list[int]:
    hits = reader.search(SearchRequest(query=query, sort=[SortKey("_seq")], size=100)).hits
    return [json.loads(hit.source)["key"] for hit in hits]


def order(reader: TantivyReader, field: str, *, descending: bool = False) -> list[int]:
    hits = reader.search(SearchRequest(sort=[SortKey(field, descending)], size=100)).hits
    return [json.loads(hit.source)["key"] for hit in hits]


def buckets(reader: TantivyReader, field: str) -> dict[Any, int]:
    request = SearchRequest(size=0, aggregations={"a": {"terms": {"field": field}}})
    answer: Any = reader.search(request).aggregations
    return {bucket["key"]: bucket["doc_count"] for bucket in answer["a"]["buckets"]}


def term(field: str, value: Any) -> dict[str, Any]:
    return {"term": {field: {"value": value}}}


def test_a_multi_field_is_searched_sorted_and_aggregated_by_whole_values(tmp_path: Path) -> None:
    title = {"type": "text", "fields": {"raw": "keyword", "words": {"type": "text", "analyzer": "english"}}}
    documents: list[dict[str, Any]] = [
        {"title": "Running water"},
        {"title": "a still pond"},
        {"title": "Running dry"},
    ]
    reader = wrote(tmp_path / "i", documents, fields={"title": title})
    assert [0, 2] == found(reader, {"match": {"title": "running"}})
    assert [0] == found(reader, term("title.raw", "Running water"))
    assert [] == found(reader, term("title.raw", "running"))
    assert [0, 2] == found(reader, {"match": {"title.words": "run"}})
    assert [2, 0, 1] == order(reader, "title.raw")
    assert {"Running dry": 1, "Running water": 1, "a still pond": 1} == buckets(reader, "title.raw")
    assert [0, 1, 2] == found(reader, {"exists": {"field": "title.raw"}})


def test_the_default_mapping_of_a_text_has_its_keyword(tmp_path: Path) -> None:
    title = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 5}}}
    reader = mapped(tmp_path / "i", {"t": title}, [{"t": "a b"}, {"t": "much too long"}, {"t": ["c", "b"]}])
    assert [0] == found(reader, term("t.keyword", "a b"))
    assert [] == found(reader, term("t.keyword", "much too long"))
    assert [1] == found(reader, {"match": {"t": "long"}})
    assert [2] == found(reader, term("t.keyword", "c"))
    assert {"a b": 1, "b": 1, "c": 1} == buckets(reader, "t.keyword")
    assert [0, 2, 1] == order(reader, "t.keyword")
    assert [2, 0, 1] == order(reader, "t.keyword", descending=True)


def test_a_normalizer_changes_what_is_searched_and_sorted_but_not_the_source(tmp_path: Path) -> None:
    fields = {"k": {"type": "keyword", "normalizer": "folded"}}
    folded = {"normalizer": {"folded": {"type": "custom", "filter": ["lowercase", "asciifolding"]}}}
    documents: list[dict[str, Any]] = [{"k": "Crème"}, {"k": "apple"}, {"k": ["ZOO", "Ære"]}]
    reader = mapped(tmp_path / "i", fields, documents, folded)
    for value in ("creme", "CRÈME", "Crème"):
        assert [0] == found(reader, term("k", value))
        assert [0] == found(reader, {"match": {"k": value}})
        assert [0] == found(reader, {"terms": {"k": [value, "nothing"]}})
    assert [0] == found(reader, {"prefix": {"k": {"value": "CRÈ"}}})
    assert [0] == found(reader, {"wildcard": {"k": {"value": "*ÈM*"}}})
    assert [2] == found(reader, term("k", "aere"))
    assert [0, 2] == found(reader, {"range": {"k": {"gte": "B"}}})
    assert [2, 1, 0] == order(reader, "k")
    assert [2, 0, 1] == order(reader, "k", descending=True)
    assert {"aere": 1, "apple": 1, "creme": 1, "zoo": 1} == buckets(reader, "k")
    assert {"key": 0, "k": "Crème"} == json.loads(
        reader.search(SearchRequest(query=term("k", "creme"))).hits[0].source
    )


def test_numbers_are_coerced_as_elasticsearch_does(tmp_path: Path) -> None:
    fields = {"n": {"type": "integer"}, "f": {"type": "double"}, "b": {"type": "boolean"}}
    documents: list[dict[str, Any]] = [
        {"n": "12", "f": "1.5", "b": "true"},
        {"n": 12.9, "f": 2, "b": False},
        {"n": "-3.7"},
    ]
    reader = mapped(tmp_path / "i", {**fields, "key": {"type": "long"}}, documents, dynamic="strict")
    assert [0, 1] == found(reader, term("n", 12))
    assert [2] == found(reader, term("n", -3))
    assert [0] == found(reader, {"range": {"f": {"lt": 2}}})
    assert [0] == found(reader, term("b", True))


def test_malformed_values_are_kept_where_the_field_says_so_and_refused_elsewhere(tmp_path: Path) -> None:
    fields = {"key": {"type": "long"}, "n": {"type": "long", "ignore_malformed": True}, "m": {"type": "long"}}
    documents: list[dict[str, Any]] = [{"n": "x"}, {"n": 5}, {"m": "x"}]
    reader = mapped(tmp_path / "i", fields, documents, expected=["wrong_type"], dynamic="strict")
    assert [0, 1] == found(reader, {"match_all": {}})
    assert [1] == found(reader, {"exists": {"field": "n"}})


def test_a_malformed_value_is_there_where_undeclared_fields_are_indexed(
    tmp_path: Path,
) -> None:
    reader = mapped(tmp_path / "i", {"n": {"type": "long"}}, [{"n": "x"}, {"n": 5}])
    assert [0, 1] == found(reader, {"exists": {"field": "n"}})


def test_what_is_only_kept_comes_back_and_cannot_be_asked_for(tmp_path: Path) -> None:
    fields = {"raw": {"type": "object", "enabled": False}, "t": {"type": "text", "index": False}}
    reader = mapped(tmp_path / "i", fields, [{"raw": {"a": {"b": 1}}, "t": "word"}])
    hit = reader.search(SearchRequest()).hits[0]
    assert {"key": 0, "raw": {"a": {"b": 1}}, "t": "word"} == json.loads(hit.source)
    assert {"key": "long"} == reader.dynamic_fields()
    for field in ("raw", "raw.a.b", "t"):
        with pytest.raises(RequestError, match="since it is not indexed"):
            reader.count(term(field, 1))


def test_values_are_copied_to_another_field(tmp_path: Path) -> None:
    fields = {
        "first": {"type": "keyword", "copy_to": "all"},
        "last": {"type": "text", "copy_to": ["all", "made"]},
        "all": {"type": "text"},
    }
    reader = mapped(
        tmp_path / "i",
        fields,
        [{"first": "Ada", "last": "Lovelace"}, {"first": ["Bo", "Ida"]}, {"all": "own"}],
    )
    assert [0] == found(reader, {"match": {"all": {"query": "ada lovelace", "operator": "and"}}})
    assert [1] == found(reader, {"match": {"all": "ida"}})
    assert [2] == found(reader, {"match": {"all": "own"}})
    assert [0] == found(reader, {"match": {"made": "lovelace"}})
    assert {"key": 0, "first": "Ada", "last": "Lovelace"} == json.loads(
        reader.search(SearchRequest()).hits[0].source
    )


@pytest.mark.parametrize(
    ("layout", "value"),
    [
        ("epoch_second", 1714997106),
        ("epoch_second", "1714997106"),
        ("yyyy-MM-dd||epoch_millis", "1714997106000"),
        ("dd/MMM/yyyy:HH:mm:ss Z", "06/May/2024:14:05:06 +0200"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2024-05-06 12:05:06.000"),
        ("strict_date_optional_time||epoch_millis", 1714997106000),
    ],
)
def test_dates_are_read_in_the_formats_of_their_field(tmp_path: Path, layout: str, value: Any) -> None:
    reader = mapped(tmp_path / "i", {"d": {"type": "date", "format": layout}}, [{"d": value}, {"d": [value]}])
    bounds = {
        "gte": "2024-05-06T12:05:06Z",
        "lte": "2024-05-06T12:05:06Z",
        "format": "strict_date_optional_time",
    }
    assert [0, 1] == found(reader, {"range": {"d": bounds}})


def test_values_in_lists_of_objects_are_those_of_the_declared_fields(tmp_path: Path) -> None:
    fields = {
        "key": {"type": "long"},
        "items": {"properties": {"sku": {"type": "keyword"}, "n": {"type": "long"}}},
    }
    documents: list[dict[str, Any]] = [
        {"items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 5}]},
        {"items": {"sku": "a", "n": 9}},
    ]
    reader = mapped(tmp_path / "i", fields, documents, dynamic="strict")
    assert [0, 1] == found(reader, term("items.sku", "a"))
    assert [0] == found(reader, term("items.sku", "b"))
    assert {"a": 2, "b": 1} == buckets(reader, "items.sku")
    assert [1, 0] == order(reader, "items.n", descending=True)
    refusing = mapped(
        tmp_path / "j", fields, [{"items": [{"colour": 1}]}], expected=["unknown_field"], dynamic="strict"
    )
    assert [] == found(refusing, {"match_all": {}})


def test_undeclared_fields_in_lists_of_objects_stay_dynamic(tmp_path: Path) -> None:
    fields = {"items": {"properties": {"sku": {"type": "keyword"}}}}
    reader = mapped(
        tmp_path / "i", fields, [{"items": [{"sku": "a", "colour": "red"}, {"sku": "b", "colour": "blue"}]}]
    )
    assert {"items.colour": "text", "key": "long"} == reader.dynamic_fields()
    assert [0] == found(reader, term("items.colour", "blue"))


def test_a_spelled_analyzer_is_that_of_documents_and_queries_also_after_opening(tmp_path: Path) -> None:
    text = {"type": "text", "analyzer": "mine = whitespace | lowercase | asciifolding | stop the,of"}
    reader = wrote(tmp_path / "i", [{"t": "The Crème of-the crop"}], fields={"t": text})
    for words, expected in (("creme", [0]), ("CRÈME", [0]), ("of-the", [0]), ("the", []), ("crem", [])):
        assert expected == found(reader, {"match": {"t": words}})


def test_pieces_of_words_are_found_by_an_analyzer_of_prefixes(tmp_path: Path) -> None:
    analysis = {
        "analyzer": {"pieces": {"tokenizer": "pieces", "filter": ["lowercase"]}},
        "tokenizer": {"pieces": {"type": "edge_ngram", "min_gram": 2, "max_gram": 5}},
    }
    reader = mapped(tmp_path / "i", {"t": {"type": "text", "analyzer": "pieces"}}, [{"t": "Quick"}], analysis)
    assert [0] == found(reader, term("t", "qui"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": {"type": "text", "fields": {"b": "wrod"}}}, "unknown field type 'wrod'"),
        ({"a": {"type": "text", "fields": {"b": "json"}}}, "not json"),
        ({"a": {"type": "text", "fields": {"b": {"type": "text", "fields": {}}}}}, "none of its own"),
        ({"a": {"type": "text", "fields": {"b": "keyword"}}, "a.b": "keyword"}, "declared twice"),
        ({"a": {"type": "text", "normalizer": "lowercase"}}, "normalizer is for keyword fields"),
        ({"a": {"type": "keyword", "normalizer": "lower"}}, "unknown normalizer 'lower'"),
        ({"a": {"type": "keyword", "of": "b"}}, "of names 'b'"),
        ({"a": {"type": "long", "copies": ["b"]}, "b": "long"}, "copied to text and keyword"),
        ({"a": {"type": "text", "analyzer": "x = letters"}}, "unknown tokenizer 'letters'"),
        ({"a": {"type": "text", "analyzer": "standard | lower"}}, "unknown filter 'lower'"),
        ({"a": {"type": "date", "format": "yyyy-QQ"}}, "no such date format"),
    ],
)
def test_a_field_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        check(Settings(fields=fields))


VALUES = {
    "keyword": st.text("abcXYZ é", min_size=1, max_size=4),
    "long": st.integers(-5, 5),
    "double": st.floats(-4, 4, allow_nan=False).map(lambda value: round(value, 2) + 0.0),
    "boolean": st.booleans(),
    "ip": st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]),
}


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_one_value_or_a_list_each_is_found_sorted_and_counted(data: st.DataObject, kind: str) -> None:
    """The law of Elasticsearch's fields: a document has a set of values, however it is written."""
    value = VALUES[kind]
    drawn: list[Any] = data.draw(st.lists(value | st.lists(value, max_size=3), min_size=1, max_size=5))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = mapped(Path(folder) / "i", {"f": {"type": kind}}, [{"f": each} for each in drawn])
        held = [set(each) if isinstance(each, list) else {each} for each in drawn]
        for wanted in set().union(*held):
            expected = [number for number, values in enumerate(held) if wanted in values]
            assert expected == found(reader, term("f", wanted))
        assert "f" not in reader.dynamic_fields()
        if kind in ("keyword", "long", "double"):
            least = sorted((min(values), number) for number, values in enumerate(held) if values)
            without = [number for number, values in enumerate(held) if not values]
            assert [number for _, number in least] + without == order(reader, "f")


def test_fields_of_a_field_are_fields_of_their_own() -> None:
    fields = parse_fields({"a": {"type": "text", "many": True, "fields": {"raw": "keyword"}}})
    assert ["a", "a.raw"] == list(fields)
    assert ("a", True) == (fields["a.raw"].of, fields["a.raw"].many)


def test_a_first_page_is_as_right_with_several_values_as_with_one(tmp_path: Path) -> None:
    """The page is cut at its last key only where no document has a second one."""
    fields = {"n": {"type": "long"}, "d": {"type": "date"}}
    one: list[dict[str, Any]] = [{"n": number, "d": number} for number in range(8)]
    both: list[dict[str, Any]] = [*one, {"n": [100, 1], "d": [100, 1]}]
    for name, documents, first in (("one", one, [7, 6]), ("both", both, [8, 7])):
        reader = mapped(tmp_path / name, fields, documents)
        assert (name == "one") == reader.snapshot().single_valued("n")
        for field in fields:
            page = reader.search(SearchRequest(sort=[SortKey(field, True)], size=2)).hits
            assert first == [json.loads(hit.source)["key"] for hit in page]
            assert [*first, *range(first[1] - 1, -1, -1)] == order(reader, field, descending=True)


@pytest.mark.parametrize("values", [["12", "5"], [12.5, 5.9], ["12.5", "5.1"], [12, 5]])
def test_coerced_values_of_a_list_have_one_place_in_a_sort(tmp_path: Path, values: list[Any]) -> None:
    reader = mapped(tmp_path / "i", {"n": {"type": "integer"}}, [{"n": values}, {"n": 7}])
    assert [0, 1] == order(reader, "n")
    assert [0, 1] == order(reader, "n", descending=True)


def test_a_normalized_keyword_is_marked_as_it_came(tmp_path: Path) -> None:
    fields = {"k": {"type": "keyword", "normalizer": "lowercase", "ignore_above": 5}}
    reader = mapped(tmp_path / "i", fields, [{"k": ["Abc", "too long"]}])
    request = SearchRequest(query=term("k", "ABC"), highlight={"fields": {"k": {}}})
    assert {"k": ["<em>Abc</em>"]} == reader.search(request).hits[0].highlight
