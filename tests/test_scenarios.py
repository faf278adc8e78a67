"""Every scenario's request, answered by an index that the real writer wrote, or by a real service.

A scenario is `tests/scenarios/NNNN-topic.yaml`: the body of a search, and the part of the answer that it
expects: `ids` (in any order), `order` (exactly), or an error's status and part of its reason. `index` names
another than `flights`; `_NAME.yaml` has its documents, and its `fields` or Elasticsearch's `mappings`.

From 0600 on they are writes, to one service for all: a `method` (POST), a `path` (`/_bulk`), `lines` (objects, or
texts as they are) or a `body` (with its `encoding`), and what is expected: a `status`, an `error`'s reason or a part
of it, a part of the `answer`, a text that is `found` in its bytes, `exactly` the whole of it. Requests `before` and
`after` are of the same form. `INDEX` is an index of the scenario's own.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import pytest
from ruamel.yaml import YAML
from starlette.applications import Starlette
from starlette.testclient import TestClient

from built import Readers
from headrace.core.clock import SystemClock
from headrace.index.base import IndexContext
from headrace.index.mapping import from_elasticsearch
from headrace.index.tantivy import Settings, create
from headrace.index.tantivy.reader import TantivyReader
from headrace.model import RECORD, Batch, Decoded, Position, RawBatch
from headrace.serve import search
from services.running import Running, service

FOLDER = Path(__file__).parent / "scenarios"
ALL = sorted(FOLDER.glob("[0-9]*.yaml"))
SCENARIOS = [path for path in ALL if path.stem < "0600"]
WRITES = [path for path in ALL if path.stem >= "0600"]
CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""


class Decoded1:
    """The decoder of a batch that has been decoded already."""

    def decode(self, raw: RawBatch) -> Decoded:
        raise NotImplementedError

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return None


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    readers = {}
    for path in FOLDER.glob("_*.yaml"):
        name, given = path.stem.removeprefix("_"), YAML(typ="safe").load(path)
        directory = tmp_path_factory.mktemp(name)
        anyio.run(_write, directory, _options(given), given["documents"])
        readers[name] = TantivyReader(directory)
    app = Starlette(routes=search.routes(Readers(readers)))
    with TestClient(app) as client:
        yield client


def _options(given: dict[str, Any]) -> dict[str, Any]:
    if "fields" in given:
        return {"fields": given["fields"]}
    return from_elasticsearch(given["mappings"], given.get("settings", {})).options


async def _write(directory: Path, options: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    """Two commits, so that there are two segments."""
    keyed = [{"key": document["_id"], **document} for document in documents]
    settings = Settings(**{**options, "fields": {**options["fields"], "key": "keyword"}, "id": "key"})
    index = create(settings, IndexContext("flights", directory, SystemClock()))
    await index.open()
    for first in (0, 3):
        part = keyed[first : first + 3]
        rows = [{name: value for name, value in document.items() if name != "_id"} for document in part]
        frames = _frames(rows, first)
        raw = RawBatch("p", first, Position(first + len(part)), b"", Decoded1(), 1, "here", 0.0)
        assert [] == await index.write(Batch(f"b{first}", "flights", raw, frames, len(part)))
        await index.commit()
    await index.close()


def _frames(rows: list[dict[str, Any]], first: int) -> tuple[pl.DataFrame, ...]:
    """One frame, or one for each record where the same field is a value in one and a list in another."""
    shapes = {(name, isinstance(value, list)) for row in rows for name, value in row.items()}
    apart = len(shapes) > len({name for name, _ in shapes})
    frames = []
    for at, part in enumerate([[row] for row in rows] if apart else [rows], start=first):
        numbers = pl.Series(RECORD, range(at, at + len(part)), pl.Int64)
        frames.append(pl.DataFrame(part, infer_schema_length=None).with_columns(numbers))
    return tuple(frames)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(client: TestClient, path: Path) -> None:
    scenario = YAML(typ="safe").load(path)
    request = {name: value for name, value in scenario["request"].items() if value is not None}
    answer = client.post(f"/{scenario.get('index', 'flights')}/_search", json=request)
    expected, body = scenario["expect"], answer.json()
    assert expected.get("status", 200) == answer.status_code, body
    if "error" in expected:
        assert expected["error"] in body["error"]["reason"]
        return
    hits = body["hits"]["hits"]
    _check_hits(expected, hits)
    if "ids" in expected:
        assert len(expected["ids"]) == body["hits"]["total"]["value"]
    if "max_score" in expected:
        assert expected["max_score"] == body["hits"]["max_score"]
    if "aggregation" in expected:
        _contains(expected["aggregation"], body["aggregations"]["x"])


def _check_hits(expected: dict[str, Any], hits: list[dict[str, Any]]) -> None:
    if "ids" in expected:
        assert sorted(expected["ids"]) == sorted(hit["_id"] for hit in hits)
    if "order" in expected:
        assert expected["order"] == [hit["_id"] for hit in hits]
    if "count" in expected:
        assert expected["count"] == len(hits)
    if "source" in expected:
        assert expected["source"] == hits[0]["_source"]
    if "highlight" in expected:
        assert expected["highlight"] == hits[0]["highlight"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with service(tmp_path_factory.mktemp("writes"), CONFIGURATION) as found:
        found.until_ready()
        yield found


@pytest.mark.parametrize("path", WRITES, ids=lambda path: path.stem)
def test_write_scenario(running: Running, path: Path) -> None:
    scenario = YAML(typ="safe").load(path.read_text("utf-8").replace("INDEX", f"i{path.stem[:4]}"))
    for request in (*scenario.get("before", ()), scenario, *scenario.get("after", ())):
        status, content = _sent(running, request)
        _check_answer(request.get("expect", {}), status, content)


def _sent(running: Running, request: dict[str, Any]) -> tuple[int, bytes]:
    """Status and bytes of the answer."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in request.get("lines", ())]
    content = request.get("body", "".join(f"{line}\n" for line in lines))
    asked = urllib.request.Request(
        running.base + request.get("path", "/_bulk"),
        content.encode(request.get("encoding", "utf-8")),
        {"Content-Type": request.get("type", "application/x-ndjson")},
        method=request.get("method", "POST"),
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _check_answer(expected: dict[str, Any], status: int, content: bytes) -> None:
    assert expected.get("status", 200) == status, content
    assert expected.get("found", "").encode() in content
    if "exactly" in expected:
        assert expected["exactly"].encode() == content
    body = json.loads(content)
    _contains(expected.get("answer", {}), body)
    if "error" in expected:
        _contains(expected["error"], body["error"])


def _contains(expected: Any, found: Any) -> None:
    """Everything expected is there; more may be, and of a text that ends with `…` more may follow."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert name in found
            _contains(value, found[name])
    elif isinstance(expected, list):
        assert len(expected) == len(found), found
        for one, other in zip(expected, found, strict=True):
            _contains(one, other)
    elif isinstance(expected, str) and expected.endswith("…"):
        assert expected[:-1] == found[: len(expected) - 1]
    else:
        assert expected == found


def test_there_are_scenarios_for_every_kind_of_query_and_of_write() -> None:
    assert 60 <= len(SCENARIOS)
    assert 25 <= len(WRITES)
