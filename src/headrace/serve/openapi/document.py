"""The document of `/openapi.json`, walked from an application's own routes: none of them can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from starlette.routing import BaseRoute, Mount, Route

from headrace import __version__
from headrace.serve.openapi import managing, parameters, searching, security, service, watching, writing
from headrace.serve.openapi.operation import REASONS, Answer, Body, Operation, Operations, ref
from headrace.serve.openapi.schemas import components

DESCRIBED: Final[Operations] = {
    **searching.OPERATIONS,
    **writing.OPERATIONS,
    **managing.OPERATIONS,
    **watching.OPERATIONS,
    **service.OPERATIONS,
}

_TOLD: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
"""Headers of failures."""

TAGS: Final = {
    "search": "Search, as Elasticsearch has it",
    "documents": "Documents by their ids",
    "write": "Writes, durable when they are answered",
    "scroll": "Pages of what was found at one moment",
    "manage": "Indexes, mappings, aliases, health",
    "tables": "Tables for people and scripts",
    "service": "The service itself",
    "page": "The search page",
    "other": "What nobody described yet",
}


def places(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served."""
    return ((method, path) for method, path, _ in _served(routes))


def _served(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, str]]:
    """Also the template of the route behind each."""
    for route in routes:
        if not isinstance(route, Route):
            continue
        methods = route.methods or set()
        for method in sorted(methods):
            if method != "HEAD" or "GET" not in methods:
                yield method, route.path_format, route.path


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """All that the routes serve; a route that nothing describes is there with its name alone."""
    routes = list(routes)
    prefixes = {
        place: mount.path for mount in routes if isinstance(mount, Mount) for place in places(mount.routes)
    }
    paths: dict[str, dict[str, Any]] = {}
    taken: set[tuple[str, str]] = set()
    for method, path, template in dict.fromkeys(_served(routes)):
        item = paths.setdefault(path, {})
        if (method, path) in prefixes:
            item["servers"] = [{"url": "/"}, {"url": prefixes[method, path]}]
        operation = DESCRIBED.get(f"{method} {path}") or Operation("other", f"{method} {path}")
        taken.update(_parameters(path, operation))
        item[method.lower()] = {
            **_operation(method, path, operation),
            "security": security.required(method, template),
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace",
            "version": __version__,
            "summary": "Ingest, transform, index exactly once, and serve",
            "description": (
                "The data API is what clients need of Elasticsearch's. A GET also answers HEAD. "
                + security.WORDS
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": security.SCHEMES,
            "schemas": components(),
            "parameters": {
                f"{where}.{name}": parameters.described(where, name) for where, name in sorted(taken)
            },
        },
    }


def undescribed(routes: Iterable[BaseRoute]) -> list[str]:
    """What is served and has no words yet."""
    return sorted({f"{method} {path}" for method, path in places(routes)} - set(DESCRIBED))


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": _identity(method, path),
        "parameters": [parameters.reference(*each) for each in _parameters(path, operation)],
        "responses": _responses(operation),
    }
    if operation.description:
        found["description"] = operation.description
    if operation.body is not None:
        found["requestBody"] = _body(operation.body)
    return found


def _parameters(path: str, operation: Operation) -> Iterator[tuple[str, str]]:
    yield from (("path", name) for name in re.findall(r"\{(\w+)\}", path))
    yield from (("query", name) for name in sorted(operation.parameters))
    yield from (("header", name) for name in operation.headers)


def _identity(method: str, path: str) -> str:
    """`get_index_search`: unique, as method and path together are."""
    return method.lower() + "".join(f"_{part}" if part else "_" for part in re.split(r"[^\w]+", path)[1:])


def _body(body: Body) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": dict(body.schema)}
    if body.example is not None:
        media["example"] = body.example
    return {"required": body.required, "content": dict.fromkeys(body.kinds, media)}


def _responses(operation: Operation) -> dict[str, Any]:
    answers: dict[int, Answer] = {
        status: Answer(ref("Error"), REASONS[status], headers=_TOLD.get(status, ()))
        for status in operation.failures
    }
    answers |= operation.answers
    return {str(status): _response(answer) for status, answer in sorted(answers.items())}


def _response(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.says}
    if answer.schema is not None:
        media: Mapping[str, Any] = {"schema": dict(answer.schema)}
        found["content"] = {kind: media if "json" in kind else {"schema": {}} for kind in answer.kinds}
    elif answer.says != "It is":
        found["content"] = {kind: {"schema": {}} for kind in answer.kinds}
    names = ("X-Elastic-Product", *answer.headers)
    found["headers"] = {
        name: {"description": parameters.ANSWERED[name][1], "schema": dict(parameters.ANSWERED[name][0])}
        for name in names
    }
    return found
