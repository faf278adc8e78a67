"""One operation as `/openapi.json` describes it: what a method on a path takes, and every answer it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headrace.model import Json

Schema: TypeAlias = Mapping[str, Json]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
ARROW: Final = "application/vnd.apache.arrow.stream"
TEXT: Final = "text/plain"

BUSY: Final = (429,)
"""How everything can fail: more than a server takes at once, or than one may ask."""
DOOR: Final = (401, 403, *BUSY)
"""How everything that asks for a key can fail, where there are keys."""

READ: Final = (400, 404, 406, 408, 413, 415, 503, *DOOR)
"""How a read can fail."""
WRITE: Final = (400, 404, 406, 409, 413, 415, 503, 504, *DOOR)
"""How a write can fail; 504 is only said of what is durable already and was to be waited for."""
MANAGE: Final = (400, 404, 406, 413, 415, 503, 504, *DOOR)
ADMIN: Final = (400, 404, 406, 413, 415, 503, *DOOR)

REASONS: Final = {
    400: "Something in the request is wrong; the reason says what",
    401: "There are keys, and none was given, or a wrong one",
    403: "The key may not do this, or not to this index",
    404: "What was asked for is not there",
    406: "The kind of body is not known here",
    408: "What was waited for did not come in time",
    409: "The condition of a write does not hold",
    413: "The body is too large",
    415: "The kind of body or its compression is not known here",
    429: "No room now: nothing was accepted; send all of it again after Retry-After seconds",
    503: "Not possible now: starting, draining, or without the ingester; try again",
    504: "Stored, but not searchable within the time that the request gave",
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings: `kinds` are the media types it may have, `example` one that works."""

    schema: Schema
    kinds: tuple[str, ...] = (JSON,)
    required: bool = False
    example: Json = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no failure, or one that has another shape than failures have."""

    schema: Schema | None
    says: str = "Done"
    kinds: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """parameters: names of the query's parameters, each described in `parameters`
    headers:    names of request headers, described there too
    answers:    by status; `failures` are the statuses with the one shape of an error
    """

    tag: str
    summary: str
    description: str = ""
    parameters: frozenset[str] = frozenset()
    headers: tuple[str, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Answer] = field(default_factory=dict)
    failures: tuple[int, ...] = READ


Operations: TypeAlias = Mapping[str, Operation]
"""By method and path: `GET /{index}/_search`."""


def spread(operation: Operation, *places: str) -> dict[str, Operation]:
    """The same operation under several methods and paths."""
    return dict.fromkeys(places, operation)
