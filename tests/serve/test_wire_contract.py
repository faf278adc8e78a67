"""The wire contract of the Elasticsearch clients, byte by byte: raw requests to a real service, raw answers back."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT, max_body: 1MiB }
disk_reserve: 1MB
"""
VENDOR = "application/vnd.elasticsearch+json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection for each request, closed by the service when it has answered."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def connect(self) -> socket.socket:
        port = int(self.running.base.rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", port), timeout=20)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"Host": "x", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        with self.connect() as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            return received(connection)

    def bulk(self, body: bytes, path: str = "/_bulk", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, body, {"Content-Type": NDJSON, **named})

    def search(self, path: str, body: Any) -> Answer:
        return self.send("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def received(connection: socket.socket) -> Answer:
    """All until the other side closes; chunks put together."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    return Answer(int(first.split()[1]), headers, body)


def unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found, data = found + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return found


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder: Path = tmp_path_factory.mktemp("contract")
    with service(folder, CONFIGURATION) as running:
        running.until_ready()
        made = Wire(running)
        lines = b'{"index":{"_index":"kept","_id":"1"}}\n{"n":1,"w":"a b"}\n'
        assert 200 == made.bulk(lines, "/_bulk?refresh=true").status
        yield made


# The head of every answer.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/_cluster/health", 200),
        ("GET", "/kept/_search", 200),
        ("GET", "/kept/_doc/1", 200),
        ("HEAD", "/kept/_doc/1", 200),
        ("GET", "/_cat/indices", 200),
        ("GET", "/_license", 200),
        ("GET", "/kept/_doc/none", 404),
        ("HEAD", "/kept/_doc/none", 404),
        ("HEAD", "/none", 404),
        ("GET", "/none/_search", 404),
        ("GET", "/kept/_search?nope=1", 400),
        ("GET", "/kept/_no_such_thing", 400),
        ("PATCH", "/kept/_doc/1", 405),
        ("POST", "/_bulk", 406),
        ("GET", "/es/kept/_search", 200),
        ("GET", "/es/none/_search", 404),
    ],
)
def test_every_answer_says_which_product_it_is(wire: Wire, method: str, path: str, status: int) -> None:
    """Errors too, below the prefix too; an answer to HEAD has no body."""
    answer = wire.send(method, path)
    assert (status, "Elasticsearch") == (answer.status, answer.headers.get("x-elastic-product")), answer
    assert bool(answer.body) == (method != "HEAD")


@pytest.mark.parametrize("path", ["/", "/kept/_search", "/none/_search", "/kept/_search?nope=1", "/_no/such"])
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        (f"{VENDOR};compatible-with=8", f"{VENDOR};compatible-with=8"),
        (f"{VENDOR}; compatible-with=9", f"{VENDOR};compatible-with=9"),
        (f"text/plain, {VENDOR}; compatible-with=7", f"{VENDOR};compatible-with=7"),
    ],
)
def test_the_vendor_type_is_echoed_where_it_is_asked_for(
    wire: Wire, path: str, accept: str | None, kind: str
) -> None:
    """Of errors as of answers; else it is plain JSON."""
    answer = wire.send("GET", path, headers={} if accept is None else {"Accept": accept})
    assert kind == answer.headers["content-type"]


# 1. The bulk answer.


ITEM = (
    rb'\{"index":\{"_index":"kept","_id":"%s","_version":\d+,"result":"(created|updated)",'
    rb'("forced_refresh":true,)?"_shards":\{"total":1,"successful":1,"failed":0\},"_seq_no":\d+,'
    rb'"_primary_term":1,"status":20[01]\}\}'
)


def test_a_bulk_answer_is_compact_with_errors_directly_before_items(wire: Wire) -> None:
    """Clients search the raw bytes for `"errors":true` and `"errors":false,"items":[`."""
    lines = (
        b'{"index":{"_index":"kept","_id":"a"}}\n{"n":2}\n{"index":{"_index":"kept","_id":"b"}}\n{"n":3}\n'
    )
    answer = wire.bulk(lines)
    expected = rb'\{"took":\d+,"errors":false,"items":\[' + ITEM % b"a" + b"," + ITEM % b"b" + rb"\]\}"
    assert re.fullmatch(expected, answer.body), answer.body
    assert "application/json" == answer.headers["content-type"]


def test_items_are_as_many_as_actions_in_their_order_with_one_key_each(wire: Wire) -> None:
    """`status` is a whole number in each, and an error has type and reason."""
    lines = (
        b'{"create":{"_index":"kept","_id":"1"}}\n{"n":1}\n'
        b'{"delete":{"_index":"kept","_id":"absent"}}\n'
        b'{"update":{"_index":"kept","_id":"1"}}\n{"doc":{"m":1}}\n'
        b'{"index":{"_index":"kept","_id":"bad"}}\n{"n":\n'
        b'{"index":{"_index":"kept","_id":"c"}}\n{"n":4}\n'
        b'{"delete":{"_index":"kept","_id":"c"}}\n'
    )
    answer = wire.bulk(lines)
    assert b'"errors":true,"items":[' in answer.body
    found = [(kind, item) for each in answer.json["items"] for kind, item in each.items()]
    kinds = ["create", "delete", "update", "index", "index", "delete"]
    assert kinds == [kind for kind, _ in found]
    assert [409, 404, 200, 400, 201, 200] == [item["status"] for _, item in found]
    assert all(type(item["status"]) is int for _, item in found)
    assert "version_conflict_engine_exception" == found[0][1]["error"]["type"]
    assert "not_found" == found[1][1]["result"]
    assert "document_parsing_exception" == found[3][1]["error"]["type"]
    assert found[3][1]["error"]["reason"].startswith("[1:")
    assert {"type", "reason"} <= found[3][1]["error"]["caused_by"].keys()


# 2. What a status means.


def test_a_delete_of_nothing_is_no_error(wire: Wire) -> None:
    """404 with `not_found` in its item, and `errors` stays false."""
    answer = wire.bulk(b'{"delete":{"_index":"kept","_id":"absent"}}\n')
    assert b'"errors":false' in answer.body
    assert 404 == answer.json["items"][0]["delete"]["status"]


def test_statuses_of_single_documents_are_those_of_bulk_items(wire: Wire) -> None:
    """Created 201, updated 200, a conflict 409, a deleted one 200, a missing one 404."""
    kind = {"Content-Type": "application/json"}
    seen = [
        wire.send(method, path, body, kind).status
        for method, path, body in (
            ("PUT", "/kept/_create/s", b'{"n":1}'),
            ("PUT", "/kept/_create/s", b'{"n":1}'),
            ("POST", "/kept/_update/s", b'{"doc":{"n":2}}'),
            ("DELETE", "/kept/_doc/s", b""),
            ("DELETE", "/kept/_doc/s", b""),
            ("POST", "/kept/_update/s", b'{"doc":{"n":2}}'),
            ("POST", "/kept/_doc", b"{no json"),
        )
    ]
    assert [201, 409, 200, 200, 404, 404, 400] == seen


# 4. What refuses the whole request.


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "an action that is none": (
        b'{"index":{"_index":"kept"}}\n{}\n{"nope":{}}\n{}\n',
        "illegal_argument_exception",
        "Malformed action/metadata line [3], expected",
    ),
    "an action that is a list": (
        b"[]\n{}\n",
        "illegal_argument_exception",
        "Malformed action/metadata line [1], expected",
    ),
    "no newline at the end": (
        b'{"index":{"_index":"kept"}}\n{"n":1}',
        "illegal_argument_exception",
        "The bulk request must be terminated by a newline [\\n]",
    ),
    "no index": (
        b'{"index":{}}\n{"n":1}\n',
        "action_request_validation_exception",
        "Validation Failed: 1: index is missing;",
    ),
    "no body": (b"", "parse_exception", "request body is required"),
    "empty lines only": (
        b"\n\n\n", "action_request_validation_exception", "Validation Failed: 1: no requests added;",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_request_is_refused_whole(wire: Wire, what: str) -> None:
    """As Elasticsearch words it: `error` with its root cause, and the status in the body as well."""
    body, kind, reason = REFUSED[what]
    answer = wire.bulk(body)
    error = answer.json["error"]
    assert (400, 400, kind) == (answer.status, answer.json["status"], error["type"])
    assert error["reason"].startswith(reason)
    assert [{"type": kind, "reason": error["reason"]}] == error["root_cause"]
    assert b": " not in answer.body.replace(error["reason"].encode(), b"").replace(b"Failed: 1: ", b"")


def test_lines_may_end_as_on_windows_and_empty_lines_are_passed_over(wire: Wire) -> None:
    """Between actions, not between an action and its document."""
    lines = (
        b'{"index":{"_index":"kept","_id":"w"}}\r\n{"n":9}\r\n'
        b"\r\n\n"
        b'{"index":{"_index":"kept","_id":"x"}}\n{"n":9}\n\n'
    )
    answer = wire.bulk(lines)
    assert [("w", False), ("x", False)] == [
        (item["index"]["_id"], "error" in item["index"]) for item in answer.json["items"]
    ]


# 5. What is taken as a body.


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (NDJSON, 200),
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        *(
            (f"application/vnd.elasticsearch+{form};{gap}compatible-with={version}", 200)
            for form in ("json", "x-ndjson")
            for version in (7, 8, 9)
            for gap in ("", " ")
        ),
        (f"{VENDOR};compatible-with=6", 400),
        ("text/plain", 406),
        ("application/x-www-form-urlencoded", 406),
        ("application/json; charset=latin-1", 406),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_content_types_of_a_bulk_request(wire: Wire, method: str, kind: str, status: int) -> None:
    """Both methods: the Python clients of 8 and 9 send PUT."""
    lines = b'{"index":{"_index":"kept","_id":"t"}}\n{"n":1}\n'
    assert status == wire.send(method, "/_bulk", lines, {"Content-Type": kind}).status


def test_a_gzip_body_is_undone(wire: Wire) -> None:
    """As Beats and Logstash send it unasked; zstd, snappy and deflate have tests of their own."""
    lines = gzip.compress(b'{"index":{"_index":"kept","_id":"z"}}\n{"n":1}\n', 1)
    assert b'"errors":false' in wire.bulk(lines, Content_Encoding="gzip").body


def test_a_client_that_asks_for_leave_is_given_it(wire: Wire) -> None:
    """`Expect: 100-continue`: the leave comes before the body, the answer after it."""
    body = b'{"index":{"_index":"kept","_id":"e"}}\n{"n":1}\n'
    head = (
        "POST /_bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
        f"Content-Type: {NDJSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with wire.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert 200 == received(connection).status


def test_a_body_beyond_the_bound_is_a_413(wire: Wire) -> None:
    """Said of its length, before it is read, and of what comes out of a compressed one."""
    lines = b'{"index":{"_index":"kept"}}\n{"n":1}\n' * 40_000
    answers = [wire.bulk(gzip.compress(lines), Content_Encoding="gzip")]
    head = f"POST /_bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {NDJSON}\r\n"
    with wire.connect() as connection:
        connection.sendall(f"{head}Content-Length: {len(lines)}\r\n\r\n".encode())
        answers.append(received(connection))
    for answer in answers:
        assert (413, "content_too_long_exception") == (answer.status, answer.json["error"]["type"])
        assert "Elasticsearch" == answer.headers["x-elastic-product"]


# 6. What is passed over.


def test_words_for_a_cluster_are_passed_over(wire: Wire) -> None:
    """In the URL and in the action."""
    url = (
        "/kept/_bulk?pipeline=p&routing=r&require_alias=false&timeout=60s&filter_path=errors,items&pretty"
        "&error_trace&wait_for_active_shards=1&type=_doc"
    )
    action = {
        "_type": "_doc", "routing": "r", "pipeline": "p", "require_alias": False, "dynamic_templates": {},
        "_id": "p",
    }  # fmt: skip
    answer = wire.bulk(json.dumps({"index": action}).encode() + b'\n{"n":1}\n', url)
    assert (200, False) == (answer.status, answer.json["errors"])
    assert {"errors", "items"} == answer.json.keys()


def test_the_filter_of_logstash_leaves_what_it_reads(wire: Wire) -> None:
    """`errors` first, and of each item only `status` and `error`."""
    lines = (
        b'{"index":{"_index":"kept","_id":"l"}}\n{"n":1}\n{"create":{"_index":"kept","_id":"1"}}\n{"n":1}\n'
    )
    answer = wire.bulk(lines, "/_bulk?filter_path=errors,items.*.error,items.*.status")
    start = (
        b'{"errors":true,"items":[{"index":{"status":201}},{"create":{"status":409,"error":{"type":"version'
    )
    assert answer.body.startswith(start)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("hits.total.value", {"hits": {"total": {"value": 1}}}),
        ("hits.hits._id", {"hits": {"hits": [{"_id": "1"}]}}),
        ("**._id", {"hits": {"hits": [{"_id": "1"}]}}),
        ("*.total.rel*", {"hits": {"total": {"relation": "eq"}}}),
        ("hits.hits._source.n,hits.total.value", {"hits": {"total": {"value": 1}, "hits": [{"_source": {"n": 1}}]}}),
        ("hits,-hits.hits,-hits.total.relation", {"hits": {"max_score": 1.0, "total": {"value": 1}}}),
        ("-took,-timed_out,-_shards,-hits.hits,-**.value,-hits.max_score", {"hits": {"total": {"relation": "eq"}}}),
        ("nothing.of.it", {}),
    ],
)  # fmt: skip
def test_filter_path_takes_names_patterns_and_exclusions(wire: Wire, paths: str, expected: Any) -> None:
    answer = wire.search(f"/kept/_search?filter_path={paths}", {"query": {"term": {"w": "a b"}}, "sort": []})
    assert 200 == answer.status, answer.body
    if "max_score" in expected.get("hits", {}):
        assert expected["hits"].keys() == answer.json["hits"].keys()
        expected = {"hits": {**expected["hits"], "max_score": answer.json["hits"]["max_score"]}}
    assert expected == answer.json


# 7. The banner and what start-up asks.


def test_the_banner_is_what_every_client_accepts(wire: Wire) -> None:
    """A version of 8, the flavour, the sentence, and a cluster."""
    found = wire.send("GET", "/").json
    assert "8" == found["version"]["number"].split(".")[0]
    assert ("default", "You Know, for Search") == (found["version"]["build_flavor"], found["tagline"])
    assert found["cluster_uuid"]


def test_what_shippers_and_dashboards_ask_at_start_is_answered(wire: Wire) -> None:
    """An active license, no lifecycles, a health that is not red, an address to sniff."""
    assert "active" == wire.send("GET", "/_license").json["license"]["status"]
    assert wire.send("GET", "/_xpack").json["features"]["ilm"]["enabled"] is False
    health = wire.send("GET", "/_cluster/health?wait_for_status=yellow")
    assert (200, True) == (health.status, health.json["status"] in ("green", "yellow"))
    [node] = wire.send("GET", "/_nodes/http").json["nodes"].values()
    assert node["http"]["publish_address"]


# 8. The search answer.


def test_a_search_answer_has_elasticsearchs_shape_and_order(wire: Wire) -> None:
    """Compact, with the source byte for byte as it was sent."""
    answer = wire.search("/kept/_search", {"query": {"ids": {"values": ["1"]}}})
    expected = (
        rb'\{"took":\d+,"timed_out":false,"_shards":\{"total":1,"successful":1,"skipped":0,"failed":0\},'
        rb'"hits":\{"total":\{"value":1,"relation":"eq"\},"max_score":[\d.]+,"hits":\['
        rb'\{"_index":"kept","_id":"1","_score":[\d.]+,"_source":\{"n":1,"w":"a b"(,"m":1)?\}\}\]\}\}'
    )
    assert re.fullmatch(expected, answer.body), answer.body


def test_a_sorted_search_has_no_scores_and_its_sort_values(wire: Wire) -> None:
    found = wire.search("/kept/_search", {"query": {"ids": {"values": ["1"]}}, "sort": [{"n": "asc"}]}).json
    [hit] = found["hits"]["hits"]
    assert (None, None, 1) == (found["hits"]["max_score"], hit["_score"], hit["sort"][0])


def test_aggregations_are_there_only_where_asked_for(wire: Wire) -> None:
    body = {"size": 0, "aggs": {"most": {"max": {"field": "n"}}}}
    assert {"most"} == wire.search("/kept/_search", body).json["aggregations"].keys()
    assert "aggregations" not in wire.search("/kept/_search", {}).json


def test_several_searches_answer_in_their_order_each_with_its_status(wire: Wire) -> None:
    """An error of one is its own; lines may end as on Windows."""
    body = b'{"index":"kept"}\r\n{"size":0}\r\n{"index":"none"}\n{}\n{"index":"kept"}\n{"nope":1}\n{}\n{"size":1}\n'
    answer = wire.bulk(body, "/_msearch?max_concurrent_shard_requests=5")
    assert [200, 404, 400, 200] == [each["status"] for each in answer.json["responses"]]
    assert re.match(rb'\{"took":\d+,"responses":\[\{"took":', answer.body)
    error = answer.json["responses"][1]["error"]
    assert ("index_not_found_exception", "index_not_found_exception") == (
        error["type"], error["root_cause"][0]["type"],
    )  # fmt: skip


def test_an_index_that_is_not_there_is_a_404_unless_told(wire: Wire) -> None:
    """With its name in the error, as clients show it."""
    answer = wire.search("/none/_search", {})
    assert (404, "index_not_found_exception", "none") == (
        answer.status, answer.json["error"]["type"], answer.json["error"]["index"],
    )  # fmt: skip
    assert "no such index [none]" in answer.json["error"]["reason"]
    unavailable = wire.search("/none,kept/_search?ignore_unavailable=true", {"size": 0})
    assert (200, 1) == (unavailable.status, unavailable.json["_shards"]["total"])


def test_pretty_is_the_only_way_to_get_blanks(wire: Wire) -> None:
    assert b'\n  "took": ' in wire.send("GET", "/kept/_search?pretty").body
    assert b'"took":' in wire.send("GET", "/kept/_search").body
    assert b" :" not in wire.send("GET", "/").body


# 3. Overload.


def test_overload_refuses_the_whole_request_before_its_first_line(tmp_path: Path) -> None:
    """429 with `Retry-After`: a door with room for one request, while one is under way. (503 while going down,
    and 429 of a full buffer, are tests of `bulk`.)"""
    limited = CONFIGURATION.replace("max_body: 1MiB", "max_concurrent: 1")
    with service(tmp_path, limited) as running:
        running.until_ready()
        wire = Wire(running)
        with wire.connect() as busy:
            busy.sendall(
                f"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\nContent-Length: 99\r\n\r\n".encode()
            )
            running.until(lambda: wire.bulk(b'{"index":{"_index":"k"}}\n{}\n').status == 429)
            answer = wire.bulk(b'{"index":{"_index":"k"}}\n{}\n')
        error = answer.json["error"]
        assert (429, 429, "es_rejected_execution_exception") == (
            answer.status, answer.json["status"], error["type"],
        )  # fmt: skip
        assert error["root_cause"]
        assert error["reason"]
        assert int(answer.headers["retry-after"]) > 0
        assert "Elasticsearch" == answer.headers["x-elastic-product"]
