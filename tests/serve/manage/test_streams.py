"""Data streams and rollover."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from headrace.serve.indices import ServerIndices

TEMPLATE: dict[str, Any] = {
    "index_patterns": ["logs-*"],
    "data_stream": {},
    "template": {"mappings": {"properties": {"level": {"type": "keyword"}}}},
}


@pytest.fixture
def streaming(client: TestClient) -> TestClient:
    assert 200 == client.put("/_index_template/logs", json=TEMPLATE).status_code
    return client


def test_a_first_write_makes_a_stream_with_a_backing_index(
    streaming: TestClient, indices: ServerIndices
) -> None:
    target = anyio.run(indices.create, "logs-web")
    assert re.fullmatch(r"\.ds-logs-web-\d{4}\.\d\d\.\d\d-000001", target.index)
    assert target == anyio.run(indices.create, "logs-web") == indices.target("logs-web")
    [stream] = streaming.get("/_data_stream/logs-web").json()["data_streams"]
    assert ("logs-web", "logs", 1, "GREEN") == tuple(
        stream[name] for name in ("name", "template", "generation", "status")
    )
    assert [(target.index, target.uuid)] == [(i["index_name"], i["index_uuid"]) for i in stream["indices"]]
    assert {target.index} == set(indices.select("logs-*")) == set(indices.select("logs-web"))
    fields = streaming.get("/logs-web/_mapping").json()[target.index]["mappings"]["properties"]
    assert {"level"} == set(fields)


def test_a_stream_is_a_stream_wherever_names_are_listed_and_no_alias(
    streaming: TestClient, indices: ServerIndices
) -> None:
    backing = anyio.run(indices.create, "logs-web").index
    streaming.put(f"/{backing}/_alias/extra")
    stream = {"name": "logs-web", "backing_indices": [backing], "timestamp_field": "@timestamp"}
    assert {"indices": [], "aliases": [], "data_streams": [stream]} == streaming.get(
        "/_resolve/index/logs-*"
    ).json()
    everything = streaming.get("/_resolve/index/*,.ds-*").json()
    shown = {"aliases": ["extra"], "attributes": ["hidden", "open"], "data_stream": "logs-web"}
    assert [{"name": backing, **shown}] == everything["indices"]
    assert [["extra"], ["logs-web"]] == [
        [each["name"] for each in everything[kind]] for kind in ("aliases", "data_streams")
    ]
    for path in ("/_alias", "/_aliases", f"/{backing}/_alias", "/logs-web/_alias"):
        assert {backing: {"aliases": {"extra": {}}}} == streaming.get(path).json(), path
    assert 404 == streaming.get("/_alias/logs-web").status_code
    index = streaming.get(f"/{backing}").json()[backing]
    assert ({"extra": {}}, "logs-web") == (index["aliases"], index["data_stream"])


def test_a_stream_is_not_changed_as_an_alias(streaming: TestClient, indices: ServerIndices) -> None:
    """Taken away under its backing index, a stream would lose what is written to it."""
    backing = anyio.run(indices.create, "logs-web").index
    streaming.put("/other")
    added = streaming.put("/other/_alias/logs-web")
    assert (400, "invalid_alias_name_exception") == (added.status_code, added.json()["error"]["type"])
    assert 404 == streaming.delete(f"/{backing}/_alias/logs-web").status_code
    assert 404 == streaming.delete(f"/{backing}/_alias/*").status_code
    target = indices.target("logs-web")
    assert target is not None
    assert backing == target.index


async def _together(indices: ServerIndices) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(indices.create, "logs-web")


def test_first_writes_at_once_make_one(streaming: TestClient, indices: ServerIndices) -> None:
    anyio.run(_together, indices)
    assert 1 == len(streaming.get("/_data_stream/logs-web").json()["data_streams"][0]["indices"])


def test_a_stream_is_made_and_deleted_with_all_its_indexes(
    streaming: TestClient, indices: ServerIndices
) -> None:
    assert streaming.put("/_data_stream/logs-a").json()["acknowledged"]
    again = streaming.put("/_data_stream/logs-a")
    assert (400, "resource_already_exists_exception") == (again.status_code, again.json()["error"]["type"])
    assert 400 == streaming.delete("/_index_template/logs").status_code
    assert 200 == streaming.head("/_data_stream/logs-a").status_code
    assert streaming.delete("/_data_stream/logs-*").json()["acknowledged"]
    assert [] == streaming.get("/_data_stream").json()["data_streams"]
    assert [] == indices.names()
    assert 404 == streaming.get("/_data_stream/logs-a").status_code
    assert streaming.delete("/_index_template/logs").json()["acknowledged"]


def test_a_stream_needs_a_template_and_its_name_is_no_index(streaming: TestClient) -> None:
    answer = streaming.put("/_data_stream/other")
    assert "no matching index template found for data stream [other]" == answer.json()["error"]["reason"]
    assert "creates data streams only" in streaming.put("/logs-a").json()["error"]["reason"]


def test_a_stream_rolls_over_to_its_next_index(streaming: TestClient, indices: ServerIndices) -> None:
    first = anyio.run(indices.create, "logs-a").index
    answer = streaming.post("/logs-a/_rollover").json()
    assert (first, True) == (answer["old_index"], answer["rolled_over"])
    assert answer["new_index"].endswith("-000002")
    target = indices.target("logs-a")
    assert target is not None
    assert answer["new_index"] == target.index
    assert {first, target.index} == set(indices.select("logs-a"))
    [stream] = streaming.get("/_data_stream/logs-a").json()["data_streams"]
    assert (2, [first, target.index]) == (stream["generation"], [i["index_name"] for i in stream["indices"]])


def test_an_alias_rolls_over_when_a_condition_is_met(client: TestClient, indices: ServerIndices) -> None:
    client.put("/app-000001", json={"aliases": {"app": {"is_write_index": True}}})
    body = {"conditions": {"max_docs": 1, "max_age": "7d"}}
    answer = client.post("/app/_rollover", json=body).json()
    assert not answer["rolled_over"]
    assert {"[max_docs: 1]": False, "[max_age: 7d]": False} == answer["conditions"]
    assert client.post("/app/_rollover?dry_run=true").json()["dry_run"]
    answer = client.post("/app/_rollover", json={"conditions": {"max_docs": 0, "max_age": "7d"}}).json()
    assert ("app-000001", "app-000002", True) == (
        answer["old_index"],
        answer["new_index"],
        answer["rolled_over"],
    )
    target = indices.target("app")
    assert target is not None
    assert "app-000002" == target.index
    assert {"app-000001", "app-000002"} == set(indices.select("app"))


def test_an_alias_without_a_write_index_moves(client: TestClient, indices: ServerIndices) -> None:
    client.put("/app-1", json={"aliases": {"app": {}}})
    assert "app-000002" == client.post("/app/_rollover").json()["new_index"]
    assert {"app-000002"} == set(indices.select("app"))


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/plain/_rollover", {}, "it must be an alias"),
        ("/named/_rollover", {}, "does not match pattern"),
        ("/named/_rollover/next", {"conditions": {"max_cats": 1}}, "unknown key [max_cats]"),
        ("/named/_rollover/next", {"conditions": {"max_docs": "many"}}, "failed to parse [max_docs]"),
    ],
)
def test_a_wrong_rollover_is_refused(client: TestClient, path: str, body: Any, said: str) -> None:
    client.put("/plain", json={"aliases": {"named": {}}})
    answer = client.post(path, json=body)
    assert (400, True) == (answer.status_code, said in answer.json()["error"]["reason"]), answer.text
