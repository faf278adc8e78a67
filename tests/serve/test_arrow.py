"""Results as Arrow streams, read back by Polars."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search
from headrace.serve.arrow import ARROW_TYPE

FIELDS = {"n": "integer", "d": "date", "tags": "keyword[]", "f": "float"}
DOCUMENTS = [
    {"n": 1, "d": "2024-01-01T00:00:00.000001Z", "tags": ["a", "b"], "f": 1, "geo": {"x": 1, "y": [1, 2]}},
    {"n": "many", "tags": ["c"], "u": 1, "geo": {"x": 2}},
    {"n": 3, "d": "2024-01-02T00:00:00Z", "u": "text"},
]
ARROW = {"Accept": ARROW_TYPE}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(search, "SCAN_ROWS", 2)
    readers = Readers(
        {
            "a": build(tmp_path / "a", FIELDS, DOCUMENTS, commit_every=2),
            "b": build(
                tmp_path / "b", {"n": "integer", "f": "keyword"}, [{"n": n, "f": "x"} for n in range(5)]
            ),
        }
    )
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


def _frame(content: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(content))


def test_a_page_is_a_frame_typed_by_the_mapping(client: TestClient) -> None:
    answer = client.post("/a/_search", json={"sort": ["_doc"]}, headers=ARROW)
    assert ARROW_TYPE == answer.headers["Content-Type"]
    assert "Headrace-Freshness" in answer.headers
    frame = _frame(answer.content)
    assert ["_id", "_index", "_score", "n", "d", "tags", "f", "geo", "u", "_source"] == frame.columns
    assert DOCUMENTS == [json.loads(text) for text in frame["_source"]]
    assert [1, None, 3] == frame["n"].to_list()
    assert datetime(2024, 1, 1, microsecond=1, tzinfo=UTC) == frame["d"][0]
    assert pl.List(pl.String) == frame.schema["tags"]
    assert pl.Float64 == frame.schema["f"]
    assert {"x": 1, "y": [1, 2]} == frame["geo"][0]
    assert [None, "1", "text"] == frame["u"].to_list(), "values of several types are their JSON text"


def test_an_empty_page_and_one_without_source_are_frames_too(client: TestClient) -> None:
    empty = client.post("/a/_search", json={"query": {"match_none": {}}}, headers=ARROW)
    assert 0 == _frame(empty.content).height
    bare = client.post("/a/_search", json={"_source": False}, headers=ARROW)
    assert ["_id", "_index", "_score"] == _frame(bare.content).columns


def test_a_scroll_in_arrow_has_its_id_in_a_header(client: TestClient) -> None:
    answer = client.post("/a,b/_search?scroll=1m&size=3", json={"sort": ["_doc"]}, headers=ARROW)
    found = []
    while frame := _frame(answer.content).rows():
        found += [row[:2] for row in frame]
        body = {"scroll_id": answer.headers["Headrace-Scroll-Id"]}
        answer = client.post("/_search/scroll", json=body, headers=ARROW)
    assert 8 == len(found) == len(set(found))


def test_a_scan_streams_all_documents_of_all_indexes_as_one_arrow_stream(client: TestClient) -> None:
    answer = client.get("/a,b/_scan")
    assert ARROW_TYPE == answer.headers["Content-Type"]
    frame = _frame(answer.content)
    assert 8 == frame.height
    assert ["_id", "_index", "_seq", "n", "d", "tags", "_source"] == frame.columns, (
        "[f] is declared in two ways"
    )
    assert DOCUMENTS == [json.loads(text) for text in frame.filter(_index="a")["_source"]]
    few = client.post("/a/_scan?_source=false", json={"query": {"term": {"n": 3}}})
    assert [("2", "a", 2, 3)] == _frame(few.content).select("_id", "_index", "_seq", "n").rows()
    assert "_source" not in _frame(few.content).columns


def test_a_scan_as_lines_has_the_documents_as_they_were_stored(client: TestClient) -> None:
    answer = client.get("/a/_scan", headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert DOCUMENTS == [line["_source"] for line in lines]
    assert {"_index": "a", "_id": "0", "_seq_no": 0} == {k: lines[0][k] for k in ("_index", "_id", "_seq_no")}


def test_a_scan_that_cannot_be_answered_says_so_before_the_stream(client: TestClient) -> None:
    assert 400 == client.post("/a/_scan", json={"query": {"nonsense": {}}}).status_code
    assert 400 == client.post("/a/_scan", json={"size": 1}).status_code
    assert 0 == _frame(client.post("/a/_scan", json={"query": {"match_none": {}}}).content).height


def test_aggregations_are_refused_in_arrow_not_left_out(client: TestClient) -> None:
    answer = client.post("/a/_search", json={"aggs": {"x": {"max": {"field": "n"}}}}, headers=ARROW)
    assert 400 == answer.status_code
    assert "[aggs] are answered as JSON only" in answer.json()["error"]["reason"]


def test_a_page_has_the_values_that_a_coercing_field_is_indexed_with(tmp_path: Path) -> None:
    fields = {name: {"type": name, "coerce": True} for name in ("integer", "float", "boolean")}
    documents: list[dict[str, object]] = [
        {"integer": "5", "float": " 1.5", "boolean": "true"},
        {"integer": 2.9},
        {"integer": "x"},
    ]
    readers = Readers({"a": build(tmp_path, fields, documents)})
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        frame = _frame(client.post("/a/_search", json={"sort": ["_doc"]}, headers=ARROW).content)
    assert [5, 2, None] == frame["integer"].to_list()
    assert [1.5, None, None] == frame["float"].to_list()
    assert [True, None, None] == frame["boolean"].to_list()


def test_a_part_of_the_source_is_all_that_a_page_has(client: TestClient) -> None:
    body = {"sort": ["_doc"], "size": 1, "_source": ["n"], "fields": ["d"]}
    frame = _frame(client.post("/a/_search", json=body, headers=ARROW).content)
    assert ["_id", "_index", "_score", "n", "_source"] == frame.columns
    assert '{"n":1}' == frame["_source"][0]
