"""Elasticsearch's mappings: each thing in one is honoured, told, or refused; none is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core.errors import RequestError
from headrace.index.mapping import from_elasticsearch, mapping
from headrace.index.tantivy.options import Settings, check

SETTINGS: dict[str, Any] = {
    "index": {
        "number_of_shards": 3,
        "analysis": {
            "analyzer": {
                "mine": {"tokenizer": "whitespace", "filter": ["lowercase", "asciifolding", "short"]},
                "pieces": {"tokenizer": "pieces", "filter": "lowercase"},
            },
            "tokenizer": {"pieces": {"type": "edge_ngram", "min_gram": 2, "max_gram": 5}},
            "filter": {"short": {"type": "stop", "stopwords": ["the", "of"]}},
            "normalizer": {"folded": {"type": "custom", "filter": ["lowercase", "asciifolding"]}},
        },
    }
}


def told(field: dict[str, Any], settings: dict[str, Any] | None = None) -> list[str]:
    return from_elasticsearch({"properties": {"f": field}}, settings or SETTINGS).unsupported


def options(field: dict[str, Any]) -> Any:
    return from_elasticsearch({"properties": {"f": field}}, SETTINGS).options["fields"]["f"]


HONOURED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "keyword"}, {"type": "keyword", "many": True, "coerce": True}),
    ({"type": "long", "coerce": False}, {"type": "long", "many": True}),
    (
        {"type": "text", "analyzer": "mine"},
        {"analyzer": "mine = whitespace | lowercase | asciifolding | stop the,of,"},
    ),
    ({"type": "text", "analyzer": "pieces"}, {"analyzer": "pieces = edge_ngram 2 5 | lowercase"}),
    ({"type": "text", "analyzer": "whitespace"}, {"analyzer": "whitespace = whitespace"}),
    (
        {"type": "text", "analyzer": "german"},
        {"analyzer": "german = standard | lowercase | stop german | stem german"},
    ),
    ({"type": "keyword", "normalizer": "folded"}, {"normalizer": "folded = lowercase | asciifolding"}),
    ({"type": "keyword", "normalizer": "lowercase"}, {"normalizer": "lowercase"}),
    ({"type": "keyword", "ignore_above": 10}, {"ignore_above": 10}),
    ({"type": "keyword", "ignore_above": 2147483647, "doc_values": False}, {"type": "keyword"}),
    ({"type": "long", "ignore_malformed": True}, {"ignore_malformed": True}),
    ({"type": "date", "format": "epoch_second"}, {"format": "epoch_second"}),
    ({"type": "date", "format": "dd/MM/yyyy||epoch_millis"}, {"format": "dd/MM/yyyy||epoch_millis"}),
    ({"type": "date", "format": "strict_date_optional_time||epoch_millis"}, {"type": "date"}),
    ({"type": "text", "index": False}, {"type": "text", "index": False}),
    ({"type": "keyword", "index": False}, {"type": "keyword", "many": True}),
    ({"type": "keyword", "index": False, "doc_values": False}, {"index": False}),
    ({"type": "object", "enabled": False}, {"type": "object", "index": False}),
    ({"type": "binary"}, {"index": False}),
    ({"type": "flattened"}, {"type": "flattened"}),
    (
        {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        {"fields": {"raw": {"type": "keyword", "coerce": True}}},
    ),
]


@pytest.mark.parametrize(("field", "expected"), HONOURED, ids=[str(field) for field, _ in HONOURED])
def test_what_is_honoured_becomes_an_option_and_nothing_is_told(
    field: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = options(field)
    assert expected == {name: found[name] for name in expected}
    assert [] == told(field)
    check(Settings(fields={"f": found}))


TOLD: list[tuple[dict[str, Any], str]] = [
    ({"type": "keyword", "null_value": "none"}, "null is not told from a missing field"),
    ({"type": "integer", "null_value": 0}, "null is not told from a missing field"),
    ({"type": "nested", "properties": {"a": {"type": "long"}}}, "queries of type [nested] are refused"),
    ({"type": "object", "dynamic": "strict"}, "[dynamic] is a matter of the whole index"),
    ({"type": "geo_point"}, "geo queries are refused"),
    ({"type": "dense_vector", "dims": 3}, "searches for near vectors are refused"),
    ({"type": "completion"}, "suggesters are refused"),
    ({"type": "version"}, "[1.10] sorts before [1.9]"),
    ({"type": "date_nanos"}, "exact to the microsecond"),
    ({"type": "constant_keyword", "value": "a"}, "[value] is not given to documents"),
    (
        {"type": "text", "analyzer": "mine", "search_analyzer": "standard"},
        "[search_analyzer: standard] is not",
    ),
    ({"type": "text", "similarity": "boolean"}, "scores are BM25"),
    ({"type": "text", "norms": False}, "longer texts score lower"),
    ({"type": "text", "fielddata": True}, "not sorted or aggregated by its words"),
    ({"type": "text", "analyzer": "thai"}, "there is no analyzer [thai] here"),
]


@pytest.mark.parametrize(("field", "sentence"), TOLD, ids=[str(field) for field, _ in TOLD])
def test_what_is_not_as_asked_is_told_with_its_field(field: dict[str, Any], sentence: str) -> None:
    found = told(field)
    assert 1 == len(found)
    assert sentence in found[0]
    check(Settings(fields=from_elasticsearch({"properties": {"f": field}}, SETTINGS).options["fields"]))


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"properties": {"f": {"type": "sting"}}},
        "The mapper type [sting] declared on field [f] does not exist",
    ),
    ({"properties": {"f": {"type": "join"}}}, "parents and children are not joined"),
    ({"properties": {"f": {"type": "percolator"}}}, "queries are not stored"),
    ({"properties": {"f": {"type": "token_count"}}}, "count before"),
    ({"properties": {"f": {"type": "date_range"}}}, "declare two dates"),
    ({"properties": {"f": {"type": "alias", "path": "a"}}}, "name the field itself"),
    (
        {"properties": {"f": {"type": "long", "colour": 1}}},
        "unknown parameter [colour] on mapper [f] of type [long]",
    ),
    ({"properties": {"f": {"type": "text", "analyzer": "no"}}}, "analyzer [no] has not been configured"),
    (
        {"properties": {"f": {"type": "keyword", "normalizer": "no"}}},
        "normalizer [no] not found for field [f]",
    ),
    ({"properties": {"f": {"type": "date", "format": "yyyy-QQ"}}}, "Invalid format: [yyyy-QQ]"),
    ({"properties": {"f": {"type": "scaled_float"}}}, "[scaling_factor] is required"),
    ({"properties": {"f": {"type": "long", "script": "emit(1)"}}}, "[script] of field [f] is not run"),
    ({"properties": {"f": "keyword"}}, "Expected map"),
    ({"properties": []}, "Expected map"),
    ({"runtime": {"day": {"type": "keyword"}}}, "runtime fields are not computed"),
    ({"dynamic": "maybe"}, "No enum constant"),
    ({"colour": 1}, "Root mapping definition has unsupported parameters:  [colour : 1]"),
]


@pytest.mark.parametrize(("given", "reason"), REFUSED, ids=[str(given) for given, _ in REFUSED])
def test_what_would_change_results_is_refused_in_elasticsearchs_words(
    given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        from_elasticsearch(given, {})
    assert 400 == caught.value.status
    assert "mapper_parsing_exception" == caught.value.kind
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dynamic": "runtime"}, "[dynamic: runtime]"),
        ({"dynamic_templates": [{"a": {}}]}, "[dynamic_templates] are not applied"),
        ({"date_detection": False}, "[date_detection: false]"),
        ({"numeric_detection": True}, "[numeric_detection]"),
        ({"_source": {"enabled": False}}, "[_source] is always kept"),
        ({"_routing": {"required": True}}, "[_routing] has no effect"),
    ],
)
def test_a_mappings_own_options_that_are_not_honoured_are_told(given: dict[str, Any], sentence: str) -> None:
    assert [sentence in each for each in from_elasticsearch(given, {}).unsupported] == [True]


@pytest.mark.parametrize(("given", "expected"), [(True, True), ("false", False), ("strict", "strict")])
def test_dynamic_is_that_of_the_index(given: Any, expected: Any) -> None:
    assert expected == from_elasticsearch({"dynamic": given}, {}).options["dynamic"]


def test_an_unknown_setting_is_refused_and_a_known_one_is_kept_or_told() -> None:
    with pytest.raises(RequestError, match=r"unknown setting \[index.colour\] please check"):
        from_elasticsearch({}, {"colour": 1})
    kept = {"index.refresh_interval": "5s", "number_of_replicas": 2, "index": {"codec": "best_compression"}}
    assert [] == from_elasticsearch({}, kept).unsupported
    for given in ({"index": {"sort.field": "a"}}, {"default_pipeline": "p"}, {"index.blocks.write": True}):
        assert 1 == len(from_elasticsearch({}, given).unsupported)
    limited = from_elasticsearch({}, {"index": {"mapping": {"total_fields": {"limit": "20"}}}})
    assert 20 == limited.options["field_limit"]


@pytest.mark.parametrize(
    ("analyzer", "reason"),
    [
        ({"tokenizer": "sandard"}, "failed to find tokenizer under name [sandard]"),
        ({"tokenizer": "standard", "filter": ["lowercse"]}, "failed to find filter under name [lowercse]"),
        ({"filter": ["lowercase"]}, "must specify either an analyzer type, or a tokenizer"),
        ({"type": "nothing"}, "Unknown analyzer type [nothing]"),
    ],
)
def test_an_analyzer_that_cannot_be_is_refused(analyzer: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        told({"type": "text", "analyzer": "a"}, {"analysis": {"analyzer": {"a": analyzer}}})
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("analyzer", "sentence"),
    [
        ({"tokenizer": "standard", "filter": ["lowercase", "synonym"]}, "without the filter [synonym]"),
        ({"tokenizer": "pattern"}, "cuts words with [standard], not with [pattern]"),
        ({"tokenizer": "standard", "char_filter": ["html_strip"]}, "without the char_filter [html_strip]"),
        ({"type": "standard", "max_token_length": 5}, "without ['max_token_length']"),
    ],
)
def test_a_part_of_an_analyzer_that_there_is_not_is_told(analyzer: dict[str, Any], sentence: str) -> None:
    found = told({"type": "text", "analyzer": "a"}, {"analysis": {"analyzer": {"a": analyzer}}})
    assert [sentence in each for each in found] == [True]


ROUND: dict[str, Any] = {
    "name": {
        "type": "text",
        "analyzer": "mine",
        "copy_to": ["all"],
        "fields": {"keyword": {"type": "keyword", "ignore_above": 256, "normalizer": "folded"}},
    },
    "n": {"type": "integer", "ignore_malformed": True},
    "f": {"type": "scaled_float"},
    "when": {"type": "date", "format": "epoch_second"},
    "o": {"properties": {"a": {"properties": {"b": {"type": "wildcard"}}}, "u": {"type": "unsigned_long"}}},
    "hidden": {"type": "object", "enabled": False},
    "all": {"type": "text"},
}


def test_a_mapping_is_shown_again_as_it_was_given() -> None:
    given = {**ROUND, "f": {"type": "scaled_float", "scaling_factor": 10}}
    mapped = from_elasticsearch({"properties": given}, SETTINGS)
    assert [] == mapped.unsupported
    assert {"properties": ROUND} == mapping(check(Settings(**mapped.options)), {})
