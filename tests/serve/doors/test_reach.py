"""How far a key that is bound to indexes reaches below `/api/`, with a real ingester behind the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from headrace.app import build_ingester
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.layout import socket_path
from headrace.serve.doors import Door, Doors, Keyring
from headrace.serve.forwarding import LARGEST_BODY
from headrace.serve.http import HttpServer, listen_unix
from headrace.serve.local import ingester_app
from headrace.serve.upstream import Upstream
from headrace.services.ingester import IngesterView, PushedView
from headrace.settings import Settings, loads
from serve.doors.table import EVERYTHING, application, client, header, key

if TYPE_CHECKING:
    import httpx2
    from starlette.types import Message, Scope

CONFIGURATION = """
data_dir: data
disk_reserve: 1MB
indexes:
  a-logs: { type: tantivy, memory: 32MB, fields: { n: integer } }
  b-logs: { type: tantivy, memory: 32MB, fields: { n: integer } }
pipelines:
  pa: { source: { type: http_push }, index: a-logs }
  pb: { source: { type: http_push }, index: b-logs }
  pb.more: { source: { type: files, paths: ["*.json"] }, index: b-logs }
"""
DOORS = Doors(Door(Keyring([key("bound", EVERYTHING, ["a-*"]), key("all", EVERYTHING)])))
JSON = {"content-type": "application/json"}


@asynccontextmanager
async def ingester(settings: Settings) -> AsyncIterator[None]:
    """Runs in this process, and answers on its socket."""
    metrics = Metrics()
    made = build_ingester(settings, metrics=metrics, health=Health())
    view = IngesterView(made)
    app = ingester_app(view, view, PushedView(made), metrics)
    http = HttpServer(app, listen_unix(socket_path(settings.data_dir)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.run)
        tasks.start_soon(partial(made.run, until_finished=False))
        try:
            yield
        finally:
            made.supervisor.stop()
            http.stop()


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    settings = loads(CONFIGURATION, "yaml", base=folder)
    async with application(folder, DOORS, CONFIGURATION) as app, ingester(settings), client(app) as asked:
        for _ in range(200):
            answer = await asked.get("/api/pipelines", headers=header("all"))
            if answer.status_code == 200:
                break
            await anyio.sleep(0.05)
        assert ["pa", "pb", "pb.more"] == sorted(each["name"] for each in answer.json()["pipelines"])
        yield asked


def test_a_bound_key_reaches_what_belongs_to_its_indexes_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as asked:

            async def ask(who: str, method: str, path: str, body: Any = None) -> httpx2.Response:
                headers = {**header(who), **JSON}
                content = b"" if body is None else msgspec.json.encode(body)
                return await asked.request(method, path, headers=headers, content=content)

            for pipeline in ("pa", "pb"):
                pushed = await ask("all", "POST", f"/ingest/{pipeline}", [{"n": 1}])
                assert 200 == pushed.status_code, pushed.text
            made = await ask("all", "PUT", "/b-made/_doc/1", {"n": 1})
            assert 201 == made.status_code
            force = {"force": None}
            mine = [
                ("GET", "/api/pipelines/pa", None),
                ("DELETE", "/api/pipelines/pa/dead-letters?reason=x", None),
                ("GET", "/api/breakers/source:pa", None),
                ("POST", "/api/breakers/index:a-logs", force),
            ]
            others = [
                ("GET", "/api/pipelines/pb", None),
                ("GET", "/api/pipelines/pb.more", None),
                ("DELETE", "/api/pipelines/pb/dead-letters", None),
                ("GET", "/api/breakers/source:pb", None),
                ("POST", "/api/breakers/index:b-logs", force),
                ("POST", "/api/breakers/source:pb.more", force),
                ("DELETE", "/api/buffer/subscribers/pb", None),
                ("DELETE", "/api/buffer/subscribers/push:b-made", None),
                ("GET", "/api/pipelines/push:b-made", None),
                ("GET", "/api/flags", None),
                ("GET", "/metrics", None),
                ("HEAD", "/metrics", None),
            ]
            for place in others:
                refused = await ask("bound", *place)
                assert 403 == refused.status_code, place
                if place[0] != "HEAD":
                    assert "a-*" in refused.json()["error"]["reason"], place
            for name in ("nobody", "lookup:pb.step", "generation:x"):
                for path in ("/api/pipelines", "/api/breakers", "/api/buffer/subscribers"):
                    method = "DELETE" if "buffer" in path else "GET"
                    assert 403 == (await ask("bound", method, f"{path}/{name}")).status_code
            for place in mine:
                assert 200 == (await ask("bound", *place)).status_code, place
            for path, wanted in (
                ("/api/pipelines", ["pa"]),
                ("/api/breakers", ["index:a-logs", "source:pa"]),
            ):
                answer = await ask("bound", "GET", path)
                [listed] = [value for value in answer.json().values() if isinstance(value, list)]
                assert wanted == [each["name"] for each in listed]
                assert b"b-" not in answer.content
                assert b"pb" not in answer.content
            buffer = (await ask("bound", "GET", "/api/buffer")).json()
            assert {"pa": ["pa"]} == {log: [*each["positions"]] for log, each in buffer["logs"].items()}
            assert (buffer["holder"] or {"subscriber": "pa"})["subscriber"] == "pa"
            whole = (await ask("all", "GET", "/api/buffer")).json()
            assert {"pa", "pb"} < set(whole["logs"])
            for place in others:
                assert (await ask("all", *place)).status_code in (200, 404), place
            assert 200 == (await ask("bound", "DELETE", "/api/buffer/subscribers/pa")).status_code

    anyio.run(run)


PATHS = [
    b"/api/../push/wait",
    b"/api/%2e%2e/push/wait",
    b"/api/pipelines/../../push/wait",
    b"/api/pipelines/..",
    b"/api/pipelines/%2e%2e",
    b"/api/pipelines/%2E",
    b"/api/pipelines/%2e%2e/dead-letters",
    b"/api/breakers/%2e%2e%2f%2e%2e%2fpush%2fwait",
    b"/api/breakers/%2e%2e",
    b"/api/push/wait",
    b"/api//push/wait",
    b"/api/pipelines/..;/..;/push/wait",
]


def test_no_path_leads_to_the_routes_that_are_for_the_server_alone(tmp_path: Path) -> None:
    """Dots are no name, however they are written; the wait they once reached answered 500."""

    async def run() -> None:
        async with service(tmp_path) as asked:
            app = asked._transport.app  # type: ignore[attr-defined]  # of httpx2.ASGITransport
            for path in PATHS:
                for method in ("GET", "POST", "DELETE"):
                    status, body = await _raw(app, method, path)
                    assert status in (400, 404, 405), (method, path, body)
                    assert b"no wait" not in body

    anyio.run(run)


async def _raw(app: Any, method: str, path: bytes) -> tuple[int, bytes]:
    """Asked as it stands: a client would fold the dots."""
    from urllib.parse import unquote

    headers = [(b"host", b"server"), *((k.encode(), v.encode()) for k, v in header("all").items())]
    scope: Scope = {
        "type": "http", "method": method, "path": unquote(path.decode()), "raw_path": path, "query_string": b"",
        "headers": headers, "client": ("10.9.8.7", 1), "server": ("server", 80), "scheme": "http",
        "root_path": "", "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def test_a_command_is_small(tmp_path: Path) -> None:
    async def run() -> None:
        async with application(tmp_path, DOORS, CONFIGURATION) as app, client(app) as asked:
            for headers in (header("all"), {**header("all"), "content-encoding": "gzip"}):
                body = b" " * (LARGEST_BODY + 1)
                answer = await asked.post("/api/breakers/source:pa", content=body, headers=headers)
                assert 413 == answer.status_code

            async def endless() -> AsyncIterator[bytes]:
                for _ in range(1_000):
                    yield b" " * LARGEST_BODY
                raise AssertionError("it was read to its end")

            answer = await asked.post("/api/breakers/source:pa", content=endless(), headers=header("all"))
            assert 413 == answer.status_code
            assert "content_too_long_exception" == answer.json()["error"]["type"]

    anyio.run(run)


@pytest.mark.parametrize("path", ["/push/wait", "/push/regenerate/x", "/api/breakers/source:pa"])
def test_the_ingester_answers_whatever_the_body_is(tmp_path: Path, path: str) -> None:
    """Also to the server, which alone asks it."""
    bodies = [
        b"", b"{", b"\xff", b"[" * 100_000, b"null", b"[]", b'{"pipeline":1}', b'{"pipeline":"\xed\xa0\x80"}',
        b'{"pipeline":"x","partition":"","record":-1,"visible":true,"results":[],"force":true,"within":-1}',
        b'{"pipeline":"x","partition":"","record":1e400,"visible":1,"results":[[1]],"force":0,"within":"x"}',
    ]  # fmt: skip

    async def run() -> None:
        async with service(tmp_path):
            upstream = Upstream(socket_path(loads(CONFIGURATION, "yaml", base=tmp_path).data_dir))
            async with upstream:
                for body in bodies:
                    answer = await upstream.ask("POST", path, body)
                    assert 500 != answer.status_code, body
                    assert 400 <= answer.status_code, body

    anyio.run(run)
