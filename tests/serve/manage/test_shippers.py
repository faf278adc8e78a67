"""What shippers ask before their first write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.catalogue.store import Keeper
from headrace.core.health import State
from headrace.layout import catalogue_file
from headrace.model import Json
from headrace.serve.indices import ServerIndices
from headrace.serve.manage import Surroundings, routes


async def ready() -> tuple[State, Json]:
    return State.READY, {}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    indices = ServerIndices({}, Keeper(catalogue_file(tmp_path)), tmp_path)
    with TestClient(Starlette(routes=routes(Surroundings(indices, ready)))) as client:
        yield client


def test_the_license_is_active_and_lifecycles_are_off(client: TestClient) -> None:
    """Logstash takes a node without an active license for dead."""
    assert "active" == client.get("/_license").json()["license"]["status"]
    assert not client.get("/_xpack").json()["features"]["ilm"]["enabled"]


@pytest.mark.parametrize("kind", ["_index_template", "_template", "_component_template", "_ilm/policy"])
def test_what_is_not_kept_is_acknowledged_with_a_warning_and_found_nowhere(
    client: TestClient, kind: str
) -> None:
    assert 404 == client.head(f"/{kind}/logs").status_code
    answer = client.put(f"/{kind}/logs", json={"index_patterns": ["logs-*"]})
    assert answer.json()["acknowledged"]
    assert f"{kind} [logs] is not kept" in answer.headers["Warning"]
    missing = client.get(f"/{kind}/logs")
    assert (404, "resource_not_found_exception") == (missing.status_code, missing.json()["error"]["type"])
    assert 200 == client.get(f"/{kind}").status_code


def test_a_data_stream_is_an_index(client: TestClient) -> None:
    assert 404 == client.get("/_data_stream/logs").status_code
    answer = client.put("/_data_stream/logs")
    assert answer.json()["acknowledged"]
    assert "an ordinary index" in answer.headers["Warning"]
    assert 200 == client.put("/_data_stream/logs").status_code
    assert ["logs"] == [each["name"] for each in client.get("/_data_stream/logs").json()["data_streams"]]
    assert 200 == client.head("/logs").status_code


def test_an_ingest_pipeline_would_change_documents_and_is_refused(client: TestClient) -> None:
    assert 404 == client.get("/_ingest/pipeline/geo").status_code
    answer = client.put("/_ingest/pipeline/geo", json={"processors": []})
    assert 400 == answer.status_code
    assert "`transform` of a pipeline" in answer.json()["error"]["reason"]
