"""Writes of single documents: a bulk request of one action, answered in the words of the document API."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.buffer.base import Appended
from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.bodies import BULK_TYPES, Body, media_type
from headrace.serve.bulk import actions, documents, items
from headrace.serve.bulk.actions import NAMES, Action, Refusal
from headrace.serve.bulk.pieces import Run
from headrace.serve.bulk.sections import Resolved
from headrace.serve.keyed import Kept, keyed
from headrace.serve.push import PARAMETERS, Push, Wanted, Written, no_source
from headrace.serve.responses import answered, json_response

INDEX: Final = PARAMETERS | {"op_type", "if_seq_no", "if_primary_term", "version", "version_type"}
DELETE: Final = PARAMETERS | {"if_seq_no", "if_primary_term", "version", "version_type"}
UPDATE: Final = PARAMETERS | requests.SOURCE | {"if_seq_no", "if_primary_term", "retry_on_conflict", "lang"}
CONDITIONS: Final = ("if_seq_no", "if_primary_term", "version", "version_type", "op_type")
_NUMBER: Final = re.compile(r"-?\d+")


def routes(push: Push) -> list[BaseRoute]:
    """The routes that write one document; the caller mounts them, at the root and elsewhere."""

    def write(op: str, known: frozenset[str], methods: list[str], *paths: str) -> list[BaseRoute]:
        async def answer(request: Request) -> Response:
            requests.check_parameters(request, known)
            return await _one(push, request, op)

        return [Route(path, answered(answer), methods=methods) for path in paths]

    both = ["PUT", "POST"]
    return [
        *write("i", INDEX, ["POST"], "/{index}/_doc", "/{index}/_doc/"),
        *write("c", INDEX, ["POST"], "/{index}/_create", "/{index}/_create/"),
        *write("i", INDEX, both, "/{index}/_doc/{id:path}"),
        *write("c", INDEX, both, "/{index}/_create/{id:path}"),
        *write("u", UPDATE, ["POST"], "/{index}/_update/{id:path}"),
        *write("d", DELETE, ["DELETE"], "/{index}/_doc/{id:path}"),
    ]


async def _one(push: Push, request: Request, op: str) -> Response:
    wanted = push.wanted(request)
    action = _action(request, op)
    if op == "d":
        push.check_open()
        return await keyed(push, request, b"", partial(_write, push, request, wanted, action, b""))
    media_type(request, BULK_TYPES)
    body = Body(request, push.limits.record)
    push.check_open()
    push.buffer.check_room([], body.announced or 0)
    with push.in_flight.hold(body.held(push.limits.record), push.limits.in_flight):
        document = (await body.whole()).strip()
        if not document:
            raise RequestError(400, "parse_exception", "request body is required")
        return await keyed(push, request, document, partial(_write, push, request, wanted, action, document))


def _action(request: Request, op: str) -> Action:
    """What the path and the parameters ask for. Raises RequestError."""
    given = request.query_params
    values: dict[str, Any] = {name: _value(given[name]) for name in CONDITIONS if name in given}
    if "id" in request.path_params:
        values["_id"] = request.path_params["id"]
    no_source(request)
    action = actions.action(op, values, 1)
    if action.refusal is not None:
        _refuse(action.refusal)
    return action


def _value(text: str) -> Any:
    return int(text) if _NUMBER.fullmatch(text) else text


def _refuse(refusal: Refusal) -> None:
    raise RequestError(refusal.status, refusal.kind, refusal.reason)


async def _write(
    push: Push, request: Request, wanted: Wanted, action: Action, document: bytes, kept: Kept
) -> Response:
    run = _run(request, action, document)
    resolved = Resolved(push)
    await resolved.learn([run])
    [placed], sections = resolved.place([run], wanted)
    if placed.run.refusal is not None:
        _refuse(placed.run.refusal)
    [section] = sections

    def answer(appended: list[Appended]) -> Response:
        written = section.written or Written(section.target, appended[0], waits=section.exact)
        section.written = written
        [item] = items.Items(push, forced=wanted.force).of(placed)
        found = msgspec.json.decode(item)[NAMES[action.op]]
        return _answer(request, section.target.index, found, push.token([written]))

    if not section.exact:
        return await kept.append([section.entry()], len(document), answer)
    [appended] = await push.append([section.entry()], len(document))
    section.written = Written(section.target, appended, waits=True)
    await push.settle([section.written], wanted)
    if (error := items.unanswered([placed])) is not None:
        raise error
    return answer([appended])


def _run(request: Request, action: Action, document: bytes) -> Run:
    """The one action as a run. Raises RequestError for a document that is none."""
    # Lines of an entry end where lines end, and in JSON a line's end is only ever space between two parts.
    document = document.replace(b"\r", b" ").replace(b"\n", b" ")
    alias = request.query_params.get("require_alias", "false") in ("", "true")
    run = Run(action.op, request.path_params["index"], alias, 1, [action.id], [document])
    if action.if_seq is not None:
        run.if_seq[0] = action.if_seq
    if action.op == "u":
        update = documents.update(document, action.if_seq)
        if isinstance(update, Refusal):
            _refuse(update)
        else:
            run.bodies[0], run.documents = update[0], [update[1]]
    elif action.op != "d" and (refusal := documents.check(document)) is not None:
        _refuse(refusal)
    return run


def _answer(request: Request, index: str, item: dict[str, Any], token: dict[str, str]) -> Response:
    """An item as the answer to a request of its own."""
    status = item.pop("status")
    error = item.get("error")
    if error is not None:
        cause = {name: value for name, value in error.items() if name != "caused_by"}
        body = {"error": {"root_cause": [cause], **error}, "status": status}
        return json_response(request, body, status, token, filtering=False)
    if status == 201 and item.get("_id") is not None:
        token = {**token, "Location": f"/{quote(index)}/_doc/{quote(item['_id'], safe='')}"}
    return json_response(request, item, status, token)
