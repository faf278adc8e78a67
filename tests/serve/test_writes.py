"""Single documents: bodies, statuses and headers as Elasticsearch's document API has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import RequestError
from headrace.serve import tokens
from intake import Service, service


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path) as found:
        yield found


def test_a_document_without_an_id_gets_one_and_a_location(served: Service) -> None:
    answer = served.client.post("/logs/_doc", json={"n": 1})
    body = answer.json()
    assert 201 == answer.status_code
    key = body["_id"]
    assert {
        "_index": "logs",
        "_id": key,
        "_version": 1,
        "result": "created",
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "_seq_no": 0,
        "_primary_term": 1,
    } == body
    assert f"/logs/_doc/{key}" == answer.headers["Location"]
    assert "Elasticsearch" == answer.headers["X-Elastic-Product"]
    assert [1] == [token.record for token in tokens.decode(answer.headers["Headrace-Token"])]
    assert [] == served.model.waits


@pytest.mark.parametrize("prefix", ["", "/es"])
def test_put_and_post_under_an_id_are_one(served: Service, prefix: str) -> None:
    for method in ("PUT", "POST"):
        answer = served.client.request(method, f"{prefix}/logs/_doc/a%2Fb?refresh=wait_for", json={"n": 1})
        assert "a/b" == answer.json()["_id"]
    assert (200, "updated", 1) == (answer.status_code, answer.json()["result"], answer.json()["_seq_no"])
    assert "Location" not in answer.headers


def test_a_body_may_span_lines(served: Service) -> None:
    headers = {"Content-Type": "application/json"}
    answer = served.client.put(
        "/logs/_doc/1", content=b'{\r\n  "a": "x\\ny",\n  "b": 2\n}\n', headers=headers
    )
    assert 201 == answer.status_code
    assert [{"a": "x\ny", "b": 2}] == [one.document for one in served.stored()]


@pytest.mark.parametrize("path", ["/logs/_create/1", "/logs/_doc/1?op_type=create"])
def test_create_refuses_what_is_there(served: Service, path: str) -> None:
    assert 201 == served.client.put(path, json={"n": 1}).status_code
    answer = served.client.put(path, json={"n": 2})
    assert 409 == answer.status_code == answer.json()["status"]
    error = answer.json()["error"]
    assert "version_conflict_engine_exception" == error["type"] == error["root_cause"][0]["type"]
    assert ("logs", "uuid-logs") == (error["index"], error["index_uuid"])


def test_a_condition_holds_or_conflicts(served: Service) -> None:
    served.client.put("/logs/_doc/1", json={"n": 1})
    path = "/logs/_doc/1?if_seq_no=0&if_primary_term=1"
    assert 200 == served.client.put(path, json={"n": 2}).status_code
    assert 409 == served.client.put(path, json={"n": 3}).status_code
    assert 409 == served.client.delete(path).status_code
    assert 409 == served.client.put("/logs/_doc/1?if_seq_no=1&if_primary_term=2", json={}).status_code


def test_updates_merge_insert_or_miss(served: Service) -> None:
    def update(key: str, body: Any) -> tuple[int, str | None]:
        answer = served.client.post(f"/logs/_update/{key}", json=body)
        return answer.status_code, answer.json().get("result")

    assert (404, None) == update("1", {"doc": {"n": 1}})
    assert (201, "created") == update("1", {"doc": {"n": 1}, "upsert": {"n": 0}})
    assert (200, "updated") == update("1", {"doc": {"n": 1}})
    assert (200, "noop") == update("1", {"doc": {"n": 1}})
    assert (200, "updated") == update("1", {"doc": {"n": 1}, "detect_noop": False})
    assert (201, "created") == update("2", {"doc": {"n": 1}, "doc_as_upsert": True})
    missing = served.client.post("/logs/_update/9", json={"doc": {}}).json()
    assert ("document_missing_exception", "[9]: document missing") == (
        missing["error"]["type"],
        missing["error"]["reason"],
    )


def test_deletes_find_or_miss(served: Service) -> None:
    served.client.put("/logs/_doc/1", json={"n": 1})
    found = served.client.delete("/logs/_doc/1?refresh=true")
    assert (200, "deleted", True) == (
        found.status_code,
        found.json()["result"],
        found.json()["forced_refresh"],
    )
    missed = served.client.delete("/logs/_doc/1")
    assert (404, "not_found") == (missed.status_code, missed.json()["result"])
    assert "error" not in missed.json()
    nowhere = served.client.delete("/nope/_doc/1")
    assert (404, "index_not_found_exception") == (nowhere.status_code, nowhere.json()["error"]["type"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("PUT", "/logs/_doc/1", b"", 400, "request body is required"),
        ("PUT", "/logs/_doc/1", b'{"a":', 400, "failed to parse"),
        ("PUT", "/logs/_doc/1", b"[]", 400, "Expected `object`"),
        ("PUT", f"/logs/_doc/{'x' * 513}", b"{}", 400, "is too long"),
        ("PUT", "/logs/_doc/1?version=3", b"{}", 400, "if_primary_term"),
        (
            "PUT",
            "/logs/_doc/1?version=3&version_type=external",
            b"{}",
            400,
            "[version_type] [external] is not supported",
        ),
        ("PUT", "/logs/_doc/1?if_seq_no=x&if_primary_term=1", b"{}", 400, "are whole numbers"),
        ("PUT", "/logs/_doc/1?op_typ=create", b"{}", 400, "did you mean 'op_type'"),
        ("PUT", "/Logs/_doc/1", b"{}", 400, "must be lowercase"),
        (
            "POST",
            "/logs/_update/1",
            b'{"script":"x"}',
            400,
            "scripts are not supported; send the changed fields",
        ),
        (
            "POST",
            "/logs/_update/1?_source=true",
            b'{"doc":{}}',
            400,
            "[_source] of an update is not answered",
        ),
        ("POST", "/logs/_update/1", b'{"doc":{},"nope":1}', 400, "unknown field [nope]"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_stored(
    served: Service, method: str, path: str, body: bytes, status: int, reason: str
) -> None:
    answer = served.client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert status == answer.status_code
    assert reason in answer.json()["error"]["reason"]
    assert [] == [one for name in served.shelf.names() for one in served.stored(name)]


def test_a_form_is_no_document(served: Service) -> None:
    """Else any page could write through its reader's browser."""
    answer = served.client.put("/logs/_doc/1", data={"a": "b"})
    assert 406 == answer.status_code


def test_an_outcome_that_nobody_tells_is_a_503(served: Service) -> None:
    served.model.away = RequestError(503, "outcome_unknown", "the ingester is away; safe to repeat")
    answer = served.client.put("/logs/_create/1", json={"n": 1})
    assert (503, "outcome_unknown") == (answer.status_code, answer.json()["error"]["type"])
    assert 201 == served.client.put("/logs/_doc/1", json={"n": 1}).status_code


def test_a_key_makes_a_repeated_write_one(served: Service) -> None:
    first, second = (
        served.client.post("/logs/_doc", json={"n": 1}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert (201, 201) == (first.status_code, second.status_code)
    assert (first.content, first.headers["Location"]) == (second.content, second.headers["Location"])
    assert 1 == len(served.stored())
