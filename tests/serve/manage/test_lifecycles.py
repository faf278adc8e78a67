"""Lifecycle policies: kept for those who look whether they are there, and nothing more, which is said."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from headrace.serve.manage.base import warning

POLICY = {"policy": {"phases": {"delete": {"min_age": "30d", "actions": {"delete": {}}}}}}


def test_a_policy_is_kept_and_said_not_to_be_carried_out(client: TestClient) -> None:
    answer = client.put("/_ilm/policy/short", json=POLICY)
    assert answer.json()["acknowledged"]
    assert "not carried out" in answer.headers["Warning"]
    client.put("/_ilm/policy/short", json=POLICY)
    found = client.get("/_ilm/policy/short").json()["short"]
    assert (2, POLICY["policy"]) == (found["version"], found["policy"])
    assert "STOPPED" == client.get("/_ilm/status").json()["operation_mode"]
    client.put("/things")
    assert {"things": {"index": "things", "managed": False}} == client.get("/things/_ilm/explain").json()[
        "indices"
    ]
    assert client.delete("/_ilm/policy/short").json()["acknowledged"]
    assert {} == client.get("/_ilm/policy").json()


def test_a_wrong_policy_is_refused(client: TestClient) -> None:
    assert 400 == client.put("/_ilm/policy/p", json={"phases": {}}).status_code
    assert 400 == client.post("/_ilm/start").status_code


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a,b", "must not contain ','"),
        ("a b", "must not contain spaces"),
        ("_a", "must not start with '_'"),
        ("é" * 128, "name is too long, (256 > 255)"),
    ],
)
def test_a_policy_that_could_not_be_asked_for_again_is_refused(
    client: TestClient, name: str, says: str
) -> None:
    answer = client.put(f"/_ilm/policy/{name}", json=POLICY)
    assert (400, f"invalid policy name [{name}]: {says}") == (
        answer.status_code,
        answer.json()["error"]["reason"],
    )
    assert {} == client.get("/_ilm/policy").json()


def test_any_name_can_be_in_a_warning() -> None:
    """A header holds no control character and nothing beyond Latin: found by the drawn requests."""
    told = warning(['policy [¡\x04\x7f€😀\ud8fd] is "kept"\n'])["Warning"]
    assert "299 Headrace \"policy [\\xa1\\x04\\x7f\\u20ac\\U0001f600\\ud8fd] is 'kept'\"" == told
