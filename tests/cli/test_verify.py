"""Searching and verifying an index directory that a real run has made."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import pytest

import headrace
from headrace.app import build_ingester
from headrace.cli.app import FAILED, USAGE, run
from headrace.cli.search import parse_query
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.settings import loads

CONFIGURATION = """\
data_dir: state
indexes:
  sales: {type: tantivy, id: order, fields: {order: keyword, product: text, price: float}}
pipelines:
  sales:
    source: {type: files, paths: [sales.ndjson]}
    index: sales
"""
RECORDS = [
    {"order": "a", "product": "green tea", "price": 2.5},
    {"order": "b", "product": "black tea", "price": 1.5},
    {"order": "c", "product": "[red]\x1b[31mwine", "price": 9.0},
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sales")
    (base / "sales.ndjson").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    settings = loads(CONFIGURATION, base=base)
    settings.data_dir.mkdir()

    async def ingest() -> None:
        await build_ingester(settings, metrics=Metrics(), health=Health()).run(until_finished=True)

    anyio.run(ingest)
    return settings.data_dir


def test_hits_are_a_table_and_the_total_stands_apart(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["search", str(data_dir), "product:tea", "--sort", "price"])
    captured = capsys.readouterr()
    header, *rows = captured.out.splitlines()
    assert ["order", "product", "price"] == header.split()
    assert [["b", "black", "tea", "1.5"], ["a", "green", "tea", "2.5"]] == [row.split() for row in rows]
    assert "2 of 2 hits\n" == captured.err


def test_a_document_can_neither_colour_the_terminal_nor_use_its_markup(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["search", str(data_dir), "order:c"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red] [31mwine" in out


def test_json_is_the_answer_of_the_http_interface(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["search", str(data_dir), '{"term": {"order": "a"}}', "--json"])
    answer = json.loads(capsys.readouterr().out)
    [hit] = answer["hits"]["hits"]
    assert ("sales", "a", RECORDS[0]) == (hit["_index"], hit["_id"], hit["_source"])
    assert {"value": 1, "relation": "eq"} == answer["hits"]["total"]


def test_arrow_holds_the_documents_with_their_ids(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "hits.arrow"
    assert 0 == run(["search", str(data_dir), "*", "--sort", "order:desc", "--arrow", str(target)])
    frame = pl.read_ipc_stream(io.BytesIO(target.read_bytes()))
    assert (["c", "b", "a"], [9.0, 1.5, 2.5]) == (frame["_id"].to_list(), frame["price"].to_list())


def test_the_folder_of_the_index_itself_may_be_named(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["search", str(data_dir / "indexes" / "sales"), "*"])
    assert "3 of 3 hits\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--index", "sale"], USAGE, "did you mean 'sales'?"),
        (["{nope"], USAGE, "the query is not JSON"),
        (['{"terms": 5}'], USAGE, "terms"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(
    data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, expected: str
) -> None:
    assert code == run(["search", str(data_dir), *arguments])
    assert expected in capsys.readouterr().err


def test_a_missing_directory_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert USAGE == run(["search", str(tmp_path / "none"), "*"])
    assert "there is no index directory" in capsys.readouterr().err


def test_a_query_is_a_query_string_or_json() -> None:
    assert {"query": {"match_all": {}}} == parse_query("*")
    assert {"query": {"query_string": {"query": "a:b"}}} == parse_query("a:b")
    assert {"query": {"term": {"a": 1}}} == parse_query('{"term": {"a": 1}}')
    body = {"query": {"term": {"a": 1}}, "aggs": {}, "size": 0}
    assert body == parse_query(json.dumps(body))


AGGREGATIONS = {
    "query": {"match_all": {}},
    "size": 0,
    "aggs": {
        "words": {
            "terms": {"field": "order", "order": {"_key": "asc"}},
            "aggs": {"dear": {"max": {"field": "price"}}},
        },
        "dear": {"filter": {"range": {"price": {"gt": 2}}}},
        "prices": {"stats": {"field": "price"}},
    },
}


def test_a_whole_body_is_honoured_and_its_aggregations_are_lines(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["search", str(data_dir), json.dumps(AGGREGATIONS)])
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:8] == [
        "words", "  a: 1", "    dear: 2.5", "  b: 1", "    dear: 1.5", "  c: 1", "    dear: 9.0", "dear: 2",
    ]  # fmt: skip
    assert captured.out.splitlines()[8].startswith('prices: {"')
    assert "0 of 3 hits\n" == captured.err
    assert 0 == run(["search", str(data_dir), json.dumps(AGGREGATIONS), "--json"])
    assert 9.0 == json.loads(capsys.readouterr().out)["aggregations"]["prices"]["max"]
    body = '{"query": {"match_all": {}}, "sort": [{"price": "desc"}], "size": 1, "_source": ["order"]}'
    assert 0 == run(["search", str(data_dir), body])
    assert ["order", "c"] == capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (['{"query": {"match_all": {}}, "size": 1}', "--size", "2"], "the body has a 'size' of its own"),
        (['{"sort": ["price"]}', "--sort", "order"], "the body has a 'sort' of its own"),
        (["*", "--json", "--arrow", "-"], "--json and --arrow are two forms of one answer"),
    ],
)
def test_what_is_said_twice_is_refused(
    data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert USAGE == run(["search", str(data_dir), *arguments])
    assert says in capsys.readouterr().err


def test_arrow_of_mixed_values_is_text_and_can_be_indexed_again(tmp_path: Path) -> None:
    """What one command writes, the other reads: a stream as well as a file."""
    (tmp_path / "a.ndjson").write_text('{"v":1,"n":1}\n{"v":"x","n":2}\n{"v":{"w":1},"n":3}\n')
    assert 0 == run(["index", str(tmp_path / "a.ndjson"), "--into", str(tmp_path / "i")])
    target = tmp_path / "hits"
    assert 0 == run(["search", str(tmp_path / "i"), "*", "--sort", "n", "--arrow", str(target)])
    frame = pl.read_ipc_stream(io.BytesIO(target.read_bytes()))
    assert ["1", "x", None] == frame["v"].to_list()
    frame.drop("_id", "_score").write_ipc_stream(target)
    assert 0 == run(["index", str(target), "--into", str(tmp_path / "again")])
    with headrace.open(tmp_path / "again") as index:
        assert index.count("n:[1 TO 3]") == 3


def test_a_reader_that_goes_away_ends_the_arrow_stream_quietly(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("".join(json.dumps({"n": n, "text": f"{n:x}" * 300}) + "\n" for n in range(2000)))
    assert 0 == run(["index", str(path), "--into", str(tmp_path / "i")])
    command = [sys.executable, "-m", "headrace.cli", "search", str(tmp_path / "i"), "*", "--size", "2000"]
    with subprocess.Popen(
        [*command, "--arrow", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        assert asked.stdout.read(10)
        asked.stdout.close()
        assert b"" == asked.stderr.read()


class _Service(BaseHTTPRequestHandler):
    """A service with one index that answers one search, and refuses `bad`."""

    def do_GET(self) -> None:
        self._answer(200, [{"index": "sales"}])

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["query"] == {"query_string": {"query": "bad"}}:
            self._answer(400, {"error": {"reason": "no such field"}})
            return
        hits = [{"_id": "a", "_score": 1.0, "_source": {"path": self.path}}]
        self._answer(200, {"hits": {"total": {"value": 1}, "hits": hits}})

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_is_asked_for_its_only_index(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["search", service, "*"])
    assert "/sales/_search" in capsys.readouterr().out


def test_the_reason_of_a_service_that_refuses_is_told(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert USAGE == run(["search", service, "bad"])
    assert "answered 400: no such field" in capsys.readouterr().err


def test_a_service_that_is_away_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert FAILED == run(["search", "http://127.0.0.1:1", "*"])
    assert "is the service running?" in capsys.readouterr().err


def test_a_sound_index_is_called_sound(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["verify", str(data_dir)])
    captured = capsys.readouterr()
    assert "3 documents" in captured.out
    assert "3 read = 3 indexed + 0 rejected + 0 dropped" in captured.out
    assert "sound\n" == captured.err


@pytest.mark.parametrize("kind", ["fast", "fieldnorm", "idx", "pos", "store", "term"])
def test_a_damaged_file_is_named_and_nothing_found_is_no_answer(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Any byte: `verify` names the file; a search that misses for it ends with 1, and none in a traceback."""
    copy = tmp_path / "state"
    shutil.copytree(data_dir, copy)
    path = next(next(copy.rglob("meta.json")).parent.glob(f"*.{kind}"))
    sound = path.read_bytes()
    for at in range(0, len(sound), max(1, len(sound) // 20)):
        path.unlink()  # mapped by an earlier search: it must not become shorter
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x55]) + sound[at + 1 :])
        assert FAILED == run(["verify", str(copy)])
        assert f"PROBLEM: {path.name} is damaged" in capsys.readouterr().out
        code = run(["search", str(copy), "order:a"])
        told = capsys.readouterr().err
        assert code == FAILED or "1 of 1 hits" in told, at
    path.unlink()
    path.write_bytes(sound[:5] + b"?" + sound[6:])
    # The documents' own file plays no part where none is found.
    assert (0 if kind == "store" else FAILED) == run(["search", str(copy), "order:none"])
    told = capsys.readouterr().err
    assert ("see headrace verify" in told) == (kind != "store"), told


def test_a_leftover_is_a_problem_until_it_is_repaired(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = next(path.parent for path in data_dir.rglob("meta.json"))
    (engine / f"{'0' * 32}.7.del").write_bytes(b"x")
    assert FAILED == run(["verify", str(data_dir)])
    assert "PROBLEM" in capsys.readouterr().out
    assert 0 == run(["verify", str(data_dir), "--repair"])
    assert "repaired" in capsys.readouterr().out
    assert 0 == run(["verify", str(data_dir), "--json"])
    assert [] == json.loads(capsys.readouterr().out)["problems"]
