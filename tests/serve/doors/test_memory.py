"""The memory that one search may hold: whatever makes it large, a 400 says which bound it is, and how to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

import headrace
from built import build
from headrace.core.errors import ConfigError
from headrace.core.metrics import Metrics
from headrace.index.query.bounds import HELD, Held
from headrace.index.tantivy.view import FRAME_BYTES
from headrace.serve.app import server_app
from headrace.serve.doors import Door, Doors
from headrace.serve.folders import FolderReaders
from headrace.settings import SearchLimits
from headrace.units import Size
from serve.doors.table import Alive

ROWS = 300
LARGE = "word " * 4_000  # 20 kB, 6 MB in all
MOST = 2 << 20


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("memory")
    large = pl.DataFrame({"n": range(ROWS), "g": [n % 3 for n in range(ROWS)], "t": [LARGE] * ROWS})
    small = pl.DataFrame({"n": range(3_000), "k": [f"k{n:04}" for n in range(3_000)]})
    headrace.index(large, into=folder, name="large", fields={"n": "integer", "g": "integer", "t": "text"})
    headrace.index(small, into=folder, name="small")
    headrace.index(small, into=folder, name="small-2")
    readers = FolderReaders(folder)
    limits = SearchLimits(memory=Size(MOST))
    app = server_app(readers, Alive(), Metrics(), doors=Doors(Door(search=limits)))
    with TestClient(app) as found:
        yield found
    readers.close()


ALL = {"size": ROWS}
EACH = {"histogram": {"field": "n", "interval": 1}}
TOP = {"top": {"top_hits": {"size": 10}}}
RANGES = {"r": {"range": {"field": "n", "ranges": [{"from": n, "to": n + 1} for n in range(200)]}}}
BEYOND: dict[str, tuple[str, dict[str, Any]]] = {
    "a large page": ("large", ALL),
    "a large page, sorted": ("large", {**ALL, "sort": [{"n": "desc"}]}),
    "a large page by score and number": ("large", {**ALL, "sort": ["_score", {"n": "desc"}]}),
    "large pages behind which little is wanted": ("large,small", {"from": 290, "size": 5, "sort": [{"n": "asc"}]}),
    "texts marked in full": (
        "large",
        {
            "size": 40,
            "_source": ["n"],
            "query": {"match": {"t": "word"}},
            "highlight": {"fields": {"t": {"number_of_fragments": 0}}},
        },
    ),
    "fields read from the source": ("large", {"size": 30, "_source": False, "fields": ["*"]}),
    "hits in buckets": ("large", {"size": 0, "aggs": {"g": {"terms": {"field": "n", "size": ROWS}, "aggs": TOP}}}),
    "many buckets": ("small", {"size": 0, "aggs": {"k": {"terms": {"field": "k.keyword", "size": 3_000}}}}),
    "many buckets of several indexes": (
        "small,small-2",
        {"size": 0, "aggs": {"k": {"terms": {"field": "k.keyword", "size": 900}}}},
    ),
    "empty buckets with buckets in them": (
        "small",
        {
            "size": 0,
            "query": {"terms": {"n": [0, 999]}},
            "aggs": {"h": {"histogram": {"field": "n", "interval": 1}, "aggs": RANGES}},
        },
    ),
    "one group of each value": ("large", {"size": ROWS, "collapse": {"field": "n"}}),
}  # fmt: skip


@pytest.mark.parametrize("what", BEYOND)
def test_what_holds_too_much_is_refused(client: TestClient, what: str) -> None:
    """Whatever it is made of."""
    names, body = BEYOND[what]
    answer = client.post(f"/{names}/_search", json=body)
    assert 400 == answer.status_code, answer.text[:300]
    error = answer.json()["error"]
    if error["type"] != "too_many_buckets_exception":
        assert "circuit_breaking_exception" == error["type"]
        assert f"more than {MOST} bytes" in error["reason"]
        assert "(server.search.memory)" in error["reason"]


WITHIN: dict[str, tuple[str, dict[str, Any]]] = {
    "a page": ("large", {"size": 10}),
    "a large page of small sources": ("large", {**ALL, "_source": ["n"]}),
    "groups of which few are wanted": ("large", {"size": 3, "collapse": {"field": "g"}}),
    "some hits in buckets": ("large", {"size": 0, "aggs": {"g": {"terms": {"field": "g"}, "aggs": TOP}}}),
    "a thousand buckets": ("small", {"size": 0, "aggs": {"k": {"terms": {"field": "k.keyword", "size": 999}}}}),
}  # fmt: skip


@pytest.mark.parametrize("what", WITHIN)
def test_what_holds_less_is_answered(client: TestClient, what: str) -> None:
    names, body = WITHIN[what]
    assert 200 == client.post(f"/{names}/_search", json=body).status_code


def test_each_request_has_its_own(client: TestClient) -> None:
    """What one held is gone with its answer."""
    assert [200] * 5 == [client.post("/large/_search", json={"size": 30}).status_code for _ in range(5)]


def test_searches_of_one_request_share_it_and_fail_alone(client: TestClient) -> None:
    """Their answers are held together; those that still fitted are answered."""
    lines = f"{json.dumps({'index': 'large'})}\n{json.dumps({'size': 30})}\n" * 5
    answers = client.post("/_msearch", content=lines).json()["responses"]
    assert [200, 400, 400, 400, 400] == [answer["status"] for answer in answers]


def test_parts_of_an_answer_that_have_to_be_looked_for_cost_more(client: TestClient) -> None:
    """`filter_path` reads the whole answer as objects first."""
    body = {"size": 15}
    assert 200 == client.post("/large/_search", json=body).status_code
    assert 400 == client.post("/large/_search?filter_path=hits.total", json=body).status_code


def test_a_scan_is_bound_by_its_pieces_and_gives_all(client: TestClient) -> None:
    """Three times the bound passes through."""
    lines = client.get("/large/_scan", headers={"accept": "application/x-ndjson"}).text.splitlines()
    assert list(range(ROWS)) == sorted(json.loads(line)["_source"]["n"] for line in lines)


def test_a_frame_of_large_documents_has_few(tmp_path: Path) -> None:
    """However many were asked for."""
    reader = build(tmp_path / "large", {}, [{"n": n, "t": "x " * (1 << 19)} for n in range(40)])
    frames = list(reader.view().scan(None, 30))
    assert 40 == sum(frame.height for frame in frames)
    assert [30, 10] != [frame.height for frame in frames]
    assert FRAME_BYTES // (1 << 20) >= max(frame.height for frame in frames[1:])


def test_nothing_is_counted_without_a_server() -> None:
    assert HELD.get() is None
    Held(10).take(10)


def test_a_bound_that_nothing_fits_in_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1MiB"):
        SearchLimits(memory=Size("1KiB"))
