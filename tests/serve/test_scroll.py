"""Scrolls and points in time: pages of one commit, whatever becomes of the index meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.core.errors import RequestError
from headrace.index.tantivy import store
from headrace.index.tantivy.reader import TantivyReader
from headrace.serve import leases, search
from headrace.serve.leases import Leases
from headrace.serve.searches import Part
from tick import TickClock

DOCUMENTS = [{"n": number, "k": "even" if number % 2 == 0 else "odd", "t": "word"} for number in range(23)]
FIELDS = {"n": "integer", "k": "keyword", "t": "text"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "a", FIELDS, DOCUMENTS[:15], commit_every=4)
    build(tmp_path / "b", FIELDS, [{"_id": f"b{d['n']}", **d} for d in DOCUMENTS[15:]], commit_every=4)
    return tmp_path


@pytest.fixture
def clock() -> TickClock:
    return TickClock()


@pytest.fixture
def client(folder: Path, clock: TickClock) -> Iterator[TestClient]:
    readers = Readers({name: TantivyReader(folder / name) for name in "ab"})
    with TestClient(Starlette(routes=search.routes(readers, clock=clock))) as client:
        yield client


def _rest(client: TestClient, answer: Any) -> list[int]:
    """The numbers of all pages."""
    found = []
    while answer["hits"]["hits"]:
        found += [hit["_source"]["n"] for hit in answer["hits"]["hits"]]
        body = {"scroll": "1m", "scroll_id": answer["_scroll_id"]}
        answer = client.post("/_search/scroll", json=body).json()
    return found


@pytest.mark.parametrize(
    "body",
    [
        {"sort": ["_doc"]},
        {"sort": ["_doc"], "query": {"match": {"t": "word"}}},
        {"sort": [{"k": "desc"}, {"n": "desc"}]},
        {},
        {"query": {"match": {"t": "word"}}},
        {"query": {"bool": {"should": [{"term": {"k": "odd"}}, {"match": {"t": "word"}}]}}},
    ],
)
@pytest.mark.parametrize(("index", "expected"), [("a", 15), ("a,b", 23)])
def test_a_scroll_gives_every_document_once(
    client: TestClient, index: str, expected: int, body: dict[str, Any]
) -> None:
    first = client.post(f"/{index}/_search?scroll=1m&size=4", json=body).json()
    assert expected == first["hits"]["total"]["value"]
    assert {"total", "successful", "skipped", "failed"} == set(first["_shards"])
    assert ("sort" in body) == ("sort" in first["hits"]["hits"][0])
    found = _rest(client, first)
    assert expected == len(found)
    assert list(range(expected)) == sorted(found)


def test_pages_stay_as_they_were_while_documents_go_and_segments_are_merged(
    client: TestClient, folder: Path
) -> None:
    first = client.post("/a/_search?scroll=1m&size=3", json={"sort": ["n"]}).json()
    pit = client.post("/a/_pit?keep_alive=1m").json()["id"]
    before = {path.name for path in (folder / "a" / store.ENGINE).iterdir()}
    _rewrite(folder / "a")
    after = {path.name for path in (folder / "a" / store.ENGINE).iterdir()}
    assert any(name.endswith(".store") for name in before - after), "segments were deleted"
    assert 12 == client.get("/a/_count").json()["count"]
    assert list(range(15)) == _rest(client, first)
    body = {"pit": {"id": pit}, "sort": ["n"], "size": 100, "aggs": {"x": {"terms": {"field": "k"}}}}
    answer = client.post("/_search", json=body).json()
    assert list(range(15)) == [hit["_source"]["n"] for hit in answer["hits"]["hits"]]
    assert 15 == sum(bucket["doc_count"] for bucket in answer["aggregations"]["x"]["buckets"])


def _rewrite(directory: Path) -> None:
    """Delete every document, commit, and add others: all old segments go."""
    index = store.open_engine(directory)
    writer = index.writer(30_000_000, 1)
    for number in range(15):
        writer.delete_documents_by_term("_id", str(number))
    writer.commit()
    for number in range(12):
        writer.add_json('{"_id": "new%d", "_seq": %d, "n": 99}' % (number, 100 + number))  # noqa: UP031
    writer.commit()
    writer.garbage_collect_files()
    writer.wait_merging_threads()


def test_a_point_in_time_is_paged_by_search_after_in_both_dialects(client: TestClient) -> None:
    elastic = client.post("/a,b/_pit?keep_alive=1m").json()["id"]
    there = client.post("/a,b/_search/point_in_time?keep_alive=1m").json()
    assert {"pit_id", "_shards", "creation_time"} == set(there)
    for pit in (elastic, there["pit_id"]):
        body: dict[str, Any] = {"pit": {"id": pit, "keep_alive": "1m"}, "size": 5, "sort": [{"k": "asc"}]}
        found: list[int] = []
        while True:
            answer = client.post("/_search", json=body).json()
            assert pit == answer["pit_id"]
            if not answer["hits"]["hits"]:
                break
            found += [hit["_source"]["n"] for hit in answer["hits"]["hits"]]
            body["search_after"] = answer["hits"]["hits"][-1]["sort"]
        assert list(range(23)) == sorted(found)
    assert [there["pit_id"]] == [
        pit["pit_id"]
        for pit in client.get("/_search/point_in_time/_all").json()["pits"]
        if pit["pit_id"] != elastic
    ]
    closed = client.request("DELETE", "/_search/point_in_time", json={"pit_id": [there["pit_id"]]}).json()
    assert [{"successful": True, "pit_id": there["pit_id"]}] == closed["pits"]
    assert {"succeeded": True, "num_freed": 1} == client.request(
        "DELETE", "/_pit", json={"id": elastic}
    ).json()
    assert 404 == client.request("DELETE", "/_pit", json={"id": elastic}).status_code


def test_what_expired_is_missing_as_elasticsearch_words_it(client: TestClient, clock: TickClock) -> None:
    scroll = client.post("/a/_search?scroll=1m&size=1").json()["_scroll_id"]
    pit = client.post("/a/_pit?keep_alive=5m").json()["id"]
    clock.advance(59)
    assert 200 == client.get(f"/_search/scroll?scroll_id={scroll}").status_code
    clock.advance(59)
    assert 200 == client.get(f"/_search/scroll/{scroll}").status_code
    clock.advance(61)
    answer = client.post("/_search/scroll", json={"scroll_id": scroll})
    assert 404 == answer.status_code
    assert "search_context_missing_exception" == answer.json()["error"]["root_cause"][0]["type"]
    assert f"No search context found for id [{scroll}]" == answer.json()["error"]["reason"]
    assert 200 == client.post("/_search", json={"pit": {"id": pit}}).status_code
    assert 404 == client.post("/_search/scroll", json={"scroll_id": pit}).status_code


def test_scrolls_are_cleared_one_several_or_all(client: TestClient) -> None:
    one, two, three, four = (client.post("/a/_search?scroll=1m").json()["_scroll_id"] for _ in range(4))
    client.post("/a/_pit?keep_alive=1m")
    freed = client.request("DELETE", "/_search/scroll", json={"scroll_id": [one, two]}).json()
    assert {"succeeded": True, "num_freed": 2} == freed
    assert 1 == client.delete(f"/_search/scroll/{three}").json()["num_freed"]
    assert 1 == client.delete("/_search/scroll/_all").json()["num_freed"]
    assert 404 == client.post("/_search/scroll", json={"scroll_id": four}).status_code


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/a/_search?scroll=soon", {}, "failed to parse setting [scroll] with value [soon]"),
        ("/a/_search?scroll=2d", {}, "at most 24h"),
        ("/a/_search?scroll=1m", {"from": 1}, "a scroll begins at the first hit"),
        ("/a/_search?scroll=1m", {"size": 0}, "[size] cannot be [0]"),
        ("/a/_pit", {}, "[keep_alive] is not specified"),
        ("/_search/scroll", {}, "scroll_id is missing"),
        ("/a/_search", {"pit": {"id": "x"}}, "cannot be used with point in time"),
        ("/_search", {"pit": "x"}, "[pit] is an object"),
    ],
)
def test_a_wrong_scroll_is_told_what_is_wrong(
    client: TestClient, path: str, body: dict[str, Any], told: str
) -> None:
    answer = client.post(path, json=body)
    assert 400 == answer.status_code
    assert told in answer.json()["error"]["reason"]


@pytest.mark.anyio
async def test_leases_are_bounded_in_number_and_commits_and_let_go_when_they_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickClock()
    held = Leases(clock)
    part = Part("a", build(tmp_path / "a", FIELDS, DOCUMENTS[:1]).view())
    monkeypatch.setattr(leases, "MOST", 2)
    held.hold([part], 10)
    held.hold([part], 20)
    with pytest.raises(RequestError, match="2 scrolls and points in time are open") as refused:
        held.hold([part], 10)
    assert 429 == refused.value.status
    clock.advance(15)
    monkeypatch.setattr(leases, "MOST_COMMITS", 1)
    other = Part("b", build(tmp_path / "b", FIELDS, DOCUMENTS[:1]).view())
    with pytest.raises(RequestError, match="1 different commits are held"):
        held.hold([other], 10)
    clock.advance(10)
    held.hold([other], 10)
    assert 1 == len(held.all(scroll=False))


@pytest.mark.anyio
async def test_what_expired_is_let_go_although_nobody_asks(tmp_path: Path) -> None:
    clock = TickClock()
    held = Leases(clock)
    held.hold([Part("a", build(tmp_path / "a", FIELDS, DOCUMENTS[:1]).view())], 0.01)
    clock.advance(1)
    await anyio.sleep(0.2)  # the event loop's own timer cannot be held in the hand
    assert {} == held._held
