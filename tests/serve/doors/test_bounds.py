"""What a search may cost: beyond it an error that says which bound, and in which words Elasticsearch says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import anyio
import polars as pl
import pytest
from starlette.testclient import TestClient

import headrace
from headrace.core.errors import RequestError
from headrace.core.metrics import Metrics
from headrace.serve.app import server_app
from headrace.serve.doors import Door, Doors
from headrace.serve.folders import FolderReaders
from headrace.serve.threads import WITHIN, _limiter, in_thread
from headrace.settings import SearchLimits
from serve.doors.table import Alive

LIMITS = SearchLimits(clauses=10, depth=3, terms=5, aggregations=4, buckets=20)
TERM = {"term": {"n": 1}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("bounds")
    headrace.index(
        pl.DataFrame({"n": range(100), "w": [f"w{n % 50}" for n in range(100)]}), into=folder, name="n"
    )
    readers = FolderReaders(folder)
    app = server_app(readers, Alive(), Metrics(), doors=Doors(Door(search=LIMITS)))
    with TestClient(app) as found:
        yield found
    readers.close()


def deep(levels: int) -> Any:
    query: Any = TERM
    for _ in range(levels):
        query = {"bool": {"must": [query]}}
    return query


HISTOGRAM = {"h": {"histogram": {"field": "n", "interval": 1}}}


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"query": {"bool": {"should": [TERM] * 9}}}, None, ""),
        (
            {"query": {"bool": {"should": [TERM] * 10}}},
            "too_many_clauses",
            "maxClauseCount is set to 10, the query has more",
        ),
        (
            {"query": {"query_string": {"query": " OR ".join(f"n:{n}" for n in range(20))}}},
            "too_many_clauses",
            "10",
        ),
        ({"query": deep(3)}, None, ""),
        ({"query": deep(4)}, "illegal_argument_exception", "nested deeper than 3 levels"),
        ({"query": {"terms": {"n": [1, 2, 3, 4, 5]}}}, None, ""),
        (
            {"query": {"terms": {"n": [1, 2, 3, 4, 5, 6]}}},
            "illegal_argument_exception",
            "The number of terms [6] used in the Terms Query request has exceeded the allowed maximum of [5]",
        ),
        ({"query": {"ids": {"values": list("abcdef")}}}, "illegal_argument_exception", "[6]"),
        ({"aggs": {f"a{n}": {"max": {"field": "n"}} for n in range(4)}}, None, ""),
        (
            {"aggs": {f"a{n}": {"max": {"field": "n"}} for n in range(5)}},
            "illegal_argument_exception",
            "more than 4 aggregations (server.search.aggregations)",
        ),
        (
            {"aggs": {"h": {**HISTOGRAM["h"], "aggs": {f"a{n}": {"max": {"field": "n"}} for n in range(4)}}}},
            "illegal_argument_exception",
            "more than 4 aggregations",
        ),
        ({"aggs": HISTOGRAM}, "too_many_buckets_exception", "less than or equal to: [20] but was [100]"),
        ({"aggs": {"t": {"terms": {"field": "w", "size": 40}}}}, "too_many_buckets_exception", "[20]"),
        ({"aggs": {"t": {"terms": {"field": "w", "size": 20}}}}, None, ""),
    ],
)
def test_a_search_beyond_a_bound_is_refused(
    client: TestClient, body: dict[str, Any], kind: str | None, says: str
) -> None:
    answer = client.post("/n/_search", json={"size": 0, **body})
    if kind is None:
        assert 200 == answer.status_code, answer.text
        return
    assert 400 == answer.status_code, answer.text
    error = answer.json()["error"]
    assert kind == error["type"]
    assert says in error["reason"]


def test_a_count_is_bound_too(client: TestClient) -> None:
    answer = client.post("/n/_count", json={"query": deep(4)})
    assert 400 == answer.status_code


def test_a_search_that_takes_too_long_is_given_up_and_keeps_its_place() -> None:
    """It cannot be stopped: its place is free when it has ended, not when nobody waits any more."""

    async def run() -> None:
        go, ended = threading.Event(), threading.Event()

        def endless() -> None:
            go.wait(10)
            ended.set()

        WITHIN.set(0.05)
        before = _limiter().borrowed_tokens
        with pytest.raises(RequestError) as caught:
            await in_thread(endless)
        assert (503, "timeout_exception") == (caught.value.status, caught.value.kind)
        assert "server.search.time" in str(caught.value)
        assert before + 1 == _limiter().borrowed_tokens
        go.set()
        await anyio.to_thread.run_sync(ended.wait, 5)
        for _ in range(100):
            await anyio.wait_all_tasks_blocked()
        assert before == _limiter().borrowed_tokens
        assert ended.is_set()
        assert "done" == await in_thread(lambda: "done")
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        assert before == _limiter().borrowed_tokens

    anyio.run(run)


def test_a_search_that_never_had_its_turn_leaves_none_behind() -> None:
    async def run() -> None:
        before = _limiter().borrowed_tokens
        WITHIN.set(30)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await in_thread(lambda: None)
        assert before == _limiter().borrowed_tokens

    anyio.run(run)
