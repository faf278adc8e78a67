"""The real OpenSearch client, unmodified, against the real service."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import opensearchpy
import pytest
from opensearchpy import helpers

from services.running import Running

_numbers = itertools.count()


@pytest.fixture
def client(running: Running) -> Iterator[opensearchpy.OpenSearch]:
    host = {"host": "127.0.0.1", "port": int(running.base.rpartition(":")[2])}
    made = opensearchpy.OpenSearch(hosts=[host], use_ssl=False, timeout=30)
    yield made
    made.close()


@pytest.fixture
def index() -> str:
    return f"open-{next(_numbers)}"


def test_bulk_search_scan_and_aggregations(client: opensearchpy.OpenSearch, index: str) -> None:
    """The whole way, with the client's own helpers."""
    actions = [{"_index": index, "_id": str(n), "n": n, "even": n % 2 == 0} for n in range(700)]
    done, errors = helpers.bulk(client, actions, refresh="wait_for")
    assert (700, []) == (done, errors)
    assert 700 == client.count(index=index)["count"]
    body = {"query": {"term": {"even": True}}, "aggs": {"sum": {"sum": {"field": "n"}}}, "size": 0}
    found = client.search(index=index, body=body)
    assert 350 == found["hits"]["total"]["value"]
    assert sum(range(0, 700, 2)) == found["aggregations"]["sum"]["value"]
    seen = [hit["_source"]["n"] for hit in helpers.scan(client, index=index, size=64)]
    assert sorted(seen) == list(range(700))


def test_streaming_and_parallel_bulk(client: opensearchpy.OpenSearch, index: str) -> None:
    """Every action is answered."""
    actions = [{"_index": index, "n": n} for n in range(300)]
    assert all(ok for ok, _ in helpers.streaming_bulk(client, actions, chunk_size=70))
    assert all(ok for ok, _ in helpers.parallel_bulk(client, actions, chunk_size=70, thread_count=2))
    client.indices.refresh(index=index)
    assert 600 == client.count(index=index)["count"]


def test_documents_indices_and_errors(client: opensearchpy.OpenSearch, index: str) -> None:
    """Made, updated, read, deleted; what is wrong is raised as what it is."""
    client.indices.create(index=index, body={"mappings": {"properties": {"n": {"type": "long"}}}})
    assert "created" == client.index(index=index, body={"n": 1}, id="1")["result"]
    assert "updated" == client.update(index=index, id="1", body={"doc": {"m": 2}})["result"]
    assert {"n": 1, "m": 2} == client.get(index=index, id="1")["_source"]
    assert "deleted" == client.delete(index=index, id="1")["result"]
    with pytest.raises(opensearchpy.NotFoundError):
        client.get(index=index, id="1")
    with pytest.raises(opensearchpy.RequestError, match="resource_already_exists_exception"):
        client.indices.create(index=index)
    client.indices.delete(index=index)
    with pytest.raises(opensearchpy.NotFoundError, match="index_not_found_exception"):
        client.search(index=index)


def test_a_point_in_time(client: opensearchpy.OpenSearch, index: str) -> None:
    """OpenSearch spells it in its own way."""
    helpers.bulk(client, [{"_index": index, "n": n} for n in range(20)], refresh="wait_for")
    pit = client.create_pit(index=index, params={"keep_alive": "1m"})["pit_id"]
    client.index(index=index, body={"n": 99}, refresh="wait_for")
    found = client.search(body={"pit": {"id": pit, "keep_alive": "1m"}, "size": 100})
    assert 20 == found["hits"]["total"]["value"]
    client.delete_pit(body={"pit_id": [pit]})
