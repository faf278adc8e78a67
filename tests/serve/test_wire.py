"""Broken and hostile connections to a real service: each gets an answer or its end, the processes stay, nothing
that was acknowledged is lost, and memory has its bound.

Between any two of them a record is pushed and acknowledged; at the end all of them are there, once.
"""

from __future__ import annotations

import errno
import gzip
import re
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
indexes:
  kept: { type: tantivy, fields: { n: integer } }
pipelines:
  kept:
    source: { type: http_push }
    index: kept
"""
MEGABYTE = 1 << 20
GROWTH = 700 * MEGABYTE
"""Of both processes together: two writers' heaps, the largest bodies, what the allocator keeps."""

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Wire:
    """The service, and what it has acknowledged."""

    running: Running
    pids: tuple[int, int]
    memory: int
    acknowledged: list[int] = field(default_factory=list)

    def connect(self) -> socket.socket:
        port = int(self.running.base.rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", port), timeout=30)

    def send(self, data: bytes, *, half_close: bool = False) -> bytes:
        """All that is answered until the other side closes, or has said all that it says at once."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError as error:
                # It had heard enough; its answer may be there.
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise
            return _received(connection)

    def ask(self, method: str, path: str, body: bytes, **headers: str) -> int:
        """The status of a whole request."""
        answer = self.send(request(method, path, body, **headers))
        found = STATUS.match(answer)
        assert found is not None, answer[:200]
        return int(found[1])

    def keep(self) -> None:
        """One record, acknowledged."""
        number = len(self.acknowledged)
        line = f'{{"index":{{"_id":"{number}"}}}}\n{{"n":{number}}}\n'
        status, _, answer = self.running.push("/kept/_bulk", line)
        assert (200, False) == (status, answer["errors"])
        self.acknowledged.append(number)


def _received(connection: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := connection.recv(65536):
            found += chunk
    except (ConnectionResetError, TimeoutError):
        pass
    return found


def request(method: str, path: str, body: bytes, **headers: str) -> bytes:
    given = {
        "Host": "x",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder: Path = tmp_path_factory.mktemp("wire")
    with service(folder, CONFIGURATION) as running:
        running.until_ready()
        pids = running.child("ingester"), running.child("server")
        wire = Wire(running, pids, 0)
        wire.keep()
        assert running.ask("/kept/_refresh", {})["_shards"]["failed"] == 0
        wire.memory = sum(map(resident, pids))
        yield wire


@pytest.fixture
def wire(started: Wire) -> Iterator[Wire]:
    """It works before, and it works afterwards, in the same processes."""
    started.keep()
    yield started
    started.keep()
    assert started.pids == (started.running.child("ingester"), started.running.child("server"))
    assert sum(map(resident, started.pids)) - started.memory < GROWTH


DEEP = 10_000


def deep(opening: bytes, closing: bytes, inner: bytes = b"1") -> bytes:
    return opening * DEEP + inner + closing * DEEP


def line(document: bytes) -> bytes:
    return b'{"index":{"_index":"hostile"}}\n' + document + b"\n"


BULK = "/_bulk"
SEARCH = "/kept/_search"
REFUSED: dict[str, tuple[str, bytes, dict[str, str], set[int]]] = {
    "a list 10,000 deep in a search": (SEARCH, b'{"query":' + deep(b"[", b"]") + b"}", {}, {400}),
    "an object 10,000 deep in a search": (SEARCH, deep(b'{"query":', b"}"), {}, {400}),
    "bool in bool 10,000 times": (SEARCH, b'{"query":' + deep(b'{"bool":{"must":', b"}}", b"{}") + b"}", {}, {400}),
    "aggregations 10,000 deep": (
        SEARCH, deep(b'{"aggs":{"a":{"terms":{"field":"n"},"aggs":{"b":', b"}}}}", b"{}"), {}, {400},
    ),
    "a query string 10,000 deep": (
        SEARCH, b'{"query":{"query_string":{"query":"' + deep(b"(", b")", b"a") + b'"}}}', {}, {400},
    ),
    "a regular expression 10,000 deep": (
        SEARCH, b'{"query":{"regexp":{"word":"' + deep(b"(", b")", b"a") + b'"}}}', {}, {200, 400},
    ),
    "4,000 terms of a bool": (
        SEARCH, b'{"query":{"bool":{"should":[' + b",".join([b'{"term":{"n":1}}'] * 4_000) + b"]}}}", {}, {200, 400},
    ),
    "a list 10,000 deep in a document": (BULK, line(b'{"a":' + deep(b"[", b"]") + b"}"), {}, {200, 400}),
    "an object 10,000 deep in a document": (BULK, line(deep(b'{"a":', b"}")), {}, {200, 400}),
    "an action 10,000 deep": (BULK, b'{"index":' + deep(b"[", b"]") + b"}\n{}\n", {}, {400}),
    "an update 10,000 deep": (
        BULK, b'{"update":{"_index":"hostile","_id":"1"}}\n{"doc":' + deep(b'{"a":', b"}") + b"}\n", {}, {200, 400},
    ),
    "a mapping 10,000 deep": (
        "/hostile-2", b'{"mappings":' + deep(b'{"properties":{"a":', b"}}", b"{}") + b"}", {"method": "PUT"}, {400},
    ),
    "a huge number": (BULK, line(b'{"a":' + b"9" * 100_000 + b"}"), {}, {200, 400}),
    "a huge exponent": (BULK, line(b'{"a":1e999999999,"b":-1e400,"c":1e-999999}'), {}, {200, 400}),
    "a huge number in a query": (SEARCH, b'{"query":{"term":{"n":' + b"9" * 100_000 + b"}}}", {}, {200, 400}),
    "a size beyond all": (SEARCH, b'{"size":99999999999999999999}', {}, {400}),
    "no UTF-8 in a search": (SEARCH, b'{"query":{"term":{"n":"\xff\xfe"}}}', {}, {400}),
    "no UTF-8 in a document": (BULK, line(b'{"a":"\xff\xfe\x80"}'), {}, {200, 400}),
    "half a surrogate pair": (BULK, line(b'{"a":"\\ud800"}'), {}, {200, 400}),
    "NUL bytes": (BULK, line(b'{"a":"\\u0000b","\\u0000":1}'), {}, {200, 400}),
    "raw NUL bytes": (BULK, line(b'{"a":"\x00"}'), {}, {200, 400}),
    "a field without a name": (BULK, line(b'{"":1," ":2,".":3,"a..b":4,"_id":5}'), {}, {200, 400}),
    "a NUL in an index's name": ("/a%00b/_doc/1", b"{}", {"method": "PUT"}, {400}),
    "a line end in an index's name": ("/a%0Ab/_doc/1", b"{}", {"method": "PUT"}, {400}),
    "a name that leads out of the folder": ("/..%2F..%2Fetc/_doc/1", b"{}", {"method": "PUT"}, {400, 404}),
    "gzip that is none": (BULK, b"not gzip", {"Content_Encoding": "gzip"}, {400}),
    "gzip cut short": (BULK, gzip.compress(line(b"{}") * 100)[:-9], {"Content_Encoding": "gzip"}, {400}),
    "gzip with a wrong sum": (
        BULK, gzip.compress(line(b"{}"))[:-8] + b"\0" * 8, {"Content_Encoding": "gzip"}, {400},
    ),
    "zstd that is none": (BULK, b"\x28\xb5\x2f\xfd" + b"\xff" * 50, {"Content_Encoding": "zstd"}, {400}),
    "snappy that is none": (BULK, b"\xff" * 50, {"Content_Encoding": "snappy"}, {400, 413}),
    "an unknown encoding": (BULK, b"x", {"Content_Encoding": "br"}, {415}),
    "gzip in gzip": (BULK, gzip.compress(gzip.compress(b"x")), {"Content_Encoding": "gzip, gzip"}, {415}),
    "a bomb of 1 GB to a write": (BULK, b"", {"Content_Encoding": "gzip"}, {413}),
    "a bomb of 1 GB to a read": (SEARCH, b"", {"Content_Encoding": "gzip"}, {413}),
    "a header of no text": (SEARCH, b"{}", {"X_Opaque_Id": "\x80\xff"}, {200, 400}),
}  # fmt: skip


def bomb() -> bytes:
    """A gigabyte of blanks in a megabyte."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = packed.compress(b" " * MEGABYTE)
    return piece + b"".join(packed.compress(b" " * MEGABYTE) for _ in range(1023)) + packed.flush()


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_body_is_answered(wire: Wire, what: str) -> None:
    """Never by a server's error, and what is not hostile in it may be taken."""
    path, body, headers, expected = REFUSED[what]
    method = headers.get("method", "POST")
    headers = {name: value for name, value in headers.items() if name != "method"}
    if "bomb" in what:
        body = bomb()
    assert wire.ask(method, path, body, **headers) in expected


RAW: dict[str, bytes] = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "nothing": b"",
    "half a request line": b"POST /_bu",
    "an unknown method": b"BREW /pot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a header without an end": b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 300_000,
    "10,000 headers": b"GET / HTTP/1.1\r\n"
    + b"".join(b"X-%d: a\r\n" % n for n in range(10_000))
    + b"Connection: close\r\n\r\n",
    "a path of 100 kB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a negative length": b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a length that is none": b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a length and chunks": (
        b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length of exabytes": b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999999999999999\r\n\r\n{}",
    "a chunk whose size is none": (
        b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "a chunk of exabytes": (
        b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"ffffffffffffffffff\r\nabc"
    ),
    "an end of no chunk": (
        b"POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabcdef\r\n0\r\n\r\n"
    ),
    "an unknown transfer encoding": b"POST /_bulk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\nabc",
    "a body shorter than its length": (
        b'POST /kept/_doc/never HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"n":1}'
    ),
    "a bulk that ends within a line": (
        b"POST /kept/_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'1d\r\n{"index":{"_id":"never"}}\n{"n\r\n'
    ),
}


@pytest.mark.parametrize("what", RAW)
def test_a_broken_connection_is_answered_or_ended(wire: Wire, what: str) -> None:
    """With a status that blames the asker, if with any; half-closed sockets are ended."""
    started = time.monotonic()
    answer = wire.send(RAW[what], half_close=True)
    assert time.monotonic() - started < 20, "the connection was left open"
    assert not answer or int(STATUS.findall(answer)[0]) < 500, answer[:200]


def test_requests_in_a_row_are_answered_in_their_order(wire: Wire) -> None:
    """Pipelined on one connection, a wrong one among them."""
    paths = ["/kept/_count", "/nope/_count", "/health/live", "/kept/_search?nope=1", "/"]
    data = b"".join(request("GET", path, b"", Connection="keep-alive") for path in paths)
    answer = wire.send(data + request("GET", "/health/live", b""))
    assert [200, 404, 200, 400, 200, 200] == [int(status) for status in STATUS.findall(answer)]


def test_slow_clients_keep_nobody_waiting(wire: Wire) -> None:
    """A hundred that never end their requests, and one that takes its answer byte by byte."""
    slow = [wire.connect() for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            head = request("POST", BULK, b"", Content_Length="1000", Connection="keep-alive")
            connection.sendall(head[: 20 + number] if number % 2 else head + b'{"index":')
        started = time.monotonic()
        wire.keep()
        assert 200 == wire.running.raw("/kept/_count")[0]
        assert time.monotonic() - started < 5
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_does_not_read_its_answer_is_no_burden(wire: Wire) -> None:
    lines = b"".join(b'{"index":{"_index":"kept"}}\n{"n":"no number"}\n' for _ in range(20_000))
    with wire.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request("POST", "/hostile/_bulk", lines.replace(b'"_index":"kept"', b"")))
        wire.keep()
    assert 200 == wire.running.raw("/health/ready")[0]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([BULK, SEARCH, "/_msearch", "/hostile/_doc", "/_mget", "/ingest/kept-not", "/_aliases"]),
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode(errors="replace"))),
    st.sampled_from(["", "gzip", "deflate", "zstd", "snappy"]),
)
def test_noise_is_answered(started: Wire, path: str, body: bytes, encoding: str) -> None:
    """Whatever the bytes are, the answer blames the asker."""
    assert wire_status(started, path, body, encoding) < 500


def wire_status(wire: Wire, path: str, body: bytes, encoding: str) -> int:
    return wire.ask("POST", path, body, **({"Content_Encoding": encoding} if encoding else {}))


@pytest.mark.timeout(180)
def test_all_that_was_acknowledged_is_there_once(wire: Wire) -> None:
    """After all of it, in the processes of the beginning."""
    for _ in range(20):
        wire.keep()
    running, expected = wire.running, len(wire.acknowledged)
    running.until(lambda: running.count("kept") == expected, 60)
    body = {"size": 10_000, "_source": ["n"]}
    hits = running.ask("/kept/_search", body)["hits"]["hits"]
    assert wire.acknowledged == sorted(int(hit["_id"]) for hit in hits)
    assert not [event for event in running.events() if event["event"] == "process.restarted"]
    assert "Traceback" not in running.words()
    ledger = running.ask("/api/pipelines/kept")["ledger"]
    assert (expected, expected) == (ledger["read"], ledger["indexed"])
