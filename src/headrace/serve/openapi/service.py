"""What `/openapi.json` says of the service itself: health, pipelines, breakers, flags, buffer, page."""

from __future__ import annotations

from typing import Final

from headrace.serve.openapi.operation import (
    ADMIN,
    BUSY,
    DOOR,
    Answer,
    Body,
    Operation,
    Operations,
    ref,
    spread,
)
from headrace.serve.openapi.schemas import OBJECT, TEXT, WHOLE, an_object, list_of

HTML: Final = "text/html"
_PAGE: Final = Answer(None, "A file of the page", (HTML, "text/css", "text/javascript", "image/svg+xml"))
_READY: Final = an_object(
    "state", "since", "reasons", state=TEXT, since={"type": "number"}, reasons=list_of(TEXT)
)
_BANNER: Final = an_object(name=TEXT, cluster_name=TEXT, cluster_uuid=TEXT, tagline=TEXT, version=OBJECT)

FORWARDED: Final[Operations] = {
    "GET /api/pipelines": Operation(
        "service",
        "All pipelines: state, positions, counts; and who holds the oldest file of the buffer",
        answers={200: Answer(an_object(pipelines=list_of(ref("PipelineStatus")), buffer=OBJECT))},
        failures=ADMIN,
    ),
    "GET /api/pipelines/{name}": Operation(
        "service", "One pipeline", answers={200: Answer(ref("PipelineStatus"))}, failures=ADMIN
    ),
    "DELETE /api/pipelines/{name}/dead-letters": Operation(
        "service",
        "Delete dead letters for good",
        parameters=frozenset({"reason"}),
        answers={200: Answer(an_object(purged=WHOLE), "How many")},
        failures=ADMIN,
    ),
    "GET /api/breakers": Operation(
        "service",
        "The breaker of each dependency",
        answers={200: Answer(an_object(breakers=list_of(ref("BreakerStatus"))))},
        failures=ADMIN,
    ),
    "GET /api/breakers/{name}": Operation(
        "service", "One breaker", answers={200: Answer(ref("BreakerStatus"))}, failures=ADMIN
    ),
    "POST /api/breakers/{name}": Operation(
        "service",
        "Open or close a breaker by hand",
        body=Body(ref("Command"), required=True, example={"force": "open"}),
        answers={200: Answer(ref("BreakerStatus"))},
        failures=ADMIN,
    ),
    "GET /api/flags": Operation(
        "service",
        "All flags and what is wrong with them",
        answers={200: Answer(ref("FlagsStatus"))},
        failures=ADMIN,
    ),
}
"""Answered by the ingester, to which the server passes them on."""

OPERATIONS: Final[Operations] = {
    "GET /health/live": Operation(
        "service", "Whether the process answers", answers={200: Answer(OBJECT)}, failures=BUSY
    ),
    "GET /health/ready": Operation(
        "service",
        "Whether the service works, with reasons",
        answers={200: Answer(_READY, "It serves"), 503: Answer(_READY, "It does not, for these reasons")},
        failures=BUSY,
    ),
    "GET /metrics": Operation(
        "service",
        "Metrics of both processes",
        answers={200: Answer(None, "Prometheus's text format", ("text/plain",))},
        failures=DOOR,
    ),
    "GET /openapi.json": Operation("service", "This document", answers={200: Answer(OBJECT)}, failures=DOOR),
    "GET /": Operation(
        "service",
        "What this is, to clients; the search page, to browsers",
        answers={200: Answer(_BANNER, kinds=("application/json", HTML))},
        failures=DOOR,
    ),
    **spread(
        Operation("page", "The search page", answers={200: _PAGE}, failures=(404, *BUSY)),
        "GET /ui/",
        "GET /ui/{name}",
    ),
    "GET /api/buffer": Operation(
        "service",
        "What waits in the durable buffer, and who holds it",
        answers={200: Answer(ref("BufferStatus"))},
        failures=ADMIN,
    ),
    "DELETE /api/buffer/subscribers/{name}": Operation(
        "service",
        "End a subscription: what only it held is released",
        answers={200: Answer(an_object(released=TEXT))},
        failures=ADMIN,
    ),
    **FORWARDED,
}
