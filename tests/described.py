"""The server's application with all its routes and nothing behind them, and the document it makes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.core.metrics import Metrics
from headrace.serve.app import Writing, server_app
from headrace.serve.upstream import Upstream


class Nothing:
    """Stands where no route ever looks while it is described."""

    def __getattr__(self, name: str) -> Any:
        return Nothing()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Nothing()


def server() -> Starlette:
    """The server's application with all its routes, and nothing behind them."""
    nothing = cast("Any", Nothing())
    fields = dict.fromkeys(Writing.__dataclass_fields__, nothing) | {"upstream": Upstream(Path("none"))}
    return server_app(nothing, nothing, Metrics(), Writing(**fields))


@cache
def made() -> dict[str, Any]:
    """As clients get it."""
    with TestClient(server()) as client:
        answer = client.get("/openapi.json")
    assert "application/json" == answer.headers["Content-Type"]
    found: dict[str, Any] = msgspec.json.decode(answer.content)
    return found
