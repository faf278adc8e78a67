"""What becomes of requests that are under way when the service is told to stop."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from urllib.parse import quote

import msgspec

from headrace.serve import tokens
from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""
HEAD = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"


def waiting(running: Running) -> socket.socket:
    """A search that waits for a write that never comes, begun for certain.

    Both requests come in one piece, and the second is begun when the first is answered."""
    status, headers, _ = running.push("/_bulk", '{"index":{"_index":"logs"}}\n{"n":1}\n')
    assert 200 == status
    [token] = tokens.decode(headers["headrace-token"])
    later = tokens.encode([msgspec.structs.replace(token, record=1000)])
    connection = socket.create_connection(("127.0.0.1", int(running.base.rpartition(":")[2])), timeout=20)
    search = HEAD.format(f"/logs/_search?after={quote(later)}&timeout=1m", "Connection: close\r\n")
    connection.sendall((HEAD.format("/health/live", "") + search).encode())
    first = b""
    while not first.endswith(b'{"status":"alive"}'):
        first += connection.recv(4096)
    return connection


def test_a_search_that_waits_is_told_that_it_may_be_repeated_and_nothing_is_logged(tmp_path: Path) -> None:
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.until(lambda: running.push("/logs/_doc?refresh=true", '{"n":1}')[0] == 201)
        with waiting(running) as connection:
            running.process.send_signal(signal.SIGTERM)
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        assert 0 == running.process.wait(timeout=20)
    assert answer.startswith(b"HTTP/1.1 503 "), answer
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert "the server is stopping, safe to repeat" == error["reason"]
    assert "Traceback" not in running.words()
    assert [] == [each for each in running.events() if each["level"] in ("error", "critical")]
