"""The reader: many threads, arrays in sorts, scans, and limits that are said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from built import build
from headrace.core.errors import RequestError, StoreError
from headrace.index.base import SearchRequest, SortKey
from headrace.index.tantivy import open_reader
from headrace.index.tantivy.reader import TantivyReader
from headrace.model import Json
from writing import rows, writer


def _ids(reader: TantivyReader, query: Json = None, *sort: SortKey) -> list[str]:
    return [hit.id for hit in reader.search(SearchRequest(query=query, sort=sort)).hits]


def test_many_threads_get_the_same_answers(tmp_path: Path) -> None:
    reader = build(
        tmp_path / "i", {"n": "integer"}, [{"n": number} for number in range(200)], commit_every=50
    )
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda n: reader.count({"range": {"n": {"lt": n}}}), range(200)))
    assert list(range(200)) == counts


def test_an_array_sorts_by_its_least_ascending_and_its_greatest_descending(tmp_path: Path) -> None:
    documents = [{"t": ["m", "a"]}, {"t": ["b", "z"]}, {"t": ["c"]}]
    reader = build(tmp_path / "i", {"t": "keyword[]"}, documents)
    assert ["0", "1", "2"] == _ids(reader, None, SortKey("t"))
    assert ["1", "0", "2"] == _ids(reader, None, SortKey("t", descending=True))


def test_an_array_of_numbers_sorts_as_well(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"n": "integer[]"}, [{"n": [5, 1]}, {"n": [3]}, {"n": [2, 9]}])
    assert ["0", "2", "1"] == _ids(reader, None, SortKey("n"))
    assert ["2", "0", "1"] == _ids(reader, None, SortKey("n", descending=True))


def test_a_scan_gives_every_document_once_in_order(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"n": "integer"}, [{"n": n} for n in range(25)], commit_every=7)
    frames = list(reader.scan({"range": {"n": {"gte": 5}}}, 6))
    assert [6, 6, 6, 2] == [frame.height for frame in frames]
    assert list(range(5, 25)) == [seq for frame in frames for seq in frame["_seq"]]


def test_position_documents_are_neither_counted_nor_found(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"n": "integer"}, [{"n": 1}])
    assert 1 == reader.count({"match_all": {}}) == reader.stats().documents
    assert ["0"] == _ids(reader)
    assert ["0"] == _ids(reader, {"bool": {"must_not": {"term": {"n": 9}}}})


def test_all_are_counted_as_those_that_are_looked_at(tmp_path: Path) -> None:
    """Without a look at any: neither documents that were replaced nor those of positions are among them."""
    made = writer(tmp_path / "i", id="n", fields={"n": "integer"})
    for first in range(0, 60, 10):
        numbers = [{"n": number % 7} for number in range(first, first + 10)]
        made.write(rows(*numbers, first=first))
        made.commit()
    reader = open_reader(tmp_path / "i")
    looked_at: Json = {"range": {"n": {"gte": 0}}}
    everything: Json = None
    assert [7, 7] == [reader.count(None), reader.count(looked_at)]
    for query in (everything, looked_at):
        for size in (0, 3):
            assert 7 == reader.search(SearchRequest(query=query, size=size)).total
            assert 0 == reader.search(SearchRequest(query=query, size=size, count=False)).total
    made.close()


def test_dynamic_fields_are_listed_from_every_segment(tmp_path: Path) -> None:
    """Also where some segment has none: the engine would panic."""
    documents: list[dict[str, object]] = [{"n": 1}, {"a": 1, "b": {"c": "x"}}, {"d": True}, {"n": 2}]
    reader = build(tmp_path / "i", {"n": "integer"}, documents, commit_every=1)
    assert {"a": "long", "b.c": "text", "d": "boolean"} == reader.dynamic_fields()


def test_a_value_that_conflicted_is_found_under_its_declared_name(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"k": "keyword", "n": "integer"}, [{"k": 7}, {"n": 1.5}, {"n": 1}])
    assert ["0"] == _ids(reader, {"term": {"k": 7}})
    assert ["1"] == _ids(reader, {"term": {"n": 1.5}})
    assert {"1", "2"} == set(_ids(reader, {"exists": {"field": "n"}}))


def test_what_cannot_be_sorted_is_said(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"t": "text"}, [{"t": "a"}])
    with pytest.raises(RequestError, match="neither sorted nor aggregated"):
        _ids(reader, None, SortKey("t"))
    with pytest.raises(RequestError, match="only as the first key, descending"):
        _ids(reader, None, SortKey("n"), SortKey("_score", descending=True))
    with pytest.raises(RequestError, match=r"has 3 value\(s\)"):
        reader.search(SearchRequest(sort=[SortKey("n")], search_after=[1, 2, 3]))


def test_an_ill_formed_regular_expression_is_a_request_error(tmp_path: Path) -> None:
    reader = build(tmp_path / "i", {"k": "keyword"}, [{"k": "a"}])
    with pytest.raises(RequestError, match="the engine refused"):
        reader.count({"regexp": {"k": "[a"}})


def test_there_is_no_reader_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index in"):
        TantivyReader(tmp_path)
