"""A head without an end takes no memory, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from headrace.serve.doors.heads import LARGEST_HEAD
from serve.doors.sockets import serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
LARGE_HEADER = b"X-Large: " + b"x" * (1 << 20) + b"\r\n"
SMALL_HEADERS = b"a: b\r\n" * 170_000
LINE = b"x" * (1 << 20)
HUNDRED = 100
BUFFERS = 24 << 20
"""Bytes that the two ends of a connection of this machine may hold, read by nobody."""


def sent(connection: socket.socket, pieces: Iterator[bytes]) -> tuple[int, bytes]:
    """How much could be sent before the connection was closed, and what was answered."""
    connection.settimeout(10)
    total, answer = 0, b""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            connection.sendall(piece)
            total += len(piece)
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            answer += part
    return total, answer


def again(begin: bytes, piece: bytes, times: int = HUNDRED) -> Iterator[bytes]:
    yield begin
    for _ in range(times):
        yield piece


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (GET, LARGE_HEADER),
        (GET, SMALL_HEADERS),
        (GET + b"X-Endless: ", LINE),
        (GET, LINE),
        (b"GET /", LINE),
        (b"GET /_search?q=", LINE),
        (b"", b"\r\n" * (1 << 19)),
        (CHUNKED + b"0\r\n", LARGE_HEADER),
        (CHUNKED + b"0\r\n", SMALL_HEADERS),
        (CHUNKED + b"0\r\nX-Endless: ", LINE),
        (CHUNKED + b"3;endless=", LINE),
        (GET + b"\r\n" + GET, LARGE_HEADER),
        (GET + b"\r\n" + GET, SMALL_HEADERS),
    ],
    ids=[
        "large headers", "small headers", "one line", "a name", "a path", "a query", "empty lines", "large trailers",
        "small trailers", "one trailer", "a chunk's extension", "the second request", "the second's small headers",
    ],
)  # fmt: skip
def test_a_head_without_an_end_is_cut_off(begin: bytes, piece: bytes) -> None:
    """Of a hundred megabytes next to nothing is taken."""
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        total, answer = sent(connection, again(begin, piece))
        assert total < BUFFERS
        assert b" 500 " not in answer
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(GET + b"\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-Large: " + b"x" * LARGEST_HEAD + b"\r\n\r\n",
        GET + b"a: b\r\n" * (LARGEST_HEAD // 6) + b"\r\n",
        b"GET /?" + b"x" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_head_that_is_a_little_too_large_is_told_so(head: bytes) -> None:
    """In the shape that clients read."""
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        _, answer = sent(connection, iter([head]))
        lines, _, body = answer.partition(b"\r\n\r\n")
        assert lines.startswith(b"HTTP/1.1 431 ")
        assert b"Connection: close" in lines
        error = json.loads(body)
        assert (431, "too_long_http_header_exception") == (error["status"], error["error"]["type"])
        assert f"more than {LARGEST_HEAD} bytes" in error["error"]["reason"]


def test_a_large_head_within_the_bound_is_answered_each_time() -> None:
    """Heads of one connection do not add up, and what a body has counts for none."""
    header = b"X-Large: " + b"x" * (LARGEST_HEAD - 200) + b"\r\n"
    body = b"".join(b"10000\r\n" + bytes(1 << 16) + b"\r\n" for _ in range(40)) + b"0\r\nX-After: y\r\n\r\n"
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        for request in (GET + header + b"\r\n", chunked + header + b"\r\n" + body, GET + header + b"\r\n"):
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
                answer += connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"/\xff", b"/a\xc3\xa9", b"/%ff", b"/?q=%ff"])
def test_a_path_of_any_bytes_is_answered(path: bytes) -> None:
    """What is not escaped is no path of HTTP."""
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        _, answer = sent(connection, iter([]))
        assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 2")
