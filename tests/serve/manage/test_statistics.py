"""States and figures that dashboards and scripts ask for by habit."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient


@pytest.fixture
def things(client: TestClient) -> TestClient:
    client.put("/things", json={"aliases": {"all": {}}})
    return client


def get(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert 200 == answer.status_code, answer.text
    return answer.json()


def test_a_node_says_what_it_holds(things: TestClient) -> None:
    for path in ("/_nodes/stats", "/_nodes/stats/indices,fs"):
        [node] = get(things, path)["nodes"].values()
        assert (1, 0) == (node["indices"]["count"], node["indices"]["docs"]["count"])
        assert 0 < node["fs"]["total"]["total_in_bytes"]
    assert 1 == get(things, "/_cluster/stats")["indices"]["count"]


def test_the_state_names_indexes_and_can_be_narrowed(things: TestClient) -> None:
    assert ["all"] == get(things, "/_cluster/state")["metadata"]["indices"]["things"]["aliases"]
    assert {"cluster_name", "cluster_uuid", "version"} == set(get(things, "/_cluster/state/version"))
    assert ["things"] == list(get(things, "/_cluster/state/metadata/things")["metadata"]["indices"])


def test_an_index_is_one_shard(things: TestClient) -> None:
    assert [["things"]] == [
        [s["index"] for s in each] for each in get(things, "/things/_search_shards")["shards"]
    ]


def test_there_are_no_tasks(things: TestClient) -> None:
    assert {"nodes": {}} == get(things, "/_tasks")
    assert {"tasks": []} == get(things, "/_cluster/pending_tasks")


@pytest.mark.parametrize(
    "path",
    ["/things/_termvectors/1", "/things/_termvectors", "/_mtermvectors", "/things/_split/x", "/things/_clone/x", "/_rank_eval"],
)  # fmt: skip
def test_what_there_is_not_is_refused_with_what_there_is(things: TestClient, path: str) -> None:
    answer = things.post(path, json={})
    assert 400 == answer.status_code
    assert "is not supported: " in answer.json()["error"]["reason"]
