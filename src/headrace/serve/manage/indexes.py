"""`/{index}`: make an index, ask whether it is there, show it, delete it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.index.mapping import from_elasticsearch
from headrace.serve import requests, templates
from headrace.serve.bodies import read_body
from headrace.serve.doors.principal import allowed, require_alias
from headrace.serve.editing import IndexExists
from headrace.serve.lists import parts_of
from headrace.serve.manage.aliases import parse_alias
from headrace.serve.manage.base import (
    INDEX,
    PARAMETERS,
    Surroundings,
    acknowledged,
    an_object,
    flag,
    only,
    selected,
)
from headrace.serve.manage.shown import (
    alias_body,
    aliases_of,
    flat,
    mappings_of,
    nested,
    settings_of,
    stream_of,
)
from headrace.serve.places import New, PlacedIndices, check_options
from headrace.serve.resolving import missing
from headrace.serve.responses import JSON_TYPE, PRODUCT, answered, json_response
from headrace.serve.threads import in_thread

KIND = "tantivy"
"""The kind of index that is made at run time."""


def routes(around: Surroundings) -> list[BaseRoute]:
    async def make(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        name = around.indices.dated(request.path_params["index"])
        given = await read_body(request)
        only(given, ("settings", "mappings", "aliases"), "create index")
        new, not_honoured = await _templated(around.indices, name, given)
        try:
            await around.indices.make(name, new)
        except IndexExists as error:
            return _exists(request, error)
        return acknowledged(request, not_honoured, shards_acknowledged=True, index=name)

    async def is_there(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        try:
            wild = "*" in request.path_params["index"]
            found = bool(selected(around, request)) or wild
        except RequestError as error:
            if error.status != 404:
                raise
            found = False
        return Response(status_code=200 if found else 404, headers={**PRODUCT, "Content-Type": JSON_TYPE})

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"features"})
        names = selected(around, request)
        as_flat = flag(request, "flat_settings", default=False)
        body = await in_thread(lambda: {name: _shown(around.indices, name, as_flat) for name in names})
        return json_response(request, body)

    async def delete(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        lenient = flag(request, "ignore_unavailable", default=False)
        names = to_drop(around.indices, request.path_params["index"], lenient=lenient)
        await around.indices.change(around.indices.dropping(names))
        return acknowledged(request)

    return [
        Route(INDEX, answered(make), methods=["PUT"]),
        Route(INDEX, answered(is_there), methods=["HEAD"]),
        Route(INDEX, answered(show), methods=["GET"]),
        Route(INDEX, answered(delete), methods=["DELETE"]),
    ]


async def parse_new(name: str, body: Mapping[str, Any]) -> tuple[New, list[str]]:
    """What a `PUT /{index}` asks for, checked, and what of it is not honoured. Raises RequestError 400."""
    only(body, ("settings", "mappings", "aliases"), "create index")
    mappings, settings = an_object(body, "mappings"), an_object(body, "settings")
    not_honoured: list[str] = []
    aliases = {}
    for alias, given in an_object(body, "aliases").items():
        aliases[alias], ignored = parse_alias(alias, given)
        not_honoured += ignored
    mapped = from_elasticsearch(mappings, settings)
    await in_thread(lambda: check_options(name, KIND, mapped.options))
    return New(mapped.options, mappings, settings, aliases), [*mapped.unsupported, *not_honoured]


async def _templated(indices: PlacedIndices, name: str, given: Mapping[str, Any]) -> tuple[New, list[str]]:
    """A new index on top of its templates. Raises RequestError 400."""
    for alias in an_object(given, "aliases"):
        require_alias(alias)
    await parse_new(name, given)  # what is asked for here is refused or told; of a template it is left out
    if name not in indices.places() and (label := templates.makes_stream(indices.catalogue, name)):
        requests.fail(
            f"cannot create index with name [{name}], because it matches with template [{label}] that "
            "creates data streams only, use create data stream api instead"
        )
    body, told = templates.applied(indices.catalogue, name, given)
    new, not_honoured = await parse_new(name, body)
    return new, [*told, *not_honoured]


def to_drop(indices: PlacedIndices, expression: str, *, lenient: bool) -> list[str]:
    """The indexes that a DELETE names, each by its own name. Raises RequestError."""
    names = [indices.dated(name.strip()) for name in parts_of(expression)]
    if any("*" in name or name in ("_all", "") for name in names):
        reason = "Wildcard expressions or all indices are not allowed"
        raise RequestError(400, "illegal_argument_exception", reason)
    # An entry of an index that is no more in the configuration is shown nowhere, but can be deleted.
    indices.check_allowed(expression)
    catalogue = indices.catalogue
    known = {name for name in {*indices.places(), *catalogue.indexes} if allowed(name)}
    for name in names:
        if name not in known and name in catalogue.aliases:
            reason = (
                f"The provided expression [{name}] matches an alias, specify the corresponding concrete "
                "indices instead."
            )
            raise RequestError(400, "illegal_argument_exception", reason)
        if name not in known and not lenient:
            raise missing(name, known)
    return list(dict.fromkeys(name for name in names if name in known))


def _shown(indices: PlacedIndices, name: str, as_flat: bool) -> dict[str, Any]:
    place = indices.places().get(name)
    if place is None:
        raise missing(name)
    settings = settings_of(place)
    return {
        "aliases": {alias: alias_body(what) for alias, what in aliases_of(indices, name).items()},
        "mappings": mappings_of(place, indices.get(name)),
        "settings": settings if as_flat else nested(flat(settings)),
        **stream_of(indices, name),
    }


def _exists(request: Request, error: IndexExists) -> Response:
    cause = {"type": error.kind, "reason": error.reason, "index_uuid": error.uuid, "index": error.index}
    body = {"error": {"root_cause": [cause], **cause}, "status": error.status}
    return json_response(request, body, error.status, filtering=False)
