"""Whatever the document of the API allows, and what it does not: every answer is a declared one, none a server's error.

The service is a real one, both of its processes. `make test` draws 10 requests of each operation, `make fuzz`
500, the same each time: `HYPOTHESIS_PROFILE=explore` draws others. What is below `/es` are the same routes
(`test_openapi.py`), so nothing is asked there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from described import made
from services.running import Running, service

EXAMPLES = int(os.environ.get("HEADRACE_FUZZ_EXAMPLES", "10"))
THOROUGH = EXAMPLES > 10
"""What is made of the document alone, before anything is drawn, takes half a minute."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

SESSION = requests.Session()
SESSION.trust_env = False
"""Connections are kept, and no proxy is looked for: half of a request's time went there."""

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
indexes:
  things: { type: tantivy, fields: { n: integer, word: keyword, message: text, time: date } }
pipelines:
  things:
    source: { type: http_push }
    index: things
"""

# Where much else runs, drawing ten deep queries takes a while; what a request may take is said with it.
pytestmark = pytest.mark.timeout(300)

INDEXES = ("things", "th*", "_all", "things,more", "missing")
"""Names that mean something, in the place of most that are drawn: else every example would be a 404."""


def document() -> dict[str, Any]:
    """Without what takes the fixture away under the other tests, and what is not this service's doing."""
    found = made()
    return {**found, "paths": {path: _plain(item) for path, item in found["paths"].items()}}


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "servers"}


def _configuration() -> schemathesis.Config:
    phases = {
        "coverage": {"enabled": THOROUGH},
        "examples": {"enabled": THOROUGH},
        "stateful": {"enabled": False},
    }
    generation = {"mode": "all", "with-security-parameters": False}  # there are no keys
    return schemathesis.Config.from_dict({"phases": phases, "generation": generation})


api = schemathesis.openapi.from_dict(document(), config=_configuration())


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A list as a line each."""
    if not isinstance(value, list):
        return _json(value)
    return b"".join(_json(each) + b"\n" for each in value)


@schemathesis.serializer(
    "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file", "text/csv"
)
def as_it_is(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """What is no Arrow and hardly any CSV."""
    return _json(value)


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


@api.hook
def map_path_parameters(context: Any, given: Any) -> Any:
    """Most indexes are one of ours; a name that is drawn stays in one of four, and for what makes none."""
    if not given:
        return given
    found = dict(given)
    name = found.get("index")
    if isinstance(name, str):
        place = sum(name.encode(errors="replace"))
        makes = context.operation.method in ("put", "post", "delete")
        found["index"] = INDEXES[place % len(INDEXES)] if makes or place % 4 else name
        if makes and context.operation.path in ("/{index}", "/_data_stream/{index}"):
            found["index"] = f"made-{place % 5}"
    if "pipeline" in found:
        found["pipeline"] = "things" if sum(str(found["pipeline"]).encode(errors="replace")) % 4 else "none"
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with service(folder, CONFIGURATION) as started:
        started.until_ready()
        rows = [
            {"n": n, "word": f"w{n % 3}", "message": "all is well", "time": "2026-01-01"} for n in range(20)
        ]
        text = "".join(f'{{"index":{{"_id":"{n}"}}}}\n{_json(row).decode()}\n' for n, row in enumerate(rows))
        assert 200 == started.push("/things/_bulk?refresh=true", text)[0]
        yield started
        # Here and in no test of its own: of several workers each has its own service.
        events = started.events()
        assert 200 == started.raw("/health/ready")[0]
        assert [] == [event for event in events if event["event"] == "process.restarted"]
        assert [] == [event for event in events if event["level"] in ("error", "critical")]


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # what fails is a short request: shrinking it costs minutes
)
def test_every_answer_is_a_declared_one(case: schemathesis.Case[Any], running: Running) -> None:
    """Right and wrong requests alike."""
    if case.path.startswith("/_cluster/health"):
        case.query = {**(case.query or {}), "timeout": "1s"}
    if case.query:
        _bounded(case.query)
    case.call_and_validate(base_url=running.base, session=SESSION, checks=CHECKS, timeout=30)


def _bounded(query: Any) -> None:
    """Nobody waits here for what will never be."""
    for name in ("timeout", "wait_for_status"):
        if name in query:
            query[name] = {"timeout": "1s", "wait_for_status": "green"}[name]
    query.pop("after", None)
