"""Bodies of writes as they come over a real connection: large ones, those that wait for leave, many at once."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from headrace.buffer.writer import Buffer
from headrace.core.clock import SystemClock
from headrace.core.errors import RequestError
from headrace.serve.bodies import Body, Cut, Limits
from headrace.serve.http import HttpServer, listen
from headrace.serve.names import Target
from headrace.serve.push import InFlight, Push
from intake import BOUNDS, Model, Service, Shelf, app, entries, ndjson, operations, service

PART = ndjson([{"index": {}}, {"message": "x" * 190, "n": 1}])
BULK = "application/x-ndjson"


def request(chunks: list[bytes], **headers: str) -> Request:
    """A request whose body arrives in these chunks."""
    waiting = iter(chunks)

    async def receive() -> dict[str, object]:
        chunk = next(waiting, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "POST", "path": "/", "headers": named, "query_string": b""}, receive
    )


@given(st.lists(st.text("ab\n", max_size=12).map(str.encode), max_size=12), st.integers(1, 9))
def test_pieces_are_the_body_and_end_where_lines_end(chunks: list[bytes], size: int) -> None:
    async def cut() -> list[bytes]:
        cut = Cut(Body(request(chunks), 1000), Limits(piece=size))
        found, last = [], False
        while not last:
            piece, last = await cut.next()
            found.append(piece)
        return found

    pieces = anyio.run(cut)
    assert b"".join(chunks) == b"".join(pieces)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert all(len(piece) <= size or piece.count(b"\n") == 1 for piece in pieces[:-1])


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_over_the_bound_is_a_413(tmp_path: Path, compressed: bool) -> None:
    """Announced ones before they are read, others where the bound is passed: a bomb is no way round it."""
    with service(tmp_path, limits=Limits(body=10_000, piece=1000)) as served:
        body = PART * 60
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        answer = served.bulk(gzip.compress(body) if compressed else body, "/logs/_bulk", headers=headers)
        assert (413, "content_too_long_exception") == (answer.status_code, answer.json()["error"]["type"])
        assert [] == [one for name in served.shelf.names() for one in served.stored(name)]


def test_a_line_over_the_bound_is_a_413(tmp_path: Path) -> None:
    with service(tmp_path, limits=Limits(piece=1000, record=2000)) as served:
        answer = served.bulk([{"index": {}}, {"n": 1}, {"index": {}}, {"n": "x" * 9000}] * 2, "/logs/_bulk")
        assert 413 == answer.status_code
        assert "a line is longer than 2000 bytes" in answer.json()["error"]["reason"]


@pytest.mark.parametrize("bad", [b'{"oops":{}}\n{}\n', b'{"index":{}}\n{"n":1}', b'{"index":{}}\n'])
def test_a_large_body_that_ends_badly_leaves_nothing(tmp_path: Path, bad: bytes) -> None:
    """PROTOCOL 13: the pieces before it exist for nobody, then and after a restart."""
    with service(tmp_path, Target("logs", "u", "l", "p"), limits=Limits(piece=1000)) as served:
        assert 400 == served.bulk(PART * 20 + bad, "/logs/_bulk").status_code
        assert [] == served.stored()
        answer = served.bulk(PART, "/logs/_bulk").json()
        assert 0 == answer["items"][0]["index"]["_seq_no"]
    with service(tmp_path, Target("logs", "u", "l", "p")) as served:
        assert 1 == len(served.stored())


def test_a_large_body_has_the_answer_of_a_small_one(tmp_path: Path) -> None:
    lines = [
        line
        for n in range(200)
        for line in (
            ({"index": {"_index": "a", "_id": f"{n}"}}, {"n": n}),
            ({"index": {"_index": "b"}}, {"n": n}),
            ({"update": {"_index": "a", "_id": f"{n % 7}"}}, {"doc": {"m": n}}),
            ({"delete": {"_index": "a", "_id": f"{n}"}},),
        )[n % 4]
    ]
    answers = []
    for piece in (1 << 20, 900):
        with service(tmp_path / f"{piece}", limits=Limits(piece=piece)) as served:
            answers.append(re.sub(rb'"took":\d+', b"", served.bulk(lines).content))
            stored = operations(served.entries("uuid-a"))
            assert list(range(len(stored))) == [one.record for one in stored]
    assert answers[0].replace(derived(answers[0]), derived(answers[1])) == answers[1]


def derived(answer: bytes) -> bytes:
    """The digest of the derived ids, which names the buffer."""
    found = re.search(rb'"_id":"([0-9a-f]{11})-', answer)
    assert found
    return found[1]


def test_too_many_outcomes_at_once_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    limits = Limits(piece=1000, waited=20)
    with service(tmp_path, Target("logs", "u", "l", "p"), limits=limits) as served:
        answer = served.bulk([{"delete": {"_id": "1"}}] * 100, "/logs/_bulk")
        assert (413, []) == (answer.status_code, served.stored())


def test_a_key_of_a_large_body_is_refused(tmp_path: Path) -> None:
    with service(tmp_path, limits=Limits(piece=1000)) as served:
        answer = served.bulk(PART * 20, "/logs/_bulk", headers={"Idempotency-Key": "k"})
        assert 413 == answer.status_code
        assert "Idempotency-Key is kept for bodies of up to 1000 bytes" in answer.json()["error"]["reason"]


def test_bodies_in_flight_have_a_bound_together() -> None:
    flight = InFlight()
    with flight.hold(60, 100):
        with flight.hold(40, 100):
            pass
        with pytest.raises(RequestError, match="nothing was accepted") as caught, flight.hold(41, 100):
            pass
    assert (429, 1) == (caught.value.status, caught.value.retry_after)
    assert 0 == flight.held
    with flight.hold(1000, 100):  # one alone always gets through
        pass


@contextmanager
def listening(directory: Path) -> Iterator[tuple[int, Service | None]]:
    """The writing side under uvicorn, as the service runs it."""
    started, stop, port = threading.Event(), threading.Event(), 0

    async def serve() -> None:
        nonlocal port
        buffer = Buffer(directory, BOUNDS, SystemClock())
        push = Push(Shelf(Target("logs", "u", "l", "p")), buffer, Model(directory))
        server = HttpServer(app(push, buffer), listen("127.0.0.1", 0))
        await buffer.open()
        port = server.port
        async with anyio.create_task_group() as group:
            group.start_soon(server.run)
            started.set()
            await anyio.to_thread.run_sync(stop.wait)
            server.stop()
        await buffer.close()

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    assert started.wait(10)
    try:
        yield port, None
    finally:
        stop.set()
        thread.join()


def until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        more = connection.recv(65536)
        assert more, found
        found += more
    return found


def head(*more: str) -> bytes:
    lines = ["POST /logs/_bulk HTTP/1.1", "Host: x", f"Content-Type: {BULK}", *more, "", ""]
    return "\r\n".join(lines).encode()


def test_a_client_that_asks_for_leave_gets_it(tmp_path: Path) -> None:
    with listening(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head(f"Content-Length: {len(PART)}", "Expect: 100-continue"))
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(PART)
        assert b'"errors":false' in until(connection, b"]}")


def test_a_client_that_asks_for_leave_in_vain_sends_nothing(tmp_path: Path) -> None:
    with listening(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head("Content-Length: 999999999", "Expect: 100-continue"))
        answer = until(connection, b'"status":413')
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"HTTP/1.1 100" not in answer


def test_chunks_of_any_size_are_one_body(tmp_path: Path) -> None:
    body = PART * 3
    with listening(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        for at in range(0, len(body), 37):
            part = body[at : at + 37]
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
        assert 3 == until(connection, b"]}").count(b'"result":"created"')
    assert 3 == len(operations(entries(tmp_path, "l")))


def test_a_connection_that_ends_within_its_body_leaves_nothing(tmp_path: Path) -> None:
    with listening(tmp_path) as (port, _):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head(f"Content-Length: {len(PART) * 9}") + PART * 3)
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head(f"Content-Length: {len(PART)}") + PART)
            until(connection, b"]}")
    assert 1 == len(operations(entries(tmp_path, "l")))


MEASURED = """
import json, resource, sys
from pathlib import Path
import anyio
from headrace.buffer.writer import Buffer
from headrace.core.clock import SystemClock
from headrace.serve.names import Target
from headrace.serve.push import Push
from intake import BOUNDS, Model, Shelf, app
from starlette.testclient import TestClient

directory, megabytes = Path(sys.argv[1]), int(sys.argv[2])
part = (json.dumps({"index": {}}) + "\\n" + json.dumps({"message": "x" * 190, "n": 1}) + "\\n").encode()
chunk = part * (65536 // len(part))
count = megabytes * 1_000_000 // len(chunk)

async def main():
    buffer = Buffer(directory, BOUNDS, SystemClock())
    push = Push(Shelf(Target("logs", "u", "l", "p")), buffer, Model(directory))
    await buffer.open()
    sent, size = 0, 0
    status = 0
    async def receive():
        nonlocal sent
        sent += 1
        if sent > count + 1:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": chunk if sent <= count else b"", "more_body": sent <= count}
    async def send(message):
        nonlocal size, status
        status = message.get("status", status)
        size += len(message.get("body", b""))
    headers = [(b"content-type", b"application/x-ndjson"), (b"content-length", str(count * len(chunk)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/logs/_bulk", "raw_path": b"/logs/_bulk", "root_path": "",
             "query_string": b"filter_path=errors,items.*.error,items.*.status", "headers": headers,
             "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("x", 1)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await app(push, buffer)(scope, receive, send)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    records = push.accepted(Target("logs", "u", "l", "p"))
    await buffer.close()
    print(json.dumps({"status": status, "grown": (after - before) / 1024, "records": records, "expected": count * (65536 // len(part)), "answer": size}))

anyio.run(main)
"""


def test_a_hundred_megabytes_need_the_memory_of_pieces(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", MEASURED, str(tmp_path), "100"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout)
    assert 200 == found["status"]
    assert found["expected"] == found["records"]
    assert 60 > found["grown"], "megabytes beside a body of 100"
