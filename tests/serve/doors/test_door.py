"""What happens at the door, and behind it where a body names an index."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.doors import Door, Doors, Keyring
from headrace.serve.doors.buckets import Buckets
from headrace.serve.doors.principal import CURRENT, Principal, allowed, visible
from headrace.settings import CorsSettings
from headrace.testing import ManualClock
from serve.doors.table import EVERYTHING, STRANGER, application, client, header, key

if TYPE_CHECKING:
    import httpx2

KEYS = [
    key("right", EVERYTHING, ["logs-*", "fresh-*"]),
    key("reader", ["read"], ["logs-*"]),
    key("all", EVERYTHING),
]
Asked = Callable[["httpx2.AsyncClient"], Awaitable[None]]


@asynccontextmanager
async def asking(
    folder: Path, doors: Doors | None = None, peer: tuple[str, int] = STRANGER
) -> AsyncIterator[httpx2.AsyncClient]:
    async with application(folder, doors or Doors(Door(Keyring(KEYS)))) as app, client(app, peer) as found:
        yield found


def test_a_401_says_how_to_come_in(tmp_path: Path) -> None:
    """In the shape that Elasticsearch's clients read."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.get("/logs-app/_search")
            assert 401 == answer.status_code == answer.json()["status"]
            error = answer.json()["error"]
            assert "security_exception" == error["type"] == error["root_cause"][0]["type"]
            assert (
                "missing authentication credentials for REST request [/logs-app/_search]" == error["reason"]
            )
            challenges = answer.headers.get_list("www-authenticate")
            assert ["Basic", "ApiKey", "Bearer"] == [each.split()[0] for each in challenges]
            assert challenges == error["header"]["WWW-Authenticate"]
            assert "Elasticsearch" == answer.headers["x-elastic-product"]
            wrong = await client.get("/", headers={"authorization": "Bearer no"})
            assert (401, "unable to authenticate") == (
                wrong.status_code,
                wrong.json()["error"]["reason"][:22],
            )

    anyio.run(run)


def test_a_403_names_what_is_missing(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.put("/logs-app/_doc/1", json={}, headers=header("reader"))
            assert "key [reader] lacks the scope [write]: its scopes are [read]" == _reason(answer)
            answer = await client.get("/other/_search", headers=header("reader"))
            assert "key [reader] may not use index [other]: its indexes are [logs-*]" == _reason(answer)

    anyio.run(run)


def _reason(answer: httpx2.Response) -> str:
    assert 403 == answer.status_code
    error = answer.json()["error"]
    assert "security_exception" == error["type"]
    return str(error["reason"])


@pytest.mark.parametrize(
    ("peer", "path", "headers", "status"),
    [
        (STRANGER, "/metrics", {}, 401),
        (STRANGER, "/metrics", header("reader"), 403),
        (STRANGER, "/metrics", header("all"), 200),
        (("127.0.0.1", 1), "/metrics", {}, 200),
        (("::1", 1), "/metrics", {}, 200),
        (("127.0.0.1", 1), "/metrics", header("nobody"), 401),
        (("127.0.0.1", 1), "/_search", {}, 401),
        (STRANGER, "/health/live", header("nobody"), 200),
        (STRANGER, "/", {"accept": "text/html"}, 200),
        (STRANGER, "/", {}, 401),
        (STRANGER, "/ui/page.js", {}, 200),
        # Names of what is open are names of indexes too.
        (STRANGER, "/health/_search", {}, 401),
        (STRANGER, "/ui/_search", {}, 401),
        (STRANGER, "/ui/_doc/1", {}, 401),
        (STRANGER, "/es/_search", {}, 401),
        (STRANGER, "//_search", {}, 401),
        (STRANGER, "/no/such/path", {}, 401),
    ],
)
def test_who_needs_a_key(
    tmp_path: Path, peer: tuple[str, int], path: str, headers: dict[str, str], status: int
) -> None:
    async def run() -> None:
        async with asking(tmp_path, peer=peer) as client:
            assert status == (await client.get(path, headers=headers)).status_code
            if status == 401 and path not in ("/", "/metrics"):
                assert 401 == (await client.post(path, headers=headers)).status_code

    anyio.run(run)


def test_a_bulk_request_is_refused_item_by_item(tmp_path: Path) -> None:
    async def run() -> None:
        lines: list[Any] = []
        for index in ("fresh-1", "other", "secret", "fresh-2"):
            lines += [{"index": {"_index": index}}, {"n": 1}]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        async with asking(tmp_path) as client:
            headers = {**header("right"), "content-type": "application/x-ndjson"}
            answer = (await client.post("/_bulk", content=body, headers=headers)).json()
            items = [item["index"] for item in answer["items"]]
            assert [201, 403, 403, 201] == [item["status"] for item in items]
            assert "security_exception" == items[1]["error"]["type"]
            assert 404 == (await client.head("/secret", headers=header("all"))).status_code
            assert 200 == (await client.head("/fresh-2", headers=header("all"))).status_code

    anyio.run(run)


def test_each_search_and_document_of_several_is_checked(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            for index in ("fresh-1", "secret-1"):
                assert 200 == (await client.put(f"/{index}", headers=header("all"))).status_code
            headers = {**header("right"), "content-type": "application/x-ndjson"}
            names = ("fresh-1", "secret-1", "fresh-*,secret-1", "*-1", "_all", "none-*")
            body = "".join(f'{{"index":"{name}"}}\n{{}}\n' for name in names)
            found = (await client.post("/_msearch", content=body, headers=headers)).json()["responses"]
            assert [200, 403, 403, 200] == [each["status"] for each in found[:4]]
            assert 1 == found[3]["_shards"]["total"]
            body = json.dumps({"docs": [{"_index": name, "_id": "1"} for name in names[:2]]})
            docs = (await client.post("/_mget", content=body, headers=headers)).json()["docs"]
            assert "security_exception" == docs[1]["error"]["type"]
            assert "error" not in docs[0] or docs[0]["error"]["type"] != "security_exception"

    anyio.run(run)


def test_an_alias_opens_no_index(tmp_path: Path) -> None:
    """Whatever the alias is called, and whoever made it."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            for index in ("fresh-1", "secret-1"):
                await client.put(f"/{index}", headers=header("all"))
                answer = await client.put(f"/{index}/_alias/fresh-all", headers=header("all"))
                assert 200 == answer.status_code
            for path in ("/fresh-all/_search", "/fresh-all/_count", "/fresh-all/_mapping", "/fresh-all"):
                assert 403 == (await client.get(path, headers=header("right"))).status_code
            shown = await client.get("/fresh-*/_alias", headers=header("right"))
            assert {"fresh-1"} == set(shown.json())
            for path in ("/_cat/aliases", "/_aliases", "/_resolve/index/*", "/_stats", "/_alias/fresh-all"):
                assert "secret" not in (await client.get(path, headers=header("right"))).text, path
            actions = {"actions": [{"add": {"index": "secret-1", "alias": "fresh-mine"}}]}
            assert 403 == (await client.post("/_aliases", json=actions, headers=header("right"))).status_code
            mine = await client.get("/fresh-nothing/_search", headers=header("right"))
            assert 404 == mine.status_code
            assert "secret" not in mine.text

    anyio.run(run)


def test_a_scroll_belongs_to_whoever_may_use_its_indexes(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            await client.put("/fresh-1", headers=header("all"))
            opened = await client.post("/fresh-1/_pit?keep_alive=1m", headers=header("right"))
            body = {"pit": {"id": opened.json()["id"]}}
            assert 200 == (await client.post("/_search", json=body, headers=header("right"))).status_code
            assert 403 == (await client.post("/_search", json=body, headers=header("reader"))).status_code
            gone = {"id": opened.json()["id"]}
            assert (
                404
                == (await client.request("DELETE", "/_pit", json=gone, headers=header("reader"))).status_code
            )
            assert (
                200
                == (await client.request("DELETE", "/_pit", json=gone, headers=header("right"))).status_code
            )

    anyio.run(run)


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    """Each key for itself; without a key, and with a wrong one, each address."""

    async def run() -> None:
        clock = ManualClock()
        doors = Doors(Door(Keyring(KEYS), rate=0.5, clock=clock))
        async with asking(tmp_path, doors) as client:
            statuses = []
            for who in ("all", "all", "right", "nobody", "nobody"):
                answer = await client.get("/", headers=header(who))
                statuses.append((answer.status_code, answer.headers.get("retry-after")))
            assert [(200, None), (429, "2"), (200, None), (401, None), (429, "2")] == statuses
            await clock.advance(2.0)
            assert 200 == (await client.get("/", headers=header("all"))).status_code
            for _ in range(3):
                assert 200 == (await client.get("/health/live")).status_code
        async with asking(tmp_path, Doors(Door(rate=1, clock=clock))) as client:
            assert [200, 429] == [(await client.get("/")).status_code for _ in range(2)]
            assert 200 == (await client.get("/health/live")).status_code

    anyio.run(run)


def test_so_many_requests_at_once_and_no_more(tmp_path: Path) -> None:
    """The probes always pass; a place is free again when its request has ended."""

    async def run() -> None:
        door = Door(most=1)
        async with asking(tmp_path, Doors(door)) as client:
            door.inside += 1
            answer = await client.get("/")
            assert (429, "1") == (answer.status_code, answer.headers["retry-after"])
            assert "es_rejected_execution_exception" == answer.json()["error"]["type"]
            assert 200 == (await client.get("/health/ready")).status_code
            door.inside -= 1
            assert 200 == (await client.get("/")).status_code
            assert 0 == door.inside

    anyio.run(run)


def test_a_page_of_another_origin_asks_before_it_asks(tmp_path: Path) -> None:
    """The question carries no key; the answer to the request itself can be read, a 401 too."""

    async def run() -> None:
        doors = Doors(Door(Keyring(KEYS)), CorsSettings(origins=["https://shop.example"]))
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        async with asking(tmp_path, doors) as client:
            for origin, status in (("https://shop.example", 200), ("https://evil.example", 400)):
                answer = await client.options("/_search", headers={**asked, "origin": origin})
                assert status == answer.status_code
            refused = await client.get("/_search", headers={"origin": "https://shop.example"})
            assert (401, "https://shop.example") == (
                refused.status_code,
                refused.headers["access-control-allow-origin"],
            )
        async with asking(tmp_path) as client:
            found = await client.get("/", headers={**header("all"), "origin": "https://shop.example"})
            assert "access-control-allow-origin" not in found.headers

    anyio.run(run)


@given(
    st.floats(0.1, 100),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=60),
)
def test_no_client_gets_more_than_its_rate(rate: float, asked: list[tuple[str, float]]) -> None:
    """In any time: the rate times the time, and what the bucket holds."""
    clock = ManualClock(0.0)
    buckets, got = Buckets(rate, clock), dict.fromkeys("abc", 0)
    for name, pause in asked:
        clock._now += pause
        wait = buckets.take(name)
        got[name] += wait == 0
        assert got[name] <= rate * clock.monotonic() + max(1.0, rate) + 1e-6
        assert wait <= 1 / rate + 1e-6


@given(st.lists(st.text("ab-*.", min_size=1), min_size=1, max_size=3), st.text("ab-."))
def test_a_pattern_is_text_with_stars(patterns: list[str], name: str) -> None:
    from fnmatch import fnmatchcase

    token = CURRENT.set(Principal("p", frozenset(), tuple(patterns)))
    try:
        assert any(fnmatchcase(name, pattern) for pattern in patterns) == allowed(name)
        assert ({name: 1} if allowed(name) else {}) == visible({name: 1})
    finally:
        CURRENT.reset(token)
