"""A million of anything in one search: refused in a moment, before it costs memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

MANY = 200_000
"""Of names and words; a million of some is over the bound of a body."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("million")
    readers = Readers({"k": build(folder / "k", {"w": "text"}, [{"n": 1, "w": "a"}])})
    with TestClient(Starlette(routes=search.routes(readers))) as client:
        yield client


NAMES = [f"f{n}" for n in range(MANY)]
WORDS = " ".join(NAMES)
BODIES: dict[str, dict[str, Any]] = {
    "clauses": {"query": {"bool": {"should": [{"match_all": {}}] * MANY}}},
    "values": {"query": {"terms": {"n": list(range(MANY))}}},
    "ids": {"query": {"ids": {"values": NAMES}}},
    "words": {"query": {"match": {"w": WORDS}}},
    "words of a phrase": {"query": {"match_phrase": {"w": WORDS}}},
    "words of a query string": {"query": {"query_string": {"query": " OR ".join(["n:1"] * MANY)}}},
    "words of a simple query string": {"query": {"simple_query_string": {"query": WORDS}}},
    "aggregations": {"aggs": {name: {"max": {"field": "n"}} for name in NAMES}},
    "sort keys": {"sort": ["n"] * MANY},
    "values to go on after": {"sort": ["n"], "search_after": [1] * MANY},
    "names of a source": {"_source": NAMES},
    "names left out of a source": {"_source": {"excludes": NAMES}},
    "fields": {"fields": NAMES},
    "columns": {"docvalue_fields": NAMES},
    "fields to mark": {"highlight": {"fields": {name: {} for name in NAMES}}},
    "suggestions": {"suggest": {name: {"text": "a", "term": {"field": "w"}} for name in NAMES}},
    "unknown keys": dict.fromkeys(NAMES, 1),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_million_in_a_search_is_refused_at_once(client: TestClient, what: str) -> None:
    """With a 400; what was there before is answered as before."""
    began = time.monotonic()
    answer = client.post("/k/_search", json=BODIES[what])
    assert 400 == answer.status_code, answer.text[:200]
    assert time.monotonic() - began < 8, "sending it included; the whole machine may be busy"
    assert 200 == client.post("/k/_search", json={"query": {"match": {"w": "a b c"}}}).status_code


def test_a_thousand_clauses_and_words_are_answered(client: TestClient) -> None:
    should = [{"match": {"w": {"query": f"a{n}", "boost": 2}}} for n in range(5_000)]
    assert 200 == client.post("/k/_search", json={"query": {"bool": {"should": should}}}).status_code
    assert (
        200
        == client.post("/k/_search", json={"query": {"match": {"w": " ".join(NAMES[:5_000])}}}).status_code
    )
