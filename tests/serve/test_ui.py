"""The page, in a real headless Chromium, against the real API."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from starlette.applications import Starlette

from built import Readers, build
from headrace.core.health import State
from headrace.model import Json
from headrace.serve import documents, manage, search, ui
from headrace.serve.folders import FolderReaders
from headrace.serve.http import HttpServer, listen
from headrace.serve.manage import Surroundings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=3000", "--dump-dom",
]  # fmt: skip


def _documents() -> list[dict[str, object]]:
    return [
        {
            "time": f"2026-01-{1 + number % 5:02d}T00:00:{number:02d}Z",
            "host": f"web{number % 2}",
            "message": "cache <b>miss</b>",
            "geo": {"country": "NO"},
        }
        for number in range(20)
    ]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    fields = {"time": "date", "host": "keyword", "message": "text"}
    build(tmp_path / "indexes" / "logs", fields, _documents(), name="logs")
    yield from _served(FolderReaders(tmp_path))


async def _ready() -> tuple[State, Json]:
    return State.READY, {}


def _served(readers: Readers | FolderReaders) -> Iterator[str]:
    managed = manage.routes(Surroundings(readers, _ready)) if isinstance(readers, FolderReaders) else []
    app = Starlette(routes=[*ui.routes(), *search.routes(readers), *documents.routes(readers), *managed])
    server = HttpServer(app, listen("127.0.0.1", 0))
    with anyio.from_thread.start_blocking_portal() as portal:
        running = portal.start_task_soon(server.run)
        yield f"http://127.0.0.1:{server.port}/"
        server.stop()
        running.result(timeout=20)


def _dom(address: str, profile: Path) -> str:
    """The page once its scripts have run, as text."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout


def _element(dom: str, name: str) -> str:
    match = re.search(rf'<(\w+) id="{name}"[^>]*>(.*?)</\1>', dom, re.DOTALL)
    assert match is not None, f"no {name} in the page"
    return html.unescape(re.sub(r"<[^>]+>", " ", match[2]))


def test_the_page_shows_hits_a_total_and_a_count_over_time(address: str, tmp_path: Path) -> None:
    dom = _dom(address, tmp_path / "profile")
    assert "20  documents in" in _element(dom, "status")
    assert 20 == dom.count('<tr class="hit"')
    assert dom.count('class="bar"') >= 4
    assert "geo.country" in dom
    assert "cache &lt;b&gt;miss&lt;/b&gt;" in dom
    first, second = dom.index("2026-01-05T00:00:19Z"), dom.index("2026-01-04T00:00:18Z")
    assert first < second


def test_a_query_in_the_address_is_asked(address: str, tmp_path: Path) -> None:
    dom = _dom(f"{address}#index=logs&q=host:web1%20AND%20time:%3E%3D2026-01-05", tmp_path / "profile")
    assert "2  documents in" in _element(dom, "status")


def test_an_error_is_shown_in_the_servers_words(address: str, tmp_path: Path) -> None:
    dom = _dom(f"{address}#index=logs&q=time:yesterday", tmp_path / "profile")
    assert "query_shard_exception" in _element(dom, "error")
    assert "[time] of type [date]" in _element(dom, "error")


def test_without_any_index_the_page_says_what_to_do(tmp_path: Path) -> None:
    for address in _served(Readers({})):
        dom = _dom(address, tmp_path / "profile")
        assert "headrace index FILES --into DIR" in _element(dom, "empty")
