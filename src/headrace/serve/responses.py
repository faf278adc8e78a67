"""Answers in Elasticsearch's shape: compact JSON, its error bodies, and the headers its clients check.

Compact is no taste: one client searches the raw bytes for `"errors":true`, and a space would hide failures.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import HeadraceError, RequestError
from headrace.index.query.bounds import hold
from headrace.serve.filter_path import filtered
from headrace.serve.given import VERSIONS, check_form

PRODUCT: Final = {"X-Elastic-Product": "Elasticsearch"}
"""Without it on every answer, errors too, the official clients refuse to go on."""

PER_BYTE: Final = 8
"""Bytes of Python objects for a byte of the JSON that they are decoded from, roughly."""

JSON_TYPE: Final = "application/json"
VENDOR_TYPE: Final = "application/vnd.elasticsearch+json"


def answered(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind a check of the request's form, its errors answered in Elasticsearch's shape."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            check_form(request)
            return await handler(request)
        except HeadraceError as error:
            return error_answer(request, error, request.path_params.get("index"))

    return answer


def json_response(
    request: Request,
    body: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    filtering: bool = True,
) -> Response:
    """The body as JSON; `msgspec.Raw` parts in it are passed through byte for byte.

    `filtering`: by `filter_path`, which Elasticsearch leaves errors whole from."""
    wanted = request.query_params.get("filter_path") if filtering else None
    encoded = msgspec.json.encode(body)
    if wanted:
        hold(PER_BYTE * len(encoded))
        encoded = msgspec.json.encode(filtered(msgspec.json.decode(encoded), wanted.split(",")))
    if request.query_params.get("pretty", "false") in ("", "true"):
        encoded = msgspec.json.format(encoded, indent=2) + b"\n"
    return Response(encoded, status, {**PRODUCT, "Content-Type": content_type(request), **(headers or {})})


def error_answer(request: Request, error: HeadraceError, index: str | None = None) -> Response:
    """An error as `error_response` has it, in the form that the request asks for."""
    body = error_body(error, index)
    return json_response(request, body, body["status"], _retry(error), filtering=False)


def plain_error(request: Request, reason: str, status: int, headers: Mapping[str, str]) -> Response:
    """An error without a type, as Elasticsearch words those that come before any of its own."""
    return json_response(request, {"error": reason, "status": status}, status, headers, filtering=False)


def error_response(error: HeadraceError, index: str | None = None, accept: str = "") -> Response:
    """An error's answer as Elasticsearch words it; `accept`: the request's header."""
    body = error_body(error, index)
    headers = {**PRODUCT, "Content-Type": _kind(accept), **_retry(error)}
    return Response(msgspec.json.encode(body), body["status"], headers)


def _retry(error: HeadraceError) -> dict[str, str]:
    if isinstance(error, RequestError) and error.retry_after is not None:
        return {"Retry-After": str(error.retry_after)}
    return {}


def error_body(error: HeadraceError, index: str | None = None) -> dict[str, Any]:
    """An error as Elasticsearch words it, also of one part of an answer."""
    known = error if isinstance(error, RequestError) else RequestError(500, "internal_error", str(error))
    cause: dict[str, Any] = {"type": known.kind, "reason": known.reason}
    if index is not None:
        cause["index"] = index
    return {"error": {"root_cause": [cause], **cause}, "status": known.status}


def content_type(request: Request) -> str:
    """The client's own vendor type where it asks for one, else plain JSON."""
    return _kind(request.headers.get("accept", ""))


def _version(parameters: str) -> str:
    return parameters.rpartition("=")[2].strip(' "')


def _kind(accept: str) -> str:
    for accepted in accept.split(","):
        kind, _, parameters = accepted.strip().partition(";")
        if kind.strip() == VENDOR_TYPE:
            wrong = "compatible-with" in parameters and _version(parameters) not in VERSIONS
            return f"{VENDOR_TYPE};{parameters.strip()}" if parameters and not wrong else VENDOR_TYPE
    return JSON_TYPE
