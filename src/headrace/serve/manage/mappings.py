"""`_mapping`: it never changes in place; a small index is made anew at once, a large one when asked to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Catalogue
from headrace.core.errors import RequestError
from headrace.index.mapping import from_elasticsearch
from headrace.index.mapping.index_settings import flattened
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.editing import with_entry
from headrace.serve.manage.base import (
    INDEX,
    PARAMETERS,
    Surroundings,
    acknowledged,
    an_object,
    selected,
)
from headrace.serve.manage.generations import regenerate
from headrace.serve.manage.shown import declared_of, mappings_of, merged
from headrace.serve.places import PlacedIndices
from headrace.serve.resolving import missing
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread

AT_ONCE: Final = 50_000
"""Documents that are indexed anew while the request waits: about a second."""


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        names = selected(around, request)
        return json_response(
            request, await in_thread(lambda: {name: _shown(indices, name) for name in names})
        )

    async def add(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"write_index_only"})
        body = await read_body(request)
        an_object(body, "properties")
        names = selected(around, request)
        if not names:
            raise missing(request.path_params["index"])
        not_honoured = [told for name in names for told in _checked(indices, name, body)]
        added: dict[str, list[str]] = {}

        def edit(catalogue: Catalogue) -> Catalogue:
            added.update({name: additions(indices, name, body) for name in names})
            return _noted(catalogue, [name for name in names if added[name]], body)

        await indices.change(edit)
        for name in names:
            if added[name] and not await _made_anew(around, name):
                not_honoured += _told(indices, name, added[name])
        return acknowledged(request, not_honoured)

    both = [f"{INDEX}/_mapping", f"{INDEX}/_mappings"]
    return [
        *(Route(path, answered(show), methods=["GET"]) for path in ("/_mapping", "/_mappings", *both)),
        *(Route(path, answered(add), methods=["PUT", "POST"]) for path in both),
    ]


def _checked(indices: PlacedIndices, name: str, body: Mapping[str, Any]) -> list[str]:
    """What of a mapping would not be honoured. Raises RequestError 400 for one that no index could have."""
    place = indices.places().get(name)
    given = flattened(place.made.settings) if place is not None and place.made is not None else {}
    # Its analyzers can be named; what else its settings said was answered when it was made.
    analysis = {key: value for key, value in given.items() if key.startswith("analysis.")}
    return from_elasticsearch(body, analysis).unsupported


def additions(indices: PlacedIndices, name: str, body: Mapping[str, Any]) -> list[str]:
    """The fields that a mapping adds to an index's. Raises RequestError 400 for what it would change."""
    place = indices.places().get(name)
    if place is None:
        raise missing(name)
    reader = indices.get(name)
    given = place.made.mappings if place.made is not None else {}
    for option in ("dynamic", "date_detection", "numeric_detection"):
        if option in body and _plain(body[option]) != _plain(
            given.get(option, option != "numeric_detection")
        ):
            requests.fail(
                f"[{option}] of index [{name}] cannot be changed: a mapping never changes in place; "
                "make another index with it and index again"
            )
    return _compared(declared_of(place, reader), body.get("properties") or {}, "")


def _plain(value: Any) -> str:
    return str(value).lower()


def _compared(known: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str) -> list[str]:
    added: list[str] = []
    for name, words in wanted.items():
        path = f"{prefix}{name}"
        if not isinstance(words, Mapping):
            requests.fail(f"Expected map for property [fields] on field [{path}]", "mapper_parsing_exception")
        before = known.get(name)
        if before is None:
            added.append(path)
        elif _is_object(before) != _is_object(words):
            kind = "an object" if _is_object(before) else "a non object"
            other = "a non object" if _is_object(before) else "an object"
            requests.fail(f"can't merge {kind} mapping [{path}] with {other} mapping")
        elif _is_object(before):
            added += _compared(before.get("properties") or {}, words.get("properties") or {}, f"{path}.")
        else:
            _check_same(path, before, words)
            forms = (before.get("fields") or {}) | (before.get("properties") or {})
            added += _compared(forms, words.get("fields") or {}, f"{path}.")
    return added


def _is_object(words: Mapping[str, Any]) -> bool:
    return words.get("type", "object") in ("object", "nested")


def _check_same(path: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    was, kind = before.get("type"), wanted.get("type")
    if was != kind:
        requests.fail(f"mapper [{path}] cannot be changed from type [{was}] to [{kind}]")
    for parameter in ("analyzer", "normalizer", "format"):
        was, now = before.get(parameter), wanted.get(parameter)
        if parameter in wanted and was != now:
            requests.fail(
                f"Mapper for [{path}] conflicts with existing mapper:\n\tCannot update parameter "
                f"[{parameter}] from [{was or 'default'}] to [{now}]"
            )


def _noted(catalogue: Catalogue, names: list[str], body: Mapping[str, Any]) -> Catalogue:
    for name in names:
        if name in catalogue.indexes:
            before = catalogue.indexes[name].mappings
            catalogue = with_entry(catalogue, name, mappings=merged(before, body))
    return catalogue


async def _made_anew(around: Surroundings, name: str) -> bool:
    """Make a small index's next generation at once, so that its mapping is what was asked for."""
    place = around.indices.places().get(name)
    if around.generations is None or place is None or place.made is None or place.configured:
        return False
    reader = around.indices.get(name)
    if await in_thread(lambda: reader.stats().documents) > AT_ONCE:
        return False
    try:
        await regenerate(around, name)
    except RequestError:
        return False  # the answer says that it takes effect later, and how
    return True


def _told(indices: PlacedIndices, name: str, added: list[str]) -> list[str]:
    if not added:
        return []
    fields = ", ".join(added)
    place = indices.places().get(name)
    if place is not None and place.made is None:
        return [f"index [{name}] is in the configuration: declare [{fields}] there; dynamic until then"]
    told = (
        f"[{fields}] of index [{name}]: a mapping never changes in place, the declaration takes effect with "
        f"its next generation (POST /api/indexes/{name}/generations); until then its values are indexed as "
        "those of dynamic fields are"
    )
    return [told]


def _shown(indices: PlacedIndices, name: str) -> dict[str, Any]:
    place = indices.places().get(name)
    if place is None:
        raise missing(name)
    return {"mappings": mappings_of(place, indices.get(name))}
