"""Writes by query: what is found is written on condition, counted and answered as Elasticsearch does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers, build
from headrace.buffer.writer import Buffer
from headrace.core.clock import SystemClock
from headrace.core.errors import RequestError
from headrace.index.base import Reader
from headrace.serve import byquery
from headrace.serve.names import Target
from headrace.serve.push import Push
from headrace.serve.reads import Reads
from intake import BOUNDS, Model, Operation, entries, operations

FIELDS = {"n": "integer", "word": "keyword"}
DOCUMENTS = [{"_id": f"d{n}", "n": n, "word": "even" if n % 2 == 0 else "odd"} for n in range(10)]


class Both(Readers):
    """Indexes to be read, and new ones made at their first write."""

    def __init__(self, readers: dict[str, Reader]) -> None:
        super().__init__(readers)
        self.made: dict[str, Target] = {}
        self.key: tuple[str, ...] = ()

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        return self.made.get(name) or super().target(name)

    async def create(self, name: str) -> Target:
        self.made[name] = Target(name, f"uuid-{name}", f"uuid-{name}", f"push:{name}", self.key)
        return self.made[name]


@dataclass
class Running:
    client: TestClient
    model: Model
    indices: Both
    directory: Path

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.client.post(path, json=body if body is not None else {})
        assert status == answer.status_code, answer.text
        return answer.json()

    def stored(self, index: str = "things") -> list[Operation]:
        return operations(entries(self.directory, f"uuid-{index}"))

    def documents(self, index: str = "things") -> dict[str, tuple[int, Any]]:
        return self.model.documents.get(f"uuid-{index}", {})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """An index of ten documents, and behind the socket the same ones."""
    reader = build(tmp_path / "things", FIELDS, DOCUMENTS, commit_every=4, positions={("p", "q"): 10})
    indices = Both({"things": reader})
    directory = tmp_path / "buffer"
    model = Model(directory)
    model.documents["uuid-things"] = {
        str(each["_id"]): (seq, {"n": each["n"], "word": each["word"]}) for seq, each in enumerate(DOCUMENTS)
    }
    buffer = Buffer(directory, BOUNDS, SystemClock())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await buffer.open()
        yield
        await buffer.close()

    routes = byquery.routes(Reads(indices), Push(indices, buffer, model))
    with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
        yield Running(client, model, indices, directory)


def test_a_delete_by_query_deletes_what_it_found_and_counts_it(running: Running) -> None:
    answer = running.post("/things/_delete_by_query", {"query": {"term": {"word": "odd"}}})
    took = answer.pop("took")
    assert took >= 0
    expected = (
        '{"timed_out":false,"total":5,"deleted":5,"batches":1,"version_conflicts":0,"noops":0,'
        '"retries":{"bulk":0,"search":0},"throttled_millis":0,"requests_per_second":-1.0,'
        '"throttled_until_millis":0,"failures":[]}'
    )
    assert expected == json.dumps(answer, separators=(",", ":"))
    assert {"d0", "d2", "d4", "d6", "d8"} == set(running.documents())


def test_position_documents_are_never_touched(running: Running) -> None:
    """A query from a user sees none of them (PROTOCOL 3), so all that is deleted are its documents."""
    answer = running.post("/things/_delete_by_query", {"query": {"match_all": {}}})
    assert 10 == answer["total"] == answer["deleted"]
    assert {f"d{n}" for n in range(10)} == {one.id for one in running.stored()}


def test_each_document_is_deleted_on_condition_that_it_is_still_the_one_found(running: Running) -> None:
    running.post("/things/_delete_by_query?q=n:3")
    [one] = running.stored()
    assert ("d", "d3", 3, True) == (one.op, one.id, one.if_seq, one.exact)


def test_a_document_changed_meanwhile_is_a_conflict_that_ends_it(running: Running) -> None:
    running.documents()["d4"] = (77, {"n": 400})
    answer = running.post("/things/_delete_by_query?scroll_size=3", {"query": {"match_all": {}}}, 409)
    assert (10, 5, 1, 2) == tuple(
        answer[name] for name in ("total", "deleted", "version_conflicts", "batches")
    )
    [failure] = answer["failures"]
    assert ("things", "d4", 409) == (failure["index"], failure["id"], failure["status"])
    assert "version_conflict_engine_exception" == failure["cause"]["type"]
    assert {"d4", "d6", "d7", "d8", "d9"} == set(running.documents())


@pytest.mark.parametrize("gone", [False, True])
def test_with_proceed_conflicts_are_counted_and_the_rest_is_done(running: Running, gone: bool) -> None:
    """A document that is gone by now was changed too."""
    running.documents()["d4"] = (77, {"n": 400})
    if gone:
        del running.documents()["d4"]
    answer = running.post(
        "/things/_delete_by_query?conflicts=proceed&scroll_size=2", {"query": {"match_all": {}}}
    )
    assert (9, 1, 5, []) == (
        answer["deleted"],
        answer["version_conflicts"],
        answer["batches"],
        answer["failures"],
    )
    assert set() == set(running.documents()) - {"d4"}


def test_an_update_by_query_touches_each_document_and_changes_none(running: Running) -> None:
    before = {name: source for name, (_, source) in running.documents().items()}
    answer = running.post("/things/_update_by_query", {"query": {"range": {"n": {"lt": 3}}}})
    assert (3, 3, 0) == (answer["total"], answer["updated"], answer["deleted"])
    assert [("u", "d0", 0), ("u", "d1", 1), ("u", "d2", 2)] == [
        (one.op, one.id, one.if_seq) for one in running.stored()
    ]
    assert before == {name: source for name, (_, source) in running.documents().items()}


@pytest.mark.parametrize("path", ["_delete_by_query", "_update_by_query"])
def test_at_most_max_docs_are_taken(running: Running, path: str) -> None:
    body = {"query": {"match_all": {}}, "max_docs": 5}
    answer = running.post(f"/things/{path}?scroll_size=2", body)
    assert (5, 3) == (answer["total"], answer["batches"])
    assert 5 == answer.get("deleted", 0) + answer.get("updated", 0)


def test_refresh_waits_for_the_last_write_once(running: Running) -> None:
    running.post("/things/_delete_by_query?scroll_size=4&refresh=true", {"query": {"match_all": {}}})
    assert [
        ("uuid-things", 4, "applied", False),
        ("uuid-things", 8, "applied", False),
        ("uuid-things", 10, "applied", False),
        ("uuid-things", 10, "visible", True),
    ] == [wait[:4] for wait in running.model.waits]


def test_an_answer_carries_a_token_of_its_writes(running: Running) -> None:
    answer = running.client.post("/things/_delete_by_query?q=n:1", json={})
    assert answer.headers["Headrace-Token"]


def test_an_ingester_that_is_away_is_said_with_how_far_it_came(running: Running) -> None:
    running.model.away = RequestError(503, "outcome_unknown", "the ingester went away")
    answer = running.post("/things/_delete_by_query", {"query": {"match_all": {}}}, 503)
    assert "outcome_unknown" == answer["error"]["type"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/things/_delete_by_query", {}, "Validation Failed: 1: query is missing;"),
        ("/things/_delete_by_query", {"query": {"trem": {}}}, "unknown query [trem]"),
        ("/things/_delete_by_query?wait_for_completion=false", {"query": {"match_all": {}}}, "true only"),
        ("/things/_delete_by_query?conflicts=maybe", {"query": {"match_all": {}}}, '"proceed" or "abort"'),
        ("/things/_delete_by_query?max_docs=0", {"query": {"match_all": {}}}, "cannot be negative or zero"),
        ("/things/_delete_by_query", {"query": {"match_all": {}}, "slice": {"id": 0}}, "[slices] is taken"),
        ("/things/_delete_by_query", {"query": {"match_all": {}}, "sorts": 1}, "unknown key [sorts]"),
        ("/things/_update_by_query", {"script": {"source": "ctx._source.n++"}}, "_bulk [update]"),
        ("/things/_update_by_query?pipeline=geo", {}, "`transform`"),
        ("/things/_update_by_query?scroll_size=0", {}, "[scroll_size] is from 1"),
        ("/things/_update_by_query?requests_per_second=0", {}, "a number above 0"),
        ("/_reindex", {"source": {"index": "things"}}, "[dest] of _reindex must be an object"),
        ("/_reindex", {"source": {"index": "things"}, "dest": {"index": "things"}}, "cannot write into an index"),
        ("/_reindex", {"source": {"index": "things", "remote": {"host": "x"}}, "dest": {"index": "y"}}, "remote"),
        ("/_reindex", {"source": {"index": "things"}, "dest": {"index": "y"}, "script": {"source": "x"}}, "script"),
        ("/_reindex", {"source": {"index": "things"}, "dest": {"index": "y", "op_type": "update"}}, "opType"),
        ("/_reindex", {"source": {"index": "things"}, "dest": {"index": "y", "version_type": "external"}}, "create"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_before_anything_is_written(
    running: Running, path: str, body: Any, said: str
) -> None:
    answer = running.post(path, body, 400)
    assert said in answer["error"]["reason"]
    assert 10 == len(running.documents())
    assert {} == running.indices.made


def test_an_index_that_is_not_there_is_a_404(running: Running) -> None:
    running.post("/nothing/_delete_by_query", {"query": {"match_all": {}}}, 404)
    running.post("/_reindex", {"source": {"index": "nothing"}, "dest": {"index": "y"}}, 404)


def test_a_reindex_copies_under_the_same_ids(running: Running) -> None:
    body = {"source": {"index": "things", "size": 4}, "dest": {"index": "copy"}}
    answer = running.post("/_reindex", body)
    assert (10, 10, 0, 3) == tuple(answer[name] for name in ("total", "created", "updated", "batches"))
    assert running.documents("copy") == {
        name: (record, source) for record, (name, (_, source)) in enumerate(running.documents().items())
    }
    assert 10 == running.post("/_reindex", body)["updated"]


def test_a_reindex_takes_a_query_and_parts_of_documents(running: Running) -> None:
    source = {"index": ["things"], "query": {"term": {"word": "odd"}}, "_source": ["n"]}
    answer = running.post("/_reindex", {"source": source, "dest": {"index": "copy"}, "max_docs": 2})
    assert 2 == answer["created"]
    assert [{"n": 1}, {"n": 3}] == [source for _, source in running.documents("copy").values()]


def test_a_reindex_that_creates_leaves_alone_what_is_there(running: Running) -> None:
    source = {"index": "things"}
    running.post("/_reindex", {"source": {**source, "query": {"term": {"n": 3}}}, "dest": {"index": "copy"}})
    body = {"source": source, "dest": {"index": "copy", "op_type": "create"}}
    answer = running.post("/_reindex", {**body, "conflicts": "proceed"})
    assert (9, 1) == (answer["created"], answer["version_conflicts"])
    answer = running.post("/_reindex", body, 409)
    assert (0, 10, 10) == (answer["created"], answer["version_conflicts"], len(answer["failures"]))


def test_where_fields_decide_ids_they_do_so_in_a_copy(running: Running) -> None:
    running.indices.key = ("n",)
    running.post("/_reindex", {"source": {"index": "things"}, "dest": {"index": "copy"}})
    assert {None} == {one.id for one in running.stored("copy")}
