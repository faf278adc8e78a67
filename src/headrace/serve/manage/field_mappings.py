"""`_mapping/field/…`: single fields of a mapping by name or pattern, paths and forms of a field included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.glob import any_matches
from headrace.serve import requests
from headrace.serve.lists import list_of
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, selected
from headrace.serve.manage.shown import mappings_of
from headrace.serve.places import PlacedIndices
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread


def routes(around: Surroundings) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        patterns = list_of(request.path_params["fields"])
        names = selected(around, request)
        body = await in_thread(lambda: {name: _shown(around.indices, name, patterns) for name in names})
        return json_response(request, body)

    handler = answered(show)
    return [
        Route("/_mapping/field/{fields}", handler, methods=["GET"]),
        Route(f"{INDEX}/_mapping/field/{{fields}}", handler, methods=["GET"]),
    ]


def _shown(indices: PlacedIndices, name: str, patterns: tuple[str, ...]) -> dict[str, Any]:
    place = indices.places()[name]
    properties = mappings_of(place, indices.get(name))["properties"]
    found = {
        path: {"full_name": path, "mapping": {path.rpartition(".")[2]: field}}
        for path, field in _fields(properties, "")
        if any_matches(patterns, path)
    }
    return {"mappings": found}


def _fields(properties: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in properties.items():
        path = f"{prefix}{name}"
        if "type" in field and field["type"] not in ("object", "nested"):
            yield path, field
        yield from _fields(field.get("properties") or {}, f"{path}.")
        yield from _fields(field.get("fields") or {}, f"{path}.")
