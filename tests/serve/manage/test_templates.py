"""Templates over HTTP: kept, shown again as Elasticsearch shows them, applied where an index is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from headrace.catalogue.store import Keeper
from headrace.layout import catalogue_file
from headrace.serve.indices import ServerIndices

LOGS: dict[str, Any] = {
    "index_patterns": "logs-*",
    "template": {
        "settings": {"number_of_replicas": 3},
        "mappings": {"properties": {"level": {"type": "keyword"}}},
        "aliases": {"everything": {}},
    },
}


def put(client: TestClient, path: str, body: Any, status: int = 200) -> Any:
    answer = client.put(path, json=body)
    assert status == answer.status_code, answer.text
    return answer.json()


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert status == answer.status_code, answer.text
    return answer.json()


def test_a_template_is_kept_and_shown_again(client: TestClient, tmp_path: Path) -> None:
    assert 404 == client.head("/_index_template/logs").status_code
    assert {"acknowledged": True} == put(
        client, "/_index_template/logs", {**LOGS, "priority": 7, "version": 2}
    )
    assert 200 == client.head("/_index_template/logs").status_code
    [found] = get(client, "/_index_template/lo*")["index_templates"]
    assert "logs" == found["name"]
    assert {
        "index_patterns": ["logs-*"],
        "template": {
            "settings": {"index": {"number_of_replicas": "3"}},
            "mappings": {"properties": {"level": {"type": "keyword"}}},
            "aliases": {"everything": {}},
        },
        "composed_of": [],
        "priority": 7,
        "version": 2,
    } == found["index_template"]
    assert "logs" in Keeper(catalogue_file(tmp_path)).catalogue.templates.index
    assert client.delete("/_index_template/logs").json()["acknowledged"]
    assert [] == get(client, "/_index_template")["index_templates"]


def test_it_is_applied_to_an_index_made_by_a_put_and_by_a_first_write(
    client: TestClient, indices: ServerIndices
) -> None:
    put(client, "/_index_template/logs", LOGS)
    put(client, "/logs-a", {"mappings": {"properties": {"n": {"type": "long"}}}})
    target = anyio.run(indices.create, "logs-b")
    assert "logs-b" == target.index
    for name, fields in (("logs-a", {"level", "n"}), ("logs-b", {"level"})):
        shown = get(client, f"/{name}")[name]
        assert fields == set(shown["mappings"]["properties"])
        assert "3" == shown["settings"]["index"]["number_of_replicas"]
        assert {"everything": {}} == shown["aliases"]
    put(client, "/other", {})
    assert {} == get(client, "/other")["other"]["aliases"]


def test_a_template_changes_no_index_that_is_there(client: TestClient) -> None:
    put(client, "/logs-a", {})
    put(client, "/_index_template/logs", LOGS)
    assert {} == get(client, "/logs-a")["logs-a"]["aliases"]


def test_components_are_kept_used_and_not_removed_while_they_are(client: TestClient) -> None:
    body = {"index_patterns": ["logs-*"], "composed_of": ["levels"]}
    answer = put(client, "/_index_template/logs", body, 400)
    assert "invalid_index_template_exception" == answer["error"]["type"]
    component = {"template": {"mappings": {"properties": {"level": {"type": "keyword"}}}}}
    put(client, "/_component_template/levels", component)
    put(client, "/_index_template/logs", body)
    assert (
        component
        == get(client, "/_component_template/levels")["component_templates"][0]["component_template"]
    )
    assert 400 == client.delete("/_component_template/levels").status_code
    put(client, "/logs-1", {})
    assert {"level"} == set(get(client, "/logs-1/_mapping")["logs-1"]["mappings"]["properties"])
    client.delete("/_index_template/logs")
    assert client.delete("/_component_template/levels").json()["acknowledged"]


def test_older_templates_are_kept_too(client: TestClient) -> None:
    body = {
        "template": "old-*",
        "index_patterns": ["logs-*"],
        "mappings": {"_doc": {"properties": {"a": {"type": "ip"}}}},
    }
    put(client, "/_template/old?order=3", body)
    assert {
        "old": {
            "order": 3,
            "index_patterns": ["logs-*"],
            "settings": {},
            "mappings": {"properties": {"a": {"type": "ip"}}},
            "aliases": {},
        }
    } == get(client, "/_template/old")
    assert {} == get(client, "/_template/none", 404)
    put(client, "/logs-1", {})
    assert "ip" == get(client, "/logs-1")["logs-1"]["mappings"]["properties"]["a"]["type"]  # fmt: skip


def test_what_is_not_honoured_is_told_when_it_is_put(client: TestClient) -> None:
    template = {"mappings": {"properties": {"a": {"type": "alias", "path": "b"}, "v": {"type": "version"}}}}
    answer = client.put("/_index_template/t", json={"index_patterns": ["t"], "template": template})
    told = answer.json()["headrace"]["not_honoured"]
    assert any("[a] of the template is left out" in each for each in told)
    assert any("[version] is taken as [keyword]" in each for each in told)
    assert "Warning" in answer.headers


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("_index_template/t", {}, "index_patterns is missing"),
        ("_index_template/t", {"index_patterns": ["a"], "patterns": 1}, "unknown key [patterns]"),
        ("_index_template/t", {"index_patterns": ["a"], "template": []}, "[template] must be an object"),
        (
            "_index_template/t",
            {"index_patterns": ["a"], "template": {"mapping": {}}},
            "unknown key [mapping]",
        ),
        ("_index_template/t", {"index_patterns": ["a"], "priority": "x"}, "[priority]"),
        ("_index_template/T", {"index_patterns": ["a"]}, "is no name"),
        ("_index_template/t", {"index_patterns": ["lo*"]}, "that have the same priority [0]"),
        ("_index_template/logs?create=true", LOGS, "already exists"),
        ("_component_template/t", {}, "Required [template]"),
        ("_template/t", {"mappings": {}}, "index_patterns is missing"),
        ("_template/t", {"index_patterns": ["a"], "template": {"settings": {}}}, "unknown key [template]"),
    ],
)
def test_a_wrong_template_is_refused(client: TestClient, path: str, body: Any, said: str) -> None:
    put(client, "/_index_template/logs", LOGS)
    assert said in put(client, f"/{path}", body, 400)["error"]["reason"]


@pytest.mark.parametrize("kind", ["_index_template", "_component_template", "_ilm/policy"])
def test_what_is_not_there_is_a_404(client: TestClient, kind: str) -> None:
    assert "resource_not_found_exception" == get(client, f"/{kind}/x", 404)["error"]["type"]
    assert 404 == client.delete(f"/{kind}/x").status_code
    assert 200 == client.get(f"/{kind}").status_code


def test_what_an_index_would_be_made_with_can_be_asked(client: TestClient) -> None:
    put(client, "/_index_template/logs", LOGS)
    found = client.post("/_index_template/_simulate_index/logs-x").json()["template"]
    assert {"properties": {"level": {"type": "keyword"}}} == found["mappings"]
    assert 404 == client.head("/logs-x").status_code


def test_a_pattern_is_no_longer_than_a_name(client: TestClient) -> None:
    """Two long ones of many stars are compared letter by letter."""
    put(client, "/_index_template/long", {"index_patterns": ["*a" * 127 + "*"]})
    put(client, "/_index_template/longer", {"index_patterns": ["*b" * 127 + "*"], "priority": 1})
    refused = put(client, "/_index_template/too-long", {"index_patterns": ["a" * 256]}, 400)
    assert "has a pattern of more than 255 bytes" in refused["error"]["reason"]
