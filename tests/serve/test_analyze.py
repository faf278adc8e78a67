"""The words of a text, with their places in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.catalogue.store import Keeper
from headrace.core.health import State
from headrace.index.tantivy import tokens
from headrace.layout import catalogue_file
from headrace.serve import analyze
from headrace.serve.indices import ServerIndices
from headrace.serve.manage import Surroundings, indexes

BOOKS: dict[str, Any] = {
    "settings": {
        "analysis": {
            "analyzer": {"mine": {"tokenizer": "whitespace", "filter": ["lowercase", "asciifolding"]}},
            "normalizer": {"folded": {"type": "custom", "filter": ["lowercase", "asciifolding"]}},
        }
    },
    "mappings": {
        "properties": {
            "title": {"type": "text", "analyzer": "mine"},
            "author": {"type": "keyword", "normalizer": "folded"},
            "year": {"type": "integer"},
        }
    },
}


async def ready() -> tuple[State, Any]:
    return State.READY, {}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    indices = ServerIndices({}, Keeper(catalogue_file(tmp_path)), tmp_path)
    routes = [*analyze.routes(indices), *indexes.routes(Surroundings(indices, ready))]
    with TestClient(Starlette(routes=routes)) as client:
        assert 200 == client.put("/books", json=BOOKS).status_code
        yield client


def words(client: TestClient, body: Any, path: str = "/_analyze") -> list[str]:
    answer = client.post(path, json=body)
    assert 200 == answer.status_code, answer.text
    return [token["token"] for token in answer.json()["tokens"]]


def test_tokens_have_their_places_byte_for_byte(client: TestClient) -> None:
    """A character beyond the first plane counts as two, as it does to Elasticsearch."""
    expected = (
        '{"tokens":[{"token":"größe","start_offset":0,"end_offset":5,"type":"<ALPHANUM>","position":0},'
        '{"token":"42","start_offset":9,"end_offset":11,"type":"<NUM>","position":1}]}'
    )
    answer = client.post("/_analyze", json={"analyzer": "standard", "text": "Größe 😀 42"})
    assert expected == answer.text


def test_the_values_of_a_list_are_apart(client: TestClient) -> None:
    answer = client.post("/_analyze", json={"text": ["one two", "three"]}).json()["tokens"]
    assert [(0, 0), (4, 1), (8, 102)] == [(each["start_offset"], each["position"]) for each in answer]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"analyzer": "whitespace", "text": "The QUICK-fox"}, ["The", "QUICK-fox"]),
        ({"analyzer": "keyword", "text": "The fox"}, ["The fox"]),
        ({"analyzer": "english", "text": "the foxes running"}, ["fox", "run"]),
        ({"tokenizer": "whitespace", "filter": ["lowercase"], "text": "The Fox"}, ["the", "fox"]),
        ({"filter": ["lowercase"], "text": "The Fox"}, ["the fox"]),
        ({"tokenizer": {"type": "ngram", "min_gram": 2, "max_gram": 2}, "text": "abc"}, ["ab", "bc"]),
        (
            {"tokenizer": "standard", "filter": [{"type": "stop", "stopwords": ["a"]}], "text": "a b"},
            ["b"],
        ),
        ({"normalizer": "lowercase", "text": "The Fox"}, ["the fox"]),
    ],
)
def test_an_analyzer_by_its_name_or_by_its_parts(client: TestClient, body: Any, found: list[str]) -> None:
    assert found == words(client, body)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"field": "title", "text": "Crème-de la"}, ["creme-de", "la"]),
        ({"field": "author", "text": "Émile Zola"}, ["emile zola"]),
        ({"field": "year", "text": "1885"}, ["1885"]),
        ({"field": "unknown", "text": "Any Words"}, ["any", "words"]),
        ({"field": "unknown.keyword", "text": "Any Words"}, ["Any Words"]),
        ({"analyzer": "mine", "text": "É a"}, ["e", "a"]),
        ({"normalizer": "folded", "text": "É a"}, ["e a"]),
    ],
)
def test_a_text_as_an_index_has_it(client: TestClient, body: Any, found: list[str]) -> None:
    assert found == words(client, body, "/books/_analyze")


def test_a_get_takes_its_body_from_the_url(client: TestClient) -> None:
    assert ["a", "b"] == [each["token"] for each in client.get("/_analyze?text=a+b").json()["tokens"]]


def test_what_cannot_be_done_is_said_beside_the_tokens(client: TestClient) -> None:
    body = {"tokenizer": "standard", "filter": ["reverse"], "text": "abc"}
    answer = client.post("/_analyze", json=body)
    assert ["abc"] == [each["token"] for each in answer.json()["tokens"]]
    assert "without the filter [reverse]" in answer.headers["Warning"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/_analyze", {}, "text is missing"),
        ("/_analyze", {"text": 3}, "text is missing"),
        ("/_analyze", {"text": "a", "analyzer": "stndard"}, "failed to find global analyzer [stndard]"),
        ("/_analyze", {"text": "a", "tokenizer": "x"}, "failed to find tokenizer"),
        ("/_analyze", {"text": "a", "field": "title"}, "needs an index in the path"),
        ("/_analyze", {"text": "a", "explain": True}, "[explain] of _analyze is not supported"),
        ("/_analyze", {"text": "a", "analyser": "x"}, "unknown key [analyser]"),
    ],
)
def test_a_wrong_request_is_refused(client: TestClient, path: str, body: Any, said: str) -> None:
    answer = client.post(path, json=body)
    assert (400, True) == (answer.status_code, said in answer.json()["error"]["reason"]), answer.text
    assert 404 == client.post("/nothing/_analyze", json={"text": "a"}).status_code


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"text": "a " * 500_000}, "has exceeded [10000]"),
        ({"text": ["a " * 50_000] * 10}, "has exceeded [10000]"),
        ({"text": "x" * 1_000_000, "tokenizer": {"type": "ngram", "min_gram": 1, "max_gram": 50}}, "has exceeded [10000]"),
        ({"text": "a" * 200_000 + " a" * 400_000}, "has exceeded [10000]"),
        ({"text": "\U0001f30a " * 500_000, "analyzer": "whitespace"}, "has exceeded [10000]"),
        ({"text": "a" * ((1 << 20) + 1)}, "has 1048577 characters, at most 1048576"),
        ({"text": "a", "filter": [{"type": "stop", "stopwords": ["word"] * 20_000}]}, "characters of filters and words"),
        ({"text": [""] * 10_001}, "has 10001 values, at most 10000"),
    ],
)  # fmt: skip
def test_a_text_of_too_many_words_is_refused_before_they_are_made(
    client: TestClient, body: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than some ten thousand words, and those of one piece, are ever looked at."""
    seen = 0
    analysed = tokens.analysed

    def counted(spec: str, text: str) -> list[tokens.Word]:
        nonlocal seen
        found = analysed(spec, text)
        seen += len(found)
        return found

    monkeypatch.setattr(tokens, "analysed", counted)
    answer = client.post("/_analyze", json=body)
    assert 400 == answer.status_code
    assert reason in answer.json()["error"]["reason"]
    assert seen <= 2 * analyze.MOST + max(analyze.LARGEST_PIECE, analyze.PIECE * 50)


def test_ten_thousand_words_are_answered_wherever_they_stand(client: TestClient) -> None:
    """Offsets in UTF-16, each found without counting from the beginning."""
    text = "\U0001f30a" * 100_000 + "x" + ("\U0001f30a " + "y" * 30 + " ") * 9_999
    body = {"text": text, "tokenizer": "letter"}
    found = client.post("/_analyze", json=body).json()["tokens"]
    assert 10_000 == len(found)
    assert [200_000, 200_004] == [found[place]["start_offset"] for place in (0, 1)]
    assert 200_001 + 9_999 * 34 - 1 == found[-1]["end_offset"]


@given(st.text("a \U0001f30aé", max_size=40))
def test_an_offset_counts_what_utf_16_has(text: str) -> None:
    units = analyze._counting(text)
    for place in range(len(text) + 1):
        assert len(text[:place].encode("utf-16-le")) // 2 == units(place)
