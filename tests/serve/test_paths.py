"""Paths as they come: with slashes at the end, with another method, with what is in them escaped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from built import build
from headrace.core.metrics import Metrics
from headrace.serve.app import server_app
from headrace.serve.folders import FolderReaders
from serve.doors.table import Alive, application, client

if TYPE_CHECKING:
    import httpx2

NDJSON = {"content-type": "application/x-ndjson"}


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with application(folder, None) as app, client(app) as found:
        yield found


def test_the_version_of_the_configuration_is_told_wherever_a_client_looks_for_one(tmp_path: Path) -> None:
    """Some shippers refuse a server that is older than they are."""

    async def run() -> None:
        build(tmp_path / "indexes" / "things", {}, [{"n": 1}])
        readers = FolderReaders(tmp_path)
        async with client(server_app(readers, Alive(), Metrics(), version="9.1.0")) as asked:
            for path in ("/", "/es/"):
                banner = (await asked.get(path)).json()["version"]
                assert ("9.1.0", "8.18.0") == (banner["number"], banner["minimum_wire_compatibility_version"])
            assert "9.1.0" == (await asked.get("/_nodes")).json()["nodes"]["headrace"]["version"]
            assert "9.1.0\n" == (await asked.get("/_cat/nodes?h=version")).text
            assert ["9.1.0"] == (await asked.get("/_cluster/stats")).json()["nodes"]["versions"]

    anyio.run(run)


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        (
            "/_search?timeout=abc",
            "illegal_argument_exception",
            "failed to parse setting [timeout] with value [abc]",
        ),
        ("/_search?timeout=5", "illegal_argument_exception", "unit is missing or unrecognized"),
        (
            "/_cluster/settings?master_timeout=x",
            "illegal_argument_exception",
            "[master_timeout] with value [x]",
        ),
        ("/?pretty=maybe", "illegal_argument_exception", "[maybe] of [pretty] as only [true] or [false]"),
        ("/es/_license?human=1", "illegal_argument_exception", "[1] of [human] as only [true] or [false]"),
        ("/logs-app/_stats/nonsense", "illegal_argument_exception", "unrecognized metric: [nonsense]"),
        (
            "/_stats/docs,stor",
            "illegal_argument_exception",
            "unrecognized metric: [stor]; did you mean 'store'",
        ),
        ("/_nodes/stats/heat", "illegal_argument_exception", "unrecognized metric: [heat]"),
    ],
)
def test_a_wrong_value_is_refused_and_not_passed_over(
    tmp_path: Path, path: str, kind: str, told: str
) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.get(path)
            assert (400, kind) == (answer.status_code, answer.json()["error"]["type"])
            assert told in answer.json()["error"]["reason"]

    anyio.run(run)


def test_a_wrong_time_in_the_body_of_a_search_is_refused_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.post("/_search", json={"timeout": "soon"})
            assert 400 == answer.status_code
            assert "[timeout] with value [soon] as a time value" in answer.json()["error"]["reason"]

    anyio.run(run)


@pytest.mark.parametrize("header", ["Accept", "Content-Type"])
@pytest.mark.parametrize("path", ["/", "/es/", "/_license", "/_cat", "/_search"])
def test_a_version_that_is_not_compatible_is_refused(tmp_path: Path, path: str, header: str) -> None:
    """As Elasticsearch does, so that a client that is too new is told what to do."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            given = "application/vnd.elasticsearch+json;compatible-with=12"
            answer = await client.get(path, headers={header: given})
            error = answer.json()["error"]
            assert (400, "media_type_header_exception") == (answer.status_code, error["type"])
            assert f"{header} version must be 7, 8 or 9, but found 12" in error["reason"]
            assert "compatible-with" not in answer.headers["content-type"]

    anyio.run(run)


@pytest.mark.parametrize("prefix", ["", "/es"])
def test_a_slash_at_the_end_changes_nothing(tmp_path: Path, prefix: str) -> None:
    """No redirect: one would lead where the client's Host header says, and shippers follow none with a body."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            line = b'{"index":{"_index":"logs-app"}}\n{"n":1}\n'
            answer = await client.post(f"{prefix}/_bulk/", content=line, headers=NDJSON)
            assert (200, False) == (answer.status_code, answer.json()["errors"])
            for path in ("/", "/_cat/aliases", "/_cluster/settings", "/_license", "/_alias"):
                with_slash = await client.get(f"{prefix}{path}/")
                plain = await client.get(f"{prefix}{path}")
                assert (200, plain.text) == (with_slash.status_code, with_slash.text), path
                assert "Elasticsearch" == with_slash.headers["x-elastic-product"]
            assert 400 == (await client.get(f"{prefix}/_no_such_thing/")).status_code

    anyio.run(run)


def test_the_search_page_and_the_prefix_are_there_with_and_without_their_slash(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            for path in ("/ui", "/ui/", "/"):
                answer = await client.get(path, headers={"accept": "text/html"})
                assert (200, "text/html") == (
                    answer.status_code,
                    answer.headers["content-type"].partition(";")[0],
                ), path
            assert 200 == (await client.get("/ui/page.css/")).status_code
            for path in ("/es", "/es/", "//"):
                assert "You Know, for Search" == (await client.get(path)).json()["tagline"], path

    anyio.run(run)


@pytest.mark.parametrize("prefix", ["", "/es"])
def test_another_method_than_there_is_is_told_those_there_are(tmp_path: Path, prefix: str) -> None:
    """In Elasticsearch's words, byte for byte."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.delete(f"{prefix}/_bulk")
            assert (405, "POST,PUT") == (answer.status_code, answer.headers["allow"])
            uri = f"uri [{prefix}/_bulk] and method [DELETE]"
            expected = f'{{"error":"Incorrect HTTP method for {uri}, allowed: [POST, PUT]","status":405}}'
            assert expected == answer.text
            assert "Elasticsearch" == answer.headers["x-elastic-product"]
            answer = await client.post(f"{prefix}/logs-app", json={})
            assert (405, "DELETE,GET,HEAD,PUT") == (answer.status_code, answer.headers["allow"])
            assert 405 == (await client.head(f"{prefix}/_bulk")).status_code
            for method in ("GET", "OPTIONS", "PATCH"):
                assert 400 == (await client.request(method, f"{prefix}/_no_such")).status_code

    anyio.run(run)


def test_options_of_a_path_are_its_methods(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            for path, allowed in {
                "/_bulk": "POST,PUT",
                "/es/x/_search/": "GET,HEAD,POST",
                "/": "GET,HEAD",
            }.items():
                answer = await client.options(path)
                assert (200, allowed, "") == (answer.status_code, answer.headers["allow"], answer.text)

    anyio.run(run)


def test_errors_are_pretty_where_that_is_asked_for_and_always_whole(tmp_path: Path) -> None:
    """`filter_path` is for answers: Elasticsearch turns it off when it writes an error."""

    async def run() -> None:
        async with asking(tmp_path) as client:
            for path in ("/nope/_search?", "/_no_such?", "/_cluster/health?wait_for_nodes=x&", "/ui/x?"):
                answer = await client.get(f"{path}pretty&filter_path=took,hits")
                assert '{\n  "error": {\n    "root_cause": [' == answer.text[:34], path
                assert {"error", "status"} == set(answer.json()), path
            answer = await client.delete("/_bulk?pretty&filter_path=took")
            assert answer.text.startswith('{\n  "error": "Incorrect HTTP method')
            taken = await client.put("/logs-app?filter_path=acknowledged", json={})
            assert "resource_already_exists_exception" == taken.json()["error"]["type"]

    anyio.run(run)


def test_an_escaped_slash_at_the_end_belongs_to_the_id(tmp_path: Path) -> None:
    async def run() -> None:
        async with asking(tmp_path) as client:
            answer = await client.put("/logs-app/_doc/a%2F", json={"n": 1})
            assert (201, "a/") == (answer.status_code, answer.json()["_id"])
            answer = await client.put("/logs-app/_doc/b/", json={"n": 1})
            assert (201, "b") == (answer.status_code, answer.json()["_id"])

    anyio.run(run)
