"""Nonsense in any option of an aggregation or a query is a 400, never a fault and never an answer of the engine's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from built import build
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.index.tantivy.aggregations.request import INSTEAD, OPTIONS, PARENTS, SIBLINGS
from headrace.index.tantivy.reader import TantivyReader

FIELDS = {"k": "keyword", "n": "integer", "f": "float", "b": "boolean", "d": "date", "ip": "ip", "t": "text"}
DOCUMENTS = [
    {
        "k": "a",
        "n": 1,
        "f": 1.5,
        "b": True,
        "d": "2024-01-01T00:00:00Z",
        "ip": "10.0.0.1",
        "t": "x y",
        "u": 1,
    },
    {"k": "b", "n": 2, "b": False, "d": "2024-02-01T00:00:00Z", "u": "v", "w": {"z": "2024-01-01T00:00:00Z"}},
]
JUNK: Any = st.one_of(
    st.sampled_from(
        ["", "a", "k", "n", "f", "d", "b", "ip", "t", "u", "w.z", "1d", "1M", "month", "now", "UTC", "+01:00",
         "asc", "desc", "_key", "_count", "x.y>z", "0", "-1", "1e999", "nan", "||", "yyyy", "\x00", "[", "*"]
    ),
    st.integers(-5, 10**20),
    st.floats(),
    st.booleans(),
    st.none(),
)  # fmt: skip
NESTED = st.recursive(
    JUNK,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["field", "from", "to", "min", "max", "order", "k", "_key", "terms", "query", "key"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
KINDS = {**OPTIONS, **PARENTS, **SIBLINGS, "filter": "term match_all", "filters": "filters other_bucket"}
QUERIES = {
    "match": "query operator fuzziness minimum_should_match lenient zero_terms_query prefix_length max_expansions",
    "match_phrase": "query slop zero_terms_query",
    "match_phrase_prefix": "query slop max_expansions",
    "match_bool_prefix": "query operator",
    "term": "value case_insensitive",
    "range": "gt gte lt lte from to format time_zone",
    "fuzzy": "value fuzziness prefix_length max_expansions transpositions",
    "wildcard": "value case_insensitive rewrite",
    "prefix": "value case_insensitive",
    "regexp": "value flags",
}
WHOLE = {
    "multi_match": "query fields type operator tie_breaker slop minimum_should_match",
    "simple_query_string": "query fields flags default_operator minimum_should_match",
    "query_string": "query fields default_operator time_zone fuzziness minimum_should_match",
    "bool": "must should must_not filter minimum_should_match",
    "dis_max": "queries tie_breaker",
    "boosting": "positive negative negative_boost",
    "terms": "k n d",
    "ids": "values",
    "exists": "field",
    "function_score": "query weight",
    "constant_score": "filter boost",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TantivyReader]:
    found = build(tmp_path_factory.mktemp("hostile") / "i", FIELDS, DOCUMENTS)
    yield found
    found.close()


def _options(names: str) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), NESTED)) if names else st.just({})
    field = st.sampled_from([*FIELDS, "u", "w.z", "nosuch"])
    if "field" not in names.split():
        return known
    return st.tuples(known, field).map(lambda both: {**both[0], "field": both[1]})


AGGREGATIONS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), _options(KINDS[kind]))
)


def _leaf_queries() -> st.SearchStrategy[dict[str, Any]]:
    fields = st.sampled_from([*FIELDS, "u", "*", "nosuch"])
    leaves = st.sampled_from(sorted(QUERIES)).flatmap(
        lambda kind: st.tuples(fields, _options(QUERIES[kind])).map(lambda pair: {kind: {pair[0]: pair[1]}})
    )
    whole = st.sampled_from(sorted(WHOLE)).flatmap(
        lambda kind: _options(WHOLE[kind]).map(lambda options: {kind: options})
    )
    return st.one_of(leaves, whole)


def _only_400(reader: TantivyReader, request: SearchRequest) -> None:
    status = 400
    try:
        reader.search(request)
    except RequestError as error:
        status = error.status
    assert 400 == status


@settings(max_examples=400)
@given(AGGREGATIONS, st.booleans())
def test_no_option_of_an_aggregation_is_a_fault(
    reader: TantivyReader, asked: tuple[str, dict[str, Any]], inside: bool
) -> None:
    """An answer, or a 400."""
    kind, options = asked
    body: dict[str, Any] = {"x": {kind: options}}
    if inside:
        body = {"o": {"terms": {"field": "k"}, "aggs": body}}
    _only_400(reader, SearchRequest(size=0, aggregations=body))


@settings(max_examples=400)
@given(_leaf_queries())
def test_no_option_of_a_query_is_a_fault(reader: TantivyReader, query: dict[str, Any]) -> None:
    """An answer, or a 400."""
    _only_400(reader, SearchRequest(query=query))


@pytest.mark.parametrize("kind", sorted(INSTEAD))
def test_what_is_not_there_says_what_is(reader: TantivyReader, kind: str) -> None:
    """Each type that Elasticsearch has and this has not names another way."""
    with pytest.raises(RequestError, match="is not supported; instead: ") as refused:
        reader.search(SearchRequest(size=0, aggregations={"x": {kind: {}}}))
    assert 400 == refused.value.status


def test_numbers_and_texts_of_one_dynamic_field_are_in_one_order(reader: TantivyReader) -> None:
    """Equal counts are in the order of their keys, numbers before texts."""
    aggregations: Any = {"x": {"terms": {"field": "u"}}}
    found: Any = reader.search(SearchRequest(size=0, aggregations=aggregations)).aggregations
    assert [1, "v"] == [bucket["key"] for bucket in found["x"]["buckets"]]


GOOD: Any = [
    {"terms": {"field": "k", "size": 3, "order": {"_count": "asc"}, "include": ["a"], "missing": "x"}},
    {"terms": {"field": "n", "include": [1], "missing": 3}},
    {"terms": {"field": "d", "missing": "2024-01-01", "format": "yyyy"}},
    {"terms": {"field": "b", "missing": True}},
    {"multi_terms": {"terms": [{"field": "k"}, {"field": "n"}], "size": 2}},
    {"date_histogram": {"field": "d", "calendar_interval": "month", "time_zone": "Europe/Berlin",
                        "offset": "1h", "extended_bounds": {"min": "2023-12-01", "max": "2024-03-01"},
                        "hard_bounds": {"max": "2025"}, "format": "yyyy||strict_date", "min_doc_count": 0, "keyed": True}},
    {"date_histogram": {"field": "d", "fixed_interval": "1d", "missing": "2024-01-05", "order": {"_key": "desc"}}},
    {"histogram": {"field": "n", "interval": 2, "offset": 1, "missing": 0, "extended_bounds": {"min": 0}}},
    {"range": {"field": "n", "ranges": [{"to": 2}, {"from": 1, "to": 3}], "keyed": True}},
    {"date_range": {"field": "d", "ranges": [{"to": "now"}], "format": "yyyy", "time_zone": "UTC"}},
    {"ip_range": {"field": "ip", "ranges": [{"mask": "10.0.0.0/8"}]}},
    {"composite": {"size": 2, "after": {"k": "a"}, "sources": [{"k": {"terms": {"field": "k"}}}]}},
    {"filters": {"filters": {"a": {"match_all": {}}}, "other_bucket_key": "b"}},
    {"percentiles": {"field": "n", "percents": [1, 50], "keyed": False, "missing": 1}},
    {"extended_stats": {"field": "n", "sigma": 2, "missing": 1}},
    {"avg": {"field": "d", "format": "yyyy", "missing": "2024-01-01"}},
    {"cardinality": {"field": "k", "missing": "z", "precision_threshold": 10}},
    {"top_hits": {"size": 1, "from": 0, "sort": [{"d": "desc"}], "_source": ["k"]}},
    {"top_metrics": {"metrics": [{"field": "n"}], "sort": {"d": "desc"}, "size": 1}},
]  # fmt: skip
WRONG: Any = (
    "", "a", "nosuch", 0, -1, 10**20, 1.5, -1e300, True, None, [], {}, [None], [{}], {"a": None}, [[1]], "now",
    {"field": "t"}, {"min": "x"}, {"min": 10**20}, [{"d": None}], [{"d": {"order": 1}}], "1d", "\x00", "9999999d", ".", "a..b", "a.",
)  # fmt: skip


@pytest.mark.parametrize("body", GOOD, ids=lambda body: str(next(iter(body))))
def test_one_wrong_option_is_a_400_or_an_answer(reader: TantivyReader, body: Any) -> None:
    """Each option of a good aggregation in turn as each wrong value, alone and inside terms."""
    (kind, options), *_ = body.items()
    reader.search(SearchRequest(size=0, aggregations={"x": body}))
    for option in options:
        for wrong in WRONG:
            changed: Any = {kind: {**options, option: wrong}}
            _only_400(reader, SearchRequest(size=0, aggregations={"x": changed}))
            outer: Any = {"o": {"terms": {"field": "k"}, "aggs": {"x": changed}}}
            _only_400(reader, SearchRequest(size=0, aggregations=outer))
