"""The page of the wire API has a line for every endpoint there is, and none for one there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

from starlette.routing import BaseRoute, Mount, Route

from headrace.core.metrics import Metrics
from headrace.serve.app import server_app

PAGE = Path(__file__).parent.parent / "docs" / "elasticsearch.md"
METHODS = "GET|HEAD|POST|PUT|DELETE"


def routes() -> list[BaseRoute]:
    """Every route that is served under /es too; none is called, so there need be nothing behind them."""
    nothing = MagicMock()
    [data] = [
        each for each in server_app(nothing, nothing, Metrics(), nothing).routes if isinstance(each, Mount)
    ]
    return data.routes


def served() -> set[str]:
    """`GET /{index}/_search` and so on; where there is a GET a HEAD goes without saying."""
    found = set()
    for route in routes():
        assert isinstance(route, Route)
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        if path != "/":
            path = path.rstrip("/")
        methods = route.methods or set()
        found |= {f"{method} {path}" for method in methods if method != "HEAD" or "GET" not in methods}
    return found


def described(text: str) -> Iterator[str]:
    """The endpoints in the first column of each table."""
    for line in text.splitlines():
        first = line.split("|")[1] if line.startswith("|") else ""
        for methods, path in re.findall(rf"`((?:(?:{METHODS}) )+)(/[^`]*)`", first):
            yield from (f"{method} {path}" for method in methods.split() if method != "HEAD")


def test_every_endpoint_has_a_line_and_every_line_an_endpoint() -> None:
    told = set(described(PAGE.read_text("utf-8")))
    there = {each for each in served() if not each.startswith("HEAD ")}
    assert sorted(there - told) == [], "endpoints without a line"
    assert sorted(told - there) == [], "lines without an endpoint"


def test_a_line_says_its_methods_before_its_path() -> None:
    assert ["GET /{index}/_count", "POST /{index}/_count"] == [
        *described("| `GET POST /{index}/_count`, `HEAD /x` | honoured |\nnot `GET /y`")
    ]
