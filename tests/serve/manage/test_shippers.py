"""What shippers ask before their first write."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_the_license_is_active_and_lifecycles_are_off(client: TestClient) -> None:
    """Logstash takes a node without an active license for dead."""
    assert "active" == client.get("/_license").json()["license"]["status"]
    assert not client.get("/_xpack").json()["features"]["ilm"]["enabled"]


def test_an_ingest_pipeline_would_change_documents_and_is_refused(client: TestClient) -> None:
    assert 404 == client.get("/_ingest/pipeline/geo").status_code
    assert 404 == client.head("/_ingest/pipeline/geo").status_code
    assert [200, 200] == [
        client.head(path).status_code for path in ("/_ingest/pipeline", "/_cluster/settings")
    ]
    answer = client.put("/_ingest/pipeline/geo", json={"processors": []})
    assert 400 == answer.status_code
    assert "`transform` of a pipeline" in answer.json()["error"]["reason"]
