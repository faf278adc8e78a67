"""Every endpoint, asked with every kind of key of the real application.

`docs/security.md` has the table: `python tests/serve/doors/table.py > docs/security.md`
after a change.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from starlette.routing import Route

from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.layout import socket_path
from headrace.model import Json
from headrace.serve.app import Writing, server_app
from headrace.serve.doors import Door, Doors, Keyring
from headrace.serve.doors.scopes import ANY, OPEN, known, wide
from headrace.serve.line import Line
from headrace.serve.upstream import Upstream
from headrace.services.writing import WritePath
from headrace.settings import KeySettings, Scope, loads
from headrace.units import Secret

if TYPE_CHECKING:
    import httpx2
    from starlette.applications import Starlette

CONFIGURATION = """
data_dir: data
disk_reserve: 1MB
indexes:
  logs-app: { type: tantivy, memory: 32MB, fields: { n: integer } }
  other: { type: tantivy, memory: 32MB, fields: { n: integer } }
pipelines:
  app: { source: { type: http_push }, index: logs-app }
"""
PAGE = Path(__file__).parents[3] / "docs" / "security.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
NAMED, NAMED_END = "<!-- names -->", "<!-- end of the names -->"
STRANGER = ("10.9.8.7", 4711)
EVERYTHING: tuple[Scope, ...] = ("read", "write", "admin", "monitor")


class Alive:
    """A server that is well."""

    async def readiness(self) -> tuple[State, Json]:
        return State.READY, {"state": "ready"}

    async def metrics(self) -> bytes:
        return b""


def key(name: str, scopes: Sequence[Scope], indexes: Sequence[str] = ("*",)) -> KeySettings:
    return KeySettings(
        name=name, secret=Secret(f"the-secret-of-{name}"), scopes=list(scopes), indexes=list(indexes)
    )


def header(name: str) -> dict[str, str]:
    secret = base64.b64encode(f"{name}:the-secret-of-{name}".encode()).decode()
    return {"authorization": f"ApiKey {secret}"}


@asynccontextmanager
async def application(
    folder: Path, doors: Doors | None, configuration: str = CONFIGURATION
) -> AsyncIterator[Starlette]:
    """The server's own, over a real buffer and catalogue; only the ingester is away."""
    settings = loads(configuration, "yaml", base=folder)
    metrics = Metrics()
    upstream = Upstream(socket_path(settings.data_dir))
    async with WritePath.opened(settings, metrics, Health()) as path, upstream:
        line = Line(upstream, lambda: path.buffer.incarnation)
        push = path.push(line, lambda: "")
        writing = Writing(push, path.buffer, upstream, line, path.feeds())
        yield server_app(path.indices, Alive(), metrics, writing, doors)


@asynccontextmanager
async def client(app: Starlette, peer: tuple[str, int] = STRANGER) -> AsyncIterator[httpx2.AsyncClient]:
    import httpx2

    transport = httpx2.ASGITransport(app=app, client=peer, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as found:
        yield found


@dataclass(frozen=True, order=True)
class Endpoint:
    path: str
    method: str

    @property
    def scope(self) -> str | None:
        return known(self.method, self.path)

    @property
    def names_index(self) -> bool:
        """Also by the name of what belongs to one."""
        named = self.path.startswith("/api/") and "{name" in self.path
        return "{index" in self.path or self.path.startswith("/ingest/") or named or self.simulates

    @property
    def simulates(self) -> bool:
        return self.path.endswith("/_simulate_index/{name}")

    @property
    def is_wide(self) -> bool:
        return wide(self.method, self.path)

    def url(self, index: str, pipeline: str) -> str:
        filled = re.sub(r"\{index(:\w+)?\}", index, self.path).replace("{pipeline}", pipeline)
        filled = filled.replace("/breakers/{name}", f"/breakers/source:{pipeline}")
        filled = re.sub(r"(/api/.*)\{name(:\w+)?\}", rf"\g<1>{pipeline}", filled)
        filled = filled.replace("{name}", index) if self.simulates else filled
        filled = re.sub(r"(/_alias(es)?)/\{name\}", r"\1/fresh-x", filled)
        filled = filled.replace("/ui/{name}", "/ui/page.css")
        return re.sub(r"\{\w+(:\w+)?\}", "x", filled) + "?timeout=0"


def endpoints(app: Starlette) -> list[Endpoint]:
    """Each once; those of `/es` are the same routes."""
    found = {
        Endpoint(route.path, method)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD" or "GET" not in (route.methods or ())
    }
    return sorted(found)


def too_weak(scope: str) -> list[Scope]:
    """The most scopes that are not enough."""
    for held in ([*EVERYTHING[:place], *EVERYTHING[place + 1 :]] for place in range(4)):
        if scope == "read+write" and "write" not in held:
            return held
    alternatives = scope.split("|")
    return [each for each in EVERYTHING if each not in alternatives]


Row = tuple[Endpoint, list[int]]


async def rows(folder: Path) -> list[Row]:
    """Statuses of each endpoint: no key, wrong key, too weak, another index, right."""
    async with application(folder, None) as app:
        every = endpoints(app)
    scopes = sorted({each.scope or "" for each in every})
    weak = {scope: f"weak{place}" for place, scope in enumerate(scopes)}
    keys = [key(name, too_weak(scope)) for scope, name in weak.items() if too_weak(scope)]
    keys += [key("whole", EVERYTHING)]
    keys += [key("right", EVERYTHING, ["logs-*", "fresh-*"]), key("other", EVERYTHING, ["elsewhere-*"])]
    doors = Doors(Door(Keyring(keys)))
    found: list[Row] = []
    async with application(folder, doors) as app, client(app) as asked:
        for each in every:
            url = each.url("logs-app", "app")
            held = header(weak[each.scope or ""]) if too_weak(each.scope or "") else header("right")
            right = header("whole") if each.is_wide else header("right")
            wrong = {"authorization": "ApiKey d3Jvbmc6d3Jvbmc="}
            statuses = []
            for headers in ({}, wrong, held, header("other"), right):
                content = {"content-type": "application/json"}
                answer = await asked.request(each.method, url, headers=headers | content, content=b"{}\n")
                statuses.append(answer.status_code)
                if headers == header("other") and not (each.names_index or each.is_wide):
                    assert b"logs-app" not in answer.content, f"{each} tells of an index of others"
            found.append((each, statuses))
    return found


def words(each: Endpoint, statuses: list[int]) -> list[str]:
    none, wrong, weak, other, right = statuses

    def cell(status: int) -> str:
        return str(status) if status in (401, 403) else "answered"

    weakest = cell(weak) if each.scope not in (OPEN, ANY) else "any key will do"
    others = cell(other) if each.names_index or each.is_wide else "only its own indexes"
    if each.scope == OPEN:
        weakest = others = "answered"
    return [cell(none), cell(wrong), weakest, others, cell(right)]


def shown(path: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def scope_words(scope: str | None) -> str:
    if scope in (OPEN, ANY):
        return "none" if scope == OPEN else "any"
    return str(scope).replace("|", " or ").replace("+", " and ")


def table(found: Sequence[Row]) -> str:
    """Methods with the same answers share a line."""
    merged: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for each, statuses in found:
        where = (shown(each.path), scope_words(each.scope), tuple(words(each, statuses)))
        merged.setdefault(where, []).append(each.method)
    lines = [
        "| Endpoint | Scope | No key | Wrong key | Too weak | For another index | Right |",
        "|---|---|---|---|---|---|---|",
    ]
    for (path, scope, cells), methods in merged.items():
        lines.append(f"| `{' '.join(sorted(set(methods)))} {path}` | {scope} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(found: Sequence[Row]) -> str:
    return with_table(PAGE.read_text("utf-8"), BEGIN, table(found), END)


def with_table(text: str, begin: str, table: str, end: str) -> str:
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"


def written() -> str:
    """The page with both tables as they are now."""
    from serve.doors import named

    with tempfile.TemporaryDirectory() as folder:
        text = page(anyio.run(rows, Path(folder) / "rows"))
        found = anyio.run(named.found, Path(folder) / "named")
    return with_table(text, NAMED, named.table(found), NAMED_END)


if __name__ == "__main__":
    sys.stdout.write(written())
