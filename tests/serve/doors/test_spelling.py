"""What is not UTF-8 names nothing."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from headrace.serve.doors import Door, Doors, Keyring
from serve.doors.table import EVERYTHING, application, client, header, key

DOORS = Doors(Door(Keyring([key("all", EVERYTHING)])))


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("PUT", "/u/_doc/%ff", "the path [/u/_doc/%ff] is not UTF-8 at its byte 0xff"),
        ("PUT", "/u/_doc/%fe", "the path [/u/_doc/%fe] is not UTF-8 at its byte 0xfe"),
        ("PUT", "/u/_doc/%ed%a0%80", "the path [/u/_doc/%ed%a0%80] is not UTF-8"),
        ("PUT", "/u%c3", "the path [/u%c3] is not UTF-8 at its byte 0xc3"),
        ("GET", "/es/u%80/_search", "the path [/es/u%80/_search] is not UTF-8"),
        ("GET", "/_search?q=%ff", "the query [q=%ff] is not UTF-8 at its byte 0xff"),
        ("POST", "/_bulk?filter_path=" + "a," * 1024 + "a", "[filter_path] has 1025 steps, at most 1024"),
    ],
)
def test_what_cannot_be_read_is_refused_and_changes_nothing(
    tmp_path: Path, method: str, path: str, reason: str
) -> None:
    async def run() -> None:
        async with application(tmp_path, DOORS) as app, client(app) as asked:
            assert 401 == (await asked.request(method, path, json={})).status_code
            answer = await asked.request(method, path, json={}, headers=header("all"))
            assert (400, "illegal_argument_exception") == (
                answer.status_code,
                answer.json()["error"]["type"],
            )
            assert reason in answer.json()["error"]["reason"]
            assert 404 == (await asked.head("/u", headers=header("all"))).status_code

    anyio.run(run)


@pytest.mark.parametrize("name", ["%c3%bf", "%f0%9f%8c%8a", "%ef%bf%bd", "a%2fb", "100%25"])
def test_whatever_is_utf_8_is_a_name(tmp_path: Path, name: str) -> None:
    async def run() -> None:
        async with application(tmp_path, DOORS) as app, client(app) as asked:
            answer = await asked.put(f"/u/_doc/{name}", json={}, headers=header("all"))
            assert 201 == answer.status_code

    anyio.run(run)
