"""What a write by query asks for, checked; what it cannot have is refused with what there is instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.bodies import read_body

PIECE: Final = 1000
"""Documents in one write by default, as in Elasticsearch."""

MOST: Final = 10_000

PARAMETERS: Final = requests.COMMON | requests.QUERY | requests.TARGETS | requests.SOURCE | requests.FRESH | {
    "refresh", "conflicts", "max_docs", "size", "scroll_size", "scroll", "slices", "wait_for_completion",
    "requests_per_second", "wait_for_active_shards", "search_timeout", "search_type", "request_cache",
    "terminate_after", "stats", "version", "sort", "from", "pipeline", "require_alias", "ack",
}  # fmt: skip

NO_SCRIPT: Final = (
    "change documents by a transform of their pipeline and index them again, or send each change with _bulk "
    "[update]"
)
DELETE: Final = {"query": "", "max_docs": "", "size": ""}
UPDATE: Final = {**DELETE, "conflicts": "", "script": NO_SCRIPT}
"""Keys of a body, those that are refused with what there is instead."""

ELSEWHERE: Final = {
    "slice": "[slices] is taken, and all is done at once",
    "sort": "documents are taken in the order they were written",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """query:   which documents, as JSON
    piece:   documents in one write
    most:    documents at all; None for all that are found
    proceed: a document that was changed meanwhile is counted, and ends nothing
    rate:    documents a second; None for as many as there can be
    refresh: all is searchable when it is answered
    """

    query: Any
    piece: int = PIECE
    most: int | None = None
    proceed: bool = False
    rate: float | None = None
    refresh: bool = False


async def body_of(request: Request) -> dict[str, Any]:
    requests.check_parameters(request, PARAMETERS)
    return await read_body(request)


def parse(request: Request, body: Mapping[str, Any], known: Mapping[str, str]) -> Asked:
    """A delete or an update by query. Raises RequestError."""
    check_keys(body, known, request.url.path.rsplit("/", 1)[-1])
    query = requests.query_of(request.query_params, body)
    if query is None and known is DELETE:
        raise invalid("query is missing")
    return common(request, body, query)


def common(request: Request, body: Mapping[str, Any], query: Any) -> Asked:
    """What all of them take beside the query. Raises RequestError."""
    given = request.query_params
    _check_elsewhere(request)
    conflicts = body.get("conflicts", given.get("conflicts", "abort"))
    if conflicts not in ("abort", "proceed"):
        requests.fail(f'conflicts may only be "proceed" or "abort" but was [{conflicts}]')
    most = body.get("max_docs", body.get("size", given.get("max_docs", given.get("size"))))
    number = None if most is None or str(most) == "-1" else requests.whole(most, "max_docs")
    if number is not None and number <= 0:
        requests.fail(f"[max_docs] parameter cannot be negative or zero, found [{most}]")
    refresh = given.get("refresh", "false")
    if refresh not in ("", "true", "false", "wait_for"):
        requests.fail(f"Unknown value for refresh: [{refresh}].")
    return Asked(
        query,
        piece_size(given.get("scroll_size", PIECE)),
        number,
        conflicts == "proceed",
        _rate(given.get("requests_per_second")),
        refresh != "false",
    )


def piece_size(given: Any) -> int:
    size = requests.whole(given, "scroll_size")
    if not 0 < size <= MOST:
        requests.fail(f"[scroll_size] is from 1 to {MOST}, found [{given}]")
    return size


def check_keys(body: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
    """Refuses what is not known, and what is known and cannot be. Raises RequestError."""
    for name, value in body.items():
        instead = known.get(name) or ELSEWHERE.get(name)
        if instead and value not in (None, [], {}):
            requests.fail(f"[{name}] of {where} is not supported: {instead}")
        if name not in known and name not in ELSEWHERE:
            requests.fail(f"unknown key [{name}] for {where} (have: {', '.join(known)})", "parsing_exception")


def invalid(reason: str) -> RequestError:
    return RequestError(400, "action_request_validation_exception", f"Validation Failed: 1: {reason};")


def names(given: Any, what: str) -> list[str]:
    """A name, or a list of them. Raises RequestError."""
    found: Sequence[Any] = given.split(",") if isinstance(given, str) else given or []
    if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
        requests.fail(f"[{what}] is a name or a list of names", "parsing_exception")
    return found


def _check_elsewhere(request: Request) -> None:
    given = request.query_params
    if given.get("wait_for_completion", "true") not in ("", "true"):
        requests.fail(
            "[wait_for_completion] is true only: there are no tasks to come back to; the answer says when "
            "all is done, and a request whose client has gone is carried to its end"
        )
    if given.get("from") is not None:
        raise invalid("from is not supported in this context")
    if given.get("sort"):
        requests.fail(f"[sort] is not supported: {ELSEWHERE['sort']}")
    if given.get("pipeline", "_none") not in ("", "_none"):
        requests.fail(
            "[pipeline] is not supported: declare the steps as `transform` of the pipeline that "
            "feeds the index"
        )


def _rate(given: str | None) -> float | None:
    if given in (None, "", "-1", "-1.0"):
        return None
    try:
        rate = float(str(given))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        requests.fail(f"[requests_per_second] is a number above 0, or -1 for no limit, found [{given}]")
    return rate
