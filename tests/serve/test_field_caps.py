"""`_field_caps` as clients that build queries from it use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import field_caps

LOGS = {"host": "keyword", "n": "integer", "message": "text", "meta.kind": "wildcard"}
OTHER = {"host": "text", "n": "integer"}
DOCUMENTS = [{"host": "a", "n": 1, "message": "m", "meta": {"kind": "k"}, "free": "some words"}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    logs = build(tmp_path / "logs", LOGS, DOCUMENTS)
    other = build(tmp_path / "other", OTHER, [{"host": "b", "n": 7}])
    with TestClient(Starlette(routes=field_caps.routes(Readers({"logs": logs, "other": other})))) as client:
        yield client


def _caps(kind: str, *, searchable: bool = True, aggregatable: bool = True, **more: Any) -> dict[str, Any]:
    return {
        kind: {
            "type": kind,
            "metadata_field": False,
            "searchable": searchable,
            "aggregatable": aggregatable,
            **more,
        }
    }


def test_each_field_says_its_type_and_what_it_can(client: TestClient) -> None:
    answer = client.get("/logs/_field_caps?fields=*").json()
    fields = answer["fields"]
    assert ["logs"] == answer["indices"]
    assert _caps("keyword") == fields["host"]
    assert _caps("long") == fields["n"]
    assert _caps("text", aggregatable=False) == fields["message"]
    assert _caps("keyword") == fields["meta.kind"]
    assert _caps("object", searchable=False, aggregatable=False) == fields["meta"]
    assert _caps("text", aggregatable=False) == fields["free"]
    assert _caps("keyword") == fields["free.keyword"]
    assert fields["_id"]["_id"]["metadata_field"]


def test_indexes_are_named_only_where_their_types_differ(client: TestClient) -> None:
    fields = client.post("/_field_caps", json={"fields": ["host", "n"]}).json()["fields"]
    assert _caps("long") == fields["n"]
    expected = _caps("keyword", indices=["logs"]) | _caps("text", aggregatable=False, indices=["other"])
    assert expected == fields["host"]


def test_indexes_without_a_field_are_named_where_asked_for(client: TestClient) -> None:
    assert (
        _caps("text", aggregatable=False)
        == client.get("/_field_caps?fields=message").json()["fields"]["message"]
    )
    found = client.get("/_field_caps?fields=message&include_unmapped=true").json()["fields"]["message"]
    assert ["other"] == found["unmapped"]["indices"]
    assert ["logs"] == found["text"]["indices"]


def test_an_index_filter_leaves_out_indexes_where_nothing_matches(client: TestClient) -> None:
    body = {"fields": "n", "index_filter": {"range": {"n": {"gte": 5}}}}
    assert ["other"] == client.post("/_field_caps", json=body).json()["indices"]


def test_patterns_filters_and_types_narrow_the_fields(client: TestClient) -> None:
    def names(query: str) -> list[str]:
        return list(client.get(f"/logs/_field_caps?{query}").json()["fields"])

    assert ["meta", "meta.kind"] == names("fields=meta*")
    assert ["meta.kind"] == names("fields=meta*&filters=-parent")
    assert ["_id", "_source"] == names("fields=*&filters=%2Bmetadata")
    assert ["n"] == names("fields=*&types=long")
    assert [] == names("fields=nothing")


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/_field_caps", None, "no fields specified"),
        ("/_field_caps?fields=a", {"fields": ["a"]}, "can't specify a request body"),
        ("/_field_caps?fields=a", {"runtime_mappings": {}}, "not [runtime_mappings]"),
        ("/_field_caps?fields=a&filters=colour", None, "Unknown filter [colour]"),
        ("/_field_caps?fields=a&include_empty_fields=false", None, "[include_empty_fields] can only be true"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: TestClient, path: str, body: Any, reason: str) -> None:
    answer = client.post(path, json=body) if body is not None else client.get(path)
    assert 400 == answer.status_code
    assert reason in answer.json()["error"]["reason"]


def test_an_index_that_there_is_not_is_not_found(client: TestClient) -> None:
    assert 404 == client.get("/nope/_field_caps?fields=*").status_code
