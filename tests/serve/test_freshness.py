"""Reads that wait for writes, and searches that say how far what they saw reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.core.errors import RequestError
from headrace.index.tantivy import store
from headrace.index.tantivy.positions import PositionDocument
from headrace.index.tantivy.reader import TantivyReader
from headrace.model import Outcome, Position
from headrace.serve import documents, search, tokens
from headrace.serve.freshness import Realtime
from headrace.serve.given import seconds
from headrace.serve.names import Target
from headrace.serve.tokens import Token
from tick import TickClock

KEY = ("push:a", "push:inc:uuid-a")


class Buffer:
    """What was accepted, of a buffer of one incarnation."""

    incarnation = "inc"

    def __init__(self) -> None:
        self.records = {"uuid-a": 3}

    def accepted(self, log: str) -> int:
        return self.records.get(log, 0)


def commit(directory: Path, record: int, name: str) -> None:
    """One more document, and the position that covers it, in one commit."""
    position = PositionDocument(pipeline=KEY[0], partition=KEY[1], position=Position(record))
    writer = store.open_engine(directory).writer(30_000_000, 1)
    writer.delete_documents_by_term("_pos", position.term)
    writer.add_json(position.engine_line)
    writer.add_json(json.dumps({"_id": name, "_seq": record, "n": record}))
    writer.commit()
    writer.wait_merging_threads()


class Ingester:
    """Commits when it is asked to, or is away."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[tuple[str, int, str, bool]] = []
        self.away = False

    async def wait(
        self,
        target: Target,
        record: int,
        *,
        level: str,
        results: Sequence[tuple[int, int]] = (),
        force: bool = False,
        within: float = 30.0,
    ) -> list[Outcome]:
        self.asked.append((target.index, record, level, force))
        if self.away:
            raise RequestError(503, "outcome_unknown", "the ingester is away")
        commit(self.directory, record, "new")
        return []


class CommittingClock(TickClock):
    """At its third sleep somebody commits."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if len(self.slept) == 3:
            commit(self.directory, 5, "new")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    positions = {KEY: 3, (KEY[0], "push:before:uuid-a"): 99, ("files", "x#1"): 7, ("files", "y#1"): 2}
    build(tmp_path / "a", {"n": "integer"}, [{"n": 1}], positions=positions)
    return tmp_path / "a"


@pytest.fixture
def readers(folder: Path) -> Readers:
    return Readers({"a": TantivyReader(folder), "b": TantivyReader(folder)})


@pytest.fixture
def ingester(folder: Path) -> Ingester:
    return Ingester(folder)


@pytest.fixture
def clock(folder: Path) -> CommittingClock:
    return CommittingClock(folder)


@pytest.fixture
def client(readers: Readers, ingester: Ingester, clock: CommittingClock) -> Iterator[TestClient]:
    realtime = Realtime(Buffer(), ingester)
    routes = [
        *search.routes(readers, realtime=realtime, clock=clock),
        *documents.routes(readers, realtime=realtime, clock=clock),
    ]
    with TestClient(Starlette(routes=routes)) as client:
        yield client


def token(**changes: Any) -> str:
    given: dict[str, Any] = {
        "index": "a", "uuid": "uuid-a", "pipeline": KEY[0], "incarnation": "inc", "log": "uuid-a", "record": 5,
    }  # fmt: skip
    return tokens.encode([Token(**{**given, **changes})])


@pytest.mark.parametrize("path", ["/a/_search", "/a/_count", "/a,b/_search", "/a/_doc/0", "/a/_mget"])
def test_every_answer_says_how_far_each_index_is(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"ids": ["0"]}) if "_mget" in path else client.get(path)
    expected = {
        "push:a": {"kind": "push", "visible": 3, "accepted": 3},
        "files": {"kind": "source", "partitions": 2, "visible": 9},
    }
    assert expected == json.loads(answer.headers["Headrace-Freshness"])["a"]
    assert " " not in answer.headers["Headrace-Freshness"]


@pytest.mark.parametrize("path", ["/a/_search", "/a/_count", "/_search", "/a/_doc/new"])
@pytest.mark.parametrize("in_header", [True, False])
def test_a_search_waits_until_its_own_commit_covers_the_token(
    client: TestClient, clock: CommittingClock, ingester: Ingester, path: str, *, in_header: bool
) -> None:
    """It looks every 2 ms where few wait, and forces nothing."""
    headers = {"Headrace-After": token()} if in_header else {}
    answer = client.get(path, headers=headers, params={} if in_header else {"after": token()})
    assert 200 == answer.status_code
    assert 5 == json.loads(answer.headers["Headrace-Freshness"])["a"]["push:a"]["visible"]
    assert [0.002, 0.002, 0.002] == clock.slept
    assert [] == ingester.asked


def test_what_is_covered_already_is_not_waited_for(client: TestClient, clock: CommittingClock) -> None:
    assert 200 == client.get("/a/_search", params={"after": token(record=3)}).status_code
    assert 200 == client.get("/a,b/_search", params={"after": token(record=3)}).status_code
    assert [] == clock.slept


def test_a_wait_that_is_too_long_says_how_far_the_index_is(client: TestClient) -> None:
    answer = client.get("/a/_search", params={"after": token(record=9), "timeout": "100ms"})
    assert 504 == answer.status_code
    assert "timeout_exception" == answer.json()["error"]["type"]
    assert "[a] is visible up to record 5, not yet 9" == answer.json()["error"]["reason"]


def test_a_wait_ends_when_the_server_is_told_to_stop(readers: Readers, clock: CommittingClock) -> None:
    """At the look after it, as what is safe to repeat; what need not wait is answered still."""
    routes = search.routes(readers, clock=clock, stopping=lambda: len(clock.slept) == 2)
    with TestClient(Starlette(routes=routes)) as client:
        answer = client.get("/a/_search", params={"after": token(record=9)})
        assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
        assert "the server is stopping, safe to repeat" == answer.json()["error"]["reason"]
        assert 2 == len(clock.slept)
        assert 200 == client.get("/a/_search", params={"after": token(record=3)}).status_code


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (token(index="gone"), 404, "it was deleted since"),
        (token(uuid="other"), 400, "deleted and made again"),
        (token(incarnation="old"), 400, "the buffer that accepted it was thrown away"),
        (token(index="b", uuid="uuid-b"), 400, "a write to [b], which is not among what is searched: [a]"),
        ("nonsense", 400, "not a token"),
    ],
)
def test_a_token_that_means_nothing_any_more_is_explained(
    client: TestClient, given: str, status: int, told: str
) -> None:
    answer = client.get("/a/_search", params={"after": given})
    assert status == answer.status_code
    assert told in answer.json()["error"]["reason"]


@pytest.mark.parametrize("path", ["/a/_doc/new", "/a/_source/new", "/a/_mget"])
def test_a_document_that_was_accepted_is_read(
    client: TestClient, ingester: Ingester, readers: Readers, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Buffer, "accepted", lambda _, log: 4 if log == "uuid-a" else 0)
    body = {"ids": ["new"]}
    answer = client.post(path, json=body) if "_mget" in path else client.get(path)
    assert 200 == answer.status_code
    assert [("a", 4, "visible", True)] == ingester.asked
    assert "_mget" not in path or answer.json()["docs"][0]["found"]


def test_nothing_is_asked_of_the_ingester_where_all_is_visible_or_realtime_is_off(
    client: TestClient, ingester: Ingester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 200 == client.get("/a/_doc/0").status_code
    monkeypatch.setattr(Buffer, "accepted", lambda *_: 4)
    assert 404 == client.get("/a/_doc/new?realtime=false").status_code
    assert [] == ingester.asked


def test_without_the_ingester_a_realtime_read_says_so(
    client: TestClient, ingester: Ingester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Buffer, "accepted", lambda *_: 4)
    ingester.away = True
    assert 503 == client.get("/a/_doc/0").status_code
    assert 200 == client.get("/a/_doc/0?realtime=false").status_code


def test_times_are_read_as_elasticsearch_writes_them() -> None:
    assert [0.5, 30, 60, 0, float("inf")] == [seconds(t, "x") for t in ("500ms", "30s", "1m", "0", "-1")]
