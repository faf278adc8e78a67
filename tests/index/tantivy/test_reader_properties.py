"""What a query or a sort answers is what plain Python says of the same documents."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from built import build
from headrace.index.base import SearchRequest, SortKey
from headrace.index.query import values
from headrace.index.tantivy.reader import TantivyReader

FIELDS = {
    "k": "keyword",
    "n": "integer",
    "f": "float",
    "b": "boolean",
    "d": "date",
}
START = datetime(2024, 1, 1, tzinfo=UTC)


def _date(micros: int) -> str:
    return values.iso(values.to_micros(START) + micros)


MICROS = st.sampled_from([0, 1, 2, 999, 1000, 1001, 1_000_000, 86_400_000_000])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "k": st.sampled_from(["", "a", "ab", "b", "B", "é", "a b", "\U0001f600", "￿"]),
    "n": st.sampled_from([-(2**63), -1, 0, 1, 2, 2**53, 2**53 + 1, 2**63 - 1]),
    "f": st.sampled_from([-1.5, -0.5, 0.0, 0.1, 1.0, 2.5, 1e300]),
    "b": st.booleans(),
    "d": MICROS.map(_date),
    "u": st.sampled_from([1, 2, 30, 1.5, -4]),
    "w": st.sampled_from(["x", "y", "z z", "5"]),
}
DOCUMENTS = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=12)


def _leaf(name: str) -> st.SearchStrategy[tuple[Any, Callable[[Mapping[str, Any]], bool]]]:
    """A query on one field, and what it means."""
    value = VALUES[name]

    def term(wanted: Any) -> Any:
        return {"term": {name: wanted}}, lambda doc: name in doc and doc[name] == wanted

    def between(bounds: tuple[Any, Any, bool, bool]) -> Any:
        low, high, with_low, with_high = bounds
        query = {"range": {name: {"gte" if with_low else "gt": low, "lte" if with_high else "lt": high}}}

        def holds(doc: Mapping[str, Any]) -> bool:
            if name not in doc:
                return False
            found, least, most = (_comparable(name, given) for given in (doc[name], low, high))
            above = found >= least if with_low else found > least
            below = found <= most if with_high else found < most
            return bool(above and below)

        return query, holds

    exists = st.just(({"exists": {"field": name}}, lambda doc: name in doc))
    ranges = st.tuples(value, value, st.booleans(), st.booleans()).map(between)
    return st.one_of(value.map(term), ranges, exists)


def _comparable(name: str, value: Any) -> Any:
    return values.as_date_span(name, value)[0] if name == "d" else value


def _bool(children: Any) -> Any:
    def join(parts: tuple[list[Any], list[Any], list[Any], list[Any]]) -> Any:
        must, should, must_not, filters = parts
        query = {
            "bool": {
                "must": [query for query, _ in must],
                "should": [query for query, _ in should],
                "must_not": [query for query, _ in must_not],
                "filter": [query for query, _ in filters],
            }
        }

        def holds(doc: Mapping[str, Any]) -> bool:
            needed = should and not must and not filters
            return (
                all(test(doc) for _, test in [*must, *filters])
                and not any(test(doc) for _, test in must_not)
                and (not needed or any(test(doc) for _, test in should))
            )

        return query, holds

    few = st.lists(children, max_size=2)
    return st.tuples(few, few, few, few).map(join)


LEAVES = st.sampled_from(sorted(VALUES)).flatmap(_leaf)
QUERIES = st.recursive(LEAVES, _bool, max_leaves=6)


@given(documents=DOCUMENTS, queries=st.lists(QUERIES, min_size=1, max_size=8))
def test_terms_ranges_exists_and_bools_find_what_python_finds(
    documents: list[Any], queries: list[Any]
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = build(Path(folder) / "i", FIELDS, documents, commit_every=4)
        for query, holds in queries:
            expected = {str(number) for number, doc in enumerate(documents) if holds(doc)}
            result = reader.search(SearchRequest(query=query, size=100))
            assert expected == {hit.id for hit in result.hits}, query
            assert len(expected) == result.total == reader.count(query)


KEYS = st.lists(
    st.tuples(st.sampled_from(sorted(VALUES)), st.booleans(), st.booleans()),
    max_size=3,
    unique_by=lambda key: key[0],
)


@given(documents=DOCUMENTS, sort=KEYS, page=st.integers(1, 5))
def test_every_sort_is_pythons_and_every_walk_meets_each_document_once(
    documents: list[Any], sort: list[tuple[str, bool, bool]], page: int
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reader = build(Path(folder) / "i", FIELDS, documents, commit_every=5)
        keys = [SortKey(name, descending, last) for name, descending, last in sort] or [SortKey("_seq")]
        expected = [str(number) for number in _sorted(documents, keys)]
        at_once = reader.search(SearchRequest(size=100, sort=keys)).hits
        assert expected == [hit.id for hit in at_once]
        assert expected == _walk(reader, keys, page)
        assert expected[2:5] == [h.id for h in reader.search(SearchRequest(start=2, size=3, sort=keys)).hits]


def _sorted(documents: list[Any], keys: list[SortKey]) -> list[int]:
    order = list(range(len(documents)))
    for key in reversed(keys):
        if key.field == "_seq":
            continue
        present = [n for n in order if key.field in documents[n]]
        missing = [n for n in order if key.field not in documents[n]]
        present.sort(key=lambda n: _comparable(key.field, documents[n][key.field]), reverse=key.descending)
        order = present + missing if key.missing_last else missing + present
    return order


def _walk(reader: TantivyReader, keys: list[SortKey], page: int) -> list[str]:
    found: list[str] = []
    after: Any = None
    while hits := reader.search(SearchRequest(size=page, sort=keys, search_after=after)).hits:
        found += [hit.id for hit in hits]
        after = list(hits[-1].sort)
        assert len(found) <= 1000
    return found


def test_microseconds_decide_a_range_and_a_sort(tmp_path: Path) -> None:
    """Dates one microsecond apart are two dates."""
    documents = [{"d": _date(micros)} for micros in (2, 0, 1)]
    reader = build(tmp_path / "i", FIELDS, documents)
    found = reader.search(SearchRequest(query={"range": {"d": {"gt": _date(0), "lt": _date(2)}}}))
    assert ["2"] == [hit.id for hit in found.hits]
    assert ["1", "2", "0"] == [hit.id for hit in reader.search(SearchRequest(sort=[SortKey("d")])).hits]
    assert timedelta(microseconds=1) == values.to_datetime(1) - values.EPOCH


def test_bounds_of_two_number_types_do_not_panic(tmp_path: Path) -> None:
    """The engine panics on [1 TO 1.5] over a dynamic field; the compiler gives both bounds one type."""
    reader = build(tmp_path / "i", FIELDS, [{"u": 1}, {"u": 1.25}, {"u": 2}, {"u": 2**62}])
    found = reader.search(SearchRequest(query={"range": {"u": {"gte": 1, "lt": 1.5}}}))
    assert {"0", "1"} == {hit.id for hit in found.hits}
    found = reader.search(SearchRequest(query={"range": {"u": {"gt": 1.5, "lte": 2**62}}}))
    assert {"2", "3"} == {hit.id for hit in found.hits}
