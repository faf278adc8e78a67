"""Words near those of a text, as the term suggester gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.serve import search

FIELDS = {"title": "text", "code": "keyword", "n": "integer"}
ONE = [{"title": "River deep", "code": "ABCD"}, {"title": "rivers run"}, {"title": "the river"}]
TWO = [{"title": "Driver river", "code": "ABXD"}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    readers = {"one": build(tmp_path / "1", FIELDS, ONE), "two": build(tmp_path / "2", FIELDS, TWO)}
    with TestClient(Starlette(routes=search.routes(Readers(readers)))) as client:
        yield client


def near(client: TestClient, term: dict[str, Any], text: str = "rivr", path: str = "/_search") -> Any:
    body = {"size": 0, "suggest": {"text": text, "s": {"term": {"field": "title", **term}}}}
    answer = client.post(path, json=body)
    assert 200 == answer.status_code, answer.text
    return answer.json()["suggest"]["s"]


def test_a_word_that_is_missing_gets_those_near_it(client: TestClient) -> None:
    [entry] = near(client, {})
    assert ("rivr", 0, 4) == (entry["text"], entry["offset"], entry["length"])
    assert [("river", 0.75, 3), ("rivers", 0.5, 1)] == [
        (option["text"], option["score"], option["freq"]) for option in entry["options"]
    ]


def test_each_word_has_its_place_and_known_ones_have_no_options(client: TestClient) -> None:
    entries = near(client, {}, "Deep rivr")
    assert [("deep", 0, []), ("rivr", 5, ["river", "rivers"])] == [
        (each["text"], each["offset"], [option["text"] for option in each["options"]]) for each in entries
    ]


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ({"suggest_mode": "always"}, "rivers", ["river"]),
        ({"suggest_mode": "popular"}, "rivers", ["river"]),
        ({"suggest_mode": "popular"}, "river", []),
        ({"max_edits": 1}, "rivr", ["river"]),
        ({"size": 1}, "rivr", ["river"]),
        ({"prefix_length": 0}, "xiver", ["river", "driver", "rivers"]),
        ({"min_word_length": 6}, "rivr", []),
        ({"field": "code"}, "ABCX", ["ABCD", "ABXD"]),
        ({"sort": "frequency"}, "rivr", ["river", "rivers"]),
    ],
)
def test_options_of_a_suggestion(client: TestClient, term: Any, text: str, found: list[str]) -> None:
    assert found == [option["text"] for option in near(client, term, text)[0]["options"]]


@pytest.mark.parametrize(
    ("suggest", "said"),
    [
        ({"s": {"text": "x", "completion": {"field": "title"}}}, "suggester [completion] is not supported"),
        ({"s": {"text": "x", "phrase": {"field": "title"}}}, "suggester [phrase] is not supported"),
        ({"s": {"term": {"field": "title"}}}, "needs a [text]"),
        ({"s": {"text": "x"}}, "needs a [term]"),
        ({"s": {"text": "x", "term": {"field": "n"}}}, "of type text and keyword, [n] is integer"),
        (
            {"s": {"text": "x", "term": {"field": "other"}}},
            "[other] is a dynamic one: declare it as text or keyword (PUT /{index}/_mapping)",
        ),
        ({"s": {"text": "x", "term": {"field": "title", "max_edits": 3}}}, "[max_edits]"),
        ({"s": {"text": "x", "term": {"field": "title", "accuracy": 3}}}, "no option [accuracy]"),
        ({"s": {"text": "x " * 11, "term": {"field": "title"}}}, "at most 10 words"),
    ],
)
def test_what_cannot_be_suggested_is_refused(client: TestClient, suggest: Any, said: str) -> None:
    answer = client.post("/_search", json={"suggest": suggest})
    assert (400, True) == (answer.status_code, said in answer.json()["error"]["reason"]), answer.text


@pytest.mark.parametrize("path", ["/one/_search?scroll=1m", "/_msearch"])
def test_elsewhere_it_is_refused_and_not_ignored(client: TestClient, path: str) -> None:
    body = b'{"suggest":{"s":{"text":"x","term":{"field":"title"}}}}\n'
    sent = b'{"index":"one"}\n' + body if path == "/_msearch" else body
    answer = client.post(path, content=sent, headers={"Content-Type": "application/x-ndjson"})
    assert "[suggest]" in answer.text
    assert "400" in answer.text
