"""A hostile HTTP server on loopback: an API that works, and everything that goes wrong between it and us.

The API is a function of the request. Each `Fault` put into `faults` spoils one answer, in order.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """As it arrived; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Api: TypeAlias = Callable[[Request], Response]


@dataclass(frozen=True)
class Fault:
    """What becomes of one answer.

    status, headers, body: sent in place of the answer's own where given
    cut:    send only this part of the body: with its full length announced, or (`quietly`) with that of the part
    hang:   seconds between two bytes of the body; a very long time is a peer that has died
    reset:  close the connection without an answer
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    cut: float = 1.0
    quietly: bool = False
    hang: float = 0.0
    reset: bool = False


BROKEN = Fault(status=500, body=b"oh no")
BUSY = Fault(status=429, body=b"slow down", headers={})
RESET = Fault(reset=True)
CUT = Fault(cut=0.5)
TRUNCATED = Fault(cut=0.5, quietly=True)
SLOW = Fault(hang=0.05)


class Hostile:
    """A running server. `requests` are those that came, in order; `faults` spoil the next answers."""

    def __init__(self, api: Api, tls: ssl.SSLContext | None = None) -> None:
        self.api = api
        self.faults: deque[Fault | None] = deque()
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, request: Request) -> tuple[Response, Fault]:
        with self.lock:
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults else None
            return self.api(request), fault or Fault()

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or refuse our certificate, are what is being tested."""


def _handler(hostile: Hostile) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small writes one after another would each wait for the last one's acknowledgement.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class says so
            """Tests look at `requests`."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            response, fault = hostile.answer(Request(self.command, parts.path, query, headers, body))
            if fault.reset:
                self.close_connection = True
                return
            self._send(_spoilt(response, fault), fault)

        def _send(self, response: Response, fault: Fault) -> None:
            whole = response.body
            part = whole[: int(len(whole) * fault.cut)]
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if response.status not in {204, 304}:
                self.send_header("content-length", str(len(part if fault.quietly else whole)))
            self.end_headers()
            if response.status in {204, 304}:
                return
            if fault.hang:
                self._drip(part, fault.hang)
            else:
                self.wfile.write(part)
            if len(part) < len(whole) and not fault.quietly:
                self.close_connection = True

        def _drip(self, body: bytes, pause: float) -> None:
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                self.wfile.flush()
                if hostile.stopping.wait(pause):
                    return

    return Handler


def _spoilt(response: Response, fault: Fault) -> Response:
    changed = replace(response, status=fault.status or response.status)
    if fault.headers is not None:
        changed = replace(changed, headers=fault.headers)
    return changed if fault.body is None else replace(changed, body=fault.body)


@contextmanager
def serving(api: Api, tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """The server at work; stopped at the end."""
    hostile = Hostile(api, tls)
    try:
        yield hostile
    finally:
        hostile.stop()


def as_json(value: object, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(body=json.dumps(value).encode(), headers={"content-type": JSON, **named})


class Collection:
    """Records behind every kind of pagination: `/page`, `/offset`, `/cursor`, `/link`, `/next` and `/all`.

    A cursor is a keyset: it holds the last id given, so it stays where it is when others come and go. Before each
    answer `before(n)` may change the records: n is how many answers there were.
    """

    def __init__(self, count: int = 0, size: int = 10) -> None:
        self.rows: list[dict[str, Any]] = [{"n": n, "text": f"value {n}"} for n in range(count)]
        self.size = size
        self.answers = 0
        self.before: Callable[[int], None] = lambda _: None

    def __call__(self, request: Request) -> Response:
        self.before(self.answers)
        self.answers += 1
        given = request.query | (json.loads(request.body) if request.body else {})
        size = min(int(given.get("per_page") or given.get("limit") or self.size), self.size)
        rows = self.rows
        if "since" in given:
            rows = [row for row in rows if row["changed"] >= type(row["changed"])(given["since"])]
        kind = request.path.strip("/").split("/")[-1]
        answer: Response = getattr(self, f"_{kind}")(request, rows, given, size)
        return answer

    def _all(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        return as_json(rows)

    def _page(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        start = (int(given.get("page", 1)) - 1) * size
        return as_json({"items": rows[start : start + size]})

    def _offset(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        start = int(given.get("offset", 0))
        return as_json({"items": rows[start : start + size]})

    def _cursor(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        page, following = self._after(rows, given.get("cursor"), size)
        return as_json({"items": page, "meta": {"next": following}})

    def _link(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        page, following = self._after(rows, given.get("cursor"), size)
        link = {"link": f'</link?cursor={following}>; rel="next", </link>; rel="first"'} if following else {}
        return as_json({"items": page}, **link)

    def _next(self, request: Request, rows: list[Any], given: dict[str, Any], size: int) -> Response:
        page, following = self._after(rows, given.get("cursor"), size)
        host = request.headers["host"]
        url = f"http://{host}/next?cursor={following}" if following else None
        return as_json({"items": page, "meta": {"next": url}})

    @staticmethod
    def _after(rows: list[Any], cursor: str | None, size: int) -> tuple[list[Any], str | None]:
        rest = rows if cursor is None else [row for row in rows if row["n"] > int(cursor.removeprefix("c"))]
        page = rest[:size]
        return page, f"c{page[-1]['n']}" if len(rest) > size else None
