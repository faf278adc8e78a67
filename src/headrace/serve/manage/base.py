"""What all management routes need: indexes, a way to wait for them, words for what is not honoured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import RequestError
from headrace.core.health import State
from headrace.model import Json
from headrace.serve import requests
from headrace.serve.banner import ES_VERSION
from headrace.serve.freshness import never
from headrace.serve.names import Applier
from headrace.serve.places import PlacedIndices
from headrace.serve.responses import json_response

WAITING: Final = frozenset({"timeout", "master_timeout", "wait_for_active_shards", "local"})
"""Of a cluster; here there is one node, and every change is made when it is answered."""

PARAMETERS: Final = requests.COMMON | requests.TARGETS | WAITING | {"flat_settings", "include_defaults"}

SHARDS: Final = {"total": 1, "successful": 1, "failed": 0}

LONGEST_WARNING: Final = 2_000
"""Characters of all warnings in the header, which servers between may cut; the body has every one."""


class Generations(Protocol):
    """Makes the next generation of an index."""

    async def regenerate(self, uuid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """indices:   all indexes
    readiness: state of the service as `/health/ready` has it
    applier:   the ingester; None where nothing is ever written (`headrace serve DIR`)
    accepted:  the number after the last durable record of a log
    generations: makes indexes anew; None as for `applier`
    stopping:  whether the server was told to stop
    version:   of Elasticsearch, that is told
    """

    indices: PlacedIndices
    readiness: Callable[[], Awaitable[tuple[State, Json]]]
    applier: Applier | None = None
    accepted: Callable[[str], int] = lambda _: 0
    generations: Generations | None = None
    stopping: Callable[[], bool] = never
    version: str = ES_VERSION


class _IndexConvertor(Convertor[str]):
    """A segment that is no endpoint's: dates in names may hold a slash, `_all` is the one name with a `_`."""

    regex = r"<[^>]*>|_all|[^_/][^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("indexes", _IndexConvertor())

INDEX: Final = "/{index:indexes}"
"""Begins the path of what is asked of certain indexes."""


def flag(request: Request, name: str, default: bool) -> bool:
    """A parameter that is true or false. Raises RequestError."""
    given = request.query_params.get(name)
    if given not in (None, "", "true", "false"):
        requests.fail(f"Failed to parse value [{given}] as only [true] or [false] are allowed.")
    return default if given is None else given != "false"


def selected(around: Surroundings, request: Request, *, missing_ok: bool = False) -> list[str]:
    """The concrete indexes that a request's path names; all without a name. Raises RequestError 404."""
    return list(
        around.indices.select(
            request.path_params.get("index", "_all"),
            ignore_unavailable=missing_ok or flag(request, "ignore_unavailable", default=False),
            allow_no_indices=flag(request, "allow_no_indices", default=True),
        )
    )


def acknowledged(request: Request, not_honoured: Sequence[str] = (), **more: Json) -> Response:
    """Done; with what was asked for and will not be, in the body and as a warning that clients show."""
    not_honoured = list(dict.fromkeys(not_honoured))
    body: dict[str, Any] = {"acknowledged": True, **more}
    if not_honoured:
        body["headrace"] = {"not_honoured": not_honoured}
    return json_response(request, body, headers=warning(not_honoured))


def warning(texts: Sequence[str]) -> dict[str, str]:
    """The `Warning` header of RFC 7234, one value each; empty for none."""
    values: list[str] = []
    for text in texts:
        value = f'299 Headrace "{_plain(text)}"'
        if len(value) + sum(map(len, values)) > LONGEST_WARNING:
            values.append(f'299 Headrace "{len(texts) - len(values)} more are in the body"')
            break
        values.append(value)
    return {"Warning": ", ".join(values)} if values else {}


def _plain(text: str) -> str:
    """What a quoted text of a header may hold: names in it are a client's, so any character may come."""
    words = " ".join(text.replace('"', "'").replace("\\", "/").split())
    return "".join(each if " " <= each <= "~" else each.encode("unicode_escape").decode() for each in words)


def an_object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of a body that has to be an object, {} where it is not given. Raises RequestError."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        requests.fail(f"[{name}] must be an object, found {type(value).__name__}", "parse_exception")
    return value


def only(body: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuses what is not known. Raises RequestError."""
    for name in body:
        if name not in known:
            requests.fail(f"unknown key [{name}] for {where} (have: {', '.join(known)})", "parse_exception")


def unsupported(what: str, instead: str) -> RequestError:
    return RequestError(400, "illegal_argument_exception", f"{what} is not supported: {instead}")
