"""Slow clients, over real sockets: what trickles is closed, what is only slow goes on."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme

from headrace.core.errors import ConfigError
from headrace.serve.doors.tls import Certificate
from headrace.settings import TlsSettings
from serve.doors.sockets import LARGE, PERIOD, serving


def closed_after(connection: socket.socket, drop: bytes, every: float) -> float:
    """Seconds until the connection is closed, while a drop is sent now and then."""
    began = time.monotonic()
    connection.settimeout(every)
    while time.monotonic() - began < 10:
        with contextlib.suppress(TimeoutError):
            try:
                if not connection.recv(1):
                    break
            except ConnectionError:
                break
        with contextlib.suppress(ConnectionError):
            connection.sendall(drop)
    return time.monotonic() - began


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
    ],
    ids=["nothing", "headers", "body"],
)
def test_who_trickles_is_closed(begin: bytes) -> None:
    """A byte now and then is no progress; others are answered meanwhile."""
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(begin)
        after = closed_after(slow, b"x" if begin else b"", PERIOD / 8)
        assert PERIOD * 0.9 <= after < 5
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"


def test_a_second_request_on_a_connection_that_trickles_is_closed() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.settimeout(5)
        answer = b""
        while not answer.endswith(b"\r\n\r\n0"):
            answer += slow.recv(1000)
        slow.sendall(b"GET / HT")
        assert closed_after(slow, b"T", PERIOD / 8) < 5


def test_who_does_not_read_is_closed() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(PERIOD * 3)  # nothing is read meanwhile: that is what is tested
        received = 0
        slow.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while piece := slow.recv(1 << 20):
                received += len(piece)
        assert received < LARGE


def test_who_is_only_slow_is_answered() -> None:
    """Some kilobytes in each period, for several of them; and a pause between two requests."""
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        pieces = 12
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (pieces * 1500))
        for _ in range(pieces):
            time.sleep(PERIOD / 4)  # the pace is what is tested
            slow.sendall(bytes(1500))
        slow.settimeout(5)
        assert slow.recv(12) == b"HTTP/1.1 200"
        time.sleep(PERIOD * 2)
        slow.recv(1000)
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"


def certificate(folder: Path, authority: trustme.CA) -> TlsSettings:
    issued = authority.issue_cert("localhost")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return TlsSettings(certificate=folder / "cert.pem", key=folder / "key.pem")


def answered(port: int, authority: trustme.CA) -> bytes:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        return connection.recv(12)


def test_https_is_answered_and_http_is_not(tmp_path: Path) -> None:
    """A renewed certificate is used without a restart; one that does not fit is not."""
    first, second = trustme.CA(), trustme.CA()
    tls = Certificate(certificate(tmp_path, first))
    with serving(tls) as port:
        assert answered(port, first) == b"HTTP/1.1 200"
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.settimeout(5)
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(100)
        certificate(tmp_path, second)
        tls.look()
        assert answered(port, second) == b"HTTP/1.1 200"
        (tmp_path / "key.pem").write_text("no key")
        tls.look()
        assert answered(port, second) == b"HTTP/1.1 200"


def test_slow_clients_are_closed_under_tls_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        serving(Certificate(certificate(tmp_path, authority))) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as slow,
    ):
        slow.sendall(b"GET / HTTP/1.1\r\n")
        slow.settimeout(5)
        with contextlib.suppress(OSError):
            assert slow.recv(1) == b""


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read .*cert.pem: No such file"), ("nothing", "are no certificate with its key")],
)
def test_a_certificate_that_cannot_be_used_is_said_at_the_start(
    tmp_path: Path, content: str | None, says: str
) -> None:
    settings = certificate(tmp_path, trustme.CA())
    settings.certificate.unlink()
    if content is not None:
        settings.certificate.write_text(content)
    with pytest.raises(ConfigError, match=says):
        Certificate(settings)
