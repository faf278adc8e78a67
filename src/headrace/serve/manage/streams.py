"""Data streams and rollover: a stream is an alias of its backing indexes, the newest takes its writes.

Writes other than `create` are taken too: nothing here depends on documents being never changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Alias, Catalogue
from headrace.catalogue.template import Stream
from headrace.core.errors import RequestError
from headrace.serve import requests, templates
from headrace.serve.bodies import read_body
from headrace.serve.doors.principal import require, require_alias, visible_aliases
from headrace.serve.editing import with_alias
from headrace.serve.index_names import check_alias_name
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, acknowledged, an_object, flag, only
from headrace.serve.manage.indexes import parse_new
from headrace.serve.places import New, PlacedIndices
from headrace.serve.resolving import like, missing
from headrace.serve.responses import JSON_TYPE, PRODUCT, answered, json_response
from headrace.serve.threads import in_thread
from headrace.units import Duration, Size

TIMESTAMP: Final = {"name": "@timestamp"}
CONDITIONS: Final = ("max_age", "max_docs", "max_size", "max_primary_shard_size", "max_primary_shard_docs")
_NUMBERED: Final = re.compile(r"(.*-)(\d+)")


def streams_of(catalogue: Catalogue) -> dict[str, tuple[Stream, list[str]]]:
    """Data streams by name, each with the backing indexes it has now and whoever asks may see."""
    found, aliases = {}, visible_aliases(catalogue.aliases)
    for name, stream in sorted(catalogue.streams.items()):
        indexes = aliases.get(name, {})
        if indexes:
            found[name] = stream, [index for index in stream.indexes if index in indexes]
    return found


async def make_stream(indices: PlacedIndices, name: str, label: str, *, next_one: bool = False) -> str:
    """The first backing index of a data stream, or the `next_one`; its name. Raises RequestError."""
    async with indices.making:
        catalogue = indices.catalogue
        if name in catalogue.aliases and not next_one:
            return catalogue.streams[name].indexes[-1] if name in catalogue.streams else ""
        check_alias_name(name)
        require(name)
        before = catalogue.streams.get(name, Stream(label, 0, []))
        generation = before.generation + 1
        backing = f".ds-{name}-{time.strftime('%Y.%m.%d', time.gmtime())}-{generation:06d}"
        new = await _new(catalogue, name, backing)
        grown = Stream(label, generation, [*before.indexes, backing])
        # First the stream: without its alias it is none yet, so that a kill here leaves nothing half made.
        await indices.change(
            lambda found: replace(_demoted(indices, found, name), streams={**found.streams, name: grown})
        )
        await indices.make(backing, new)
        return backing


async def _new(catalogue: Catalogue, name: str, backing: str) -> New:
    body, _ = templates.applied(catalogue, name, {})
    new, _ = await parse_new(backing, body)
    return replace_aliases(new, {**new.aliases, name: Alias(is_write_index=True)})


def replace_aliases(new: New, aliases: Mapping[str, Alias]) -> New:
    return New(new.options, new.mappings, new.settings, aliases)


def _demoted(indices: PlacedIndices, catalogue: Catalogue, alias: str) -> Catalogue:
    """No index of the alias takes its writes by declaration."""
    for index, what in catalogue.aliases.get(alias, {}).items():
        if what.is_write_index:
            plain = Alias(filter=what.filter)
            catalogue = with_alias(catalogue, alias, index, plain, set(indices.places()))
    return catalogue


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"verbose", "include_defaults"})
        found = _selected(indices.catalogue, request.path_params.get("index", "*"))
        if request.method == "HEAD":
            return Response(headers={**PRODUCT, "Content-Type": JSON_TYPE})
        shown = [_shown(indices, name, stream, backing) for name, (stream, backing) in found.items()]
        return json_response(request, {"data_streams": shown})

    async def make(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        name = request.path_params["index"]
        label = templates.makes_stream(indices.catalogue, name)
        if label is None:
            requests.fail(f"no matching index template found for data stream [{name}]")
        if name in indices.catalogue.aliases or name in indices.places():
            reason = f"data_stream [{name}] already exists"
            raise RequestError(400, "resource_already_exists_exception", reason)
        await make_stream(indices, name, label)
        return acknowledged(request)

    async def delete(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        found = _selected(indices.catalogue, request.path_params["index"])
        drop = indices.dropping([index for _, backing in found.values() for index in backing])

        def edit(catalogue: Catalogue) -> Catalogue:
            left = {name: stream for name, stream in catalogue.streams.items() if name not in found}
            return replace(drop(catalogue), streams=left)

        await indices.change(edit)
        return acknowledged(request)

    async def rollover(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"dry_run", "lazy"})
        body = await read_body(request)
        only(body, ("conditions", *templates.PARTS), "rollover")
        return await _rolled(around, request, body)

    both = ["GET", "HEAD"]
    return [
        Route("/_data_stream", answered(show), methods=["GET"]),
        Route(f"/_data_stream{INDEX}", answered(show), methods=both),
        Route(f"/_data_stream{INDEX}", answered(make), methods=["PUT"]),
        Route(f"/_data_stream{INDEX}", answered(delete), methods=["DELETE"]),
        Route(f"{INDEX}/_rollover", answered(rollover), methods=["POST"]),
        Route(f"{INDEX}/_rollover/{{new}}", answered(rollover), methods=["POST"]),
    ]


def _selected(catalogue: Catalogue, expression: str) -> dict[str, tuple[Stream, list[str]]]:
    """Raises RequestError 404 for a name that is no stream's."""
    known = streams_of(catalogue)
    found: dict[str, tuple[Stream, list[str]]] = {}
    for pattern in parts_of(expression):
        if "*" not in pattern and pattern != "_all" and pattern not in known:
            raise missing(pattern)
        names = like("*" if pattern == "_all" else pattern, known) if pattern not in known else [pattern]
        found |= {name: known[name] for name in names}
    return found


def _shown(indices: PlacedIndices, name: str, stream: Stream, backing: list[str]) -> dict[str, Any]:
    entries = indices.catalogue.indexes
    listed = [
        {
            "index_name": index,
            "index_uuid": entries[index].uuid if index in entries else index,
            "prefer_ilm": False,
            "managed_by": "Unmanaged",
        }
        for index in backing
    ]
    return {
        "name": name,
        "timestamp_field": TIMESTAMP,
        "indices": listed,
        "generation": stream.generation,
        "status": "GREEN",
        "template": stream.template,
        "next_generation_managed_by": "Unmanaged",
        "prefer_ilm": False,
        "hidden": False,
        "system": False,
        "allow_custom_routing": False,
        "replicated": False,
        "rollover_on_write": False,
    }


async def _rolled(around: Surroundings, request: Request, body: Mapping[str, Any]) -> Response:
    indices, alias = around.indices, request.path_params["index"]
    catalogue = indices.catalogue
    for name in (alias, *an_object(body, "aliases")):
        require_alias(name)
    if alias not in catalogue.aliases:
        what = "a concrete index" if alias in indices.places() else "nothing"
        requests.fail(f"rollover target [{alias}] is {what}: it must be an alias or a data stream")
    target = indices.target(alias)
    if target is None:
        raise missing(alias)
    old = target.index
    stream = catalogue.streams.get(alias)
    new = request.path_params.get("new") or _next(alias, old, stream)
    require(new)
    met = await in_thread(lambda: _met(indices, old, an_object(body, "conditions")))
    dry = flag(request, "dry_run", default=False)
    rolled = not dry and (not met or any(met.values()))
    not_honoured: list[str] = []
    if rolled and stream is not None:
        new = await make_stream(indices, alias, stream.template, next_one=True)
    elif rolled:
        given = {part: body[part] for part in templates.PARTS if part in body}
        whole, told = templates.applied(catalogue, new, given)
        made, ignored = await parse_new(new, whole)
        not_honoured = [*told, *ignored]
        writes = catalogue.aliases[alias][old].is_write_index
        await _next_of_alias(indices, alias, old, new, replace_aliases(made, made.aliases), writes=writes)
    answer: dict[str, Any] = {
        "acknowledged": rolled,
        "shards_acknowledged": rolled,
        "old_index": old,
        "new_index": new,
        "rolled_over": rolled,
        "dry_run": dry,
        "lazy": False,
        "conditions": met,
    }
    if not rolled:
        return json_response(request, answer)
    return acknowledged(request, not_honoured, **answer)


async def _next_of_alias(
    indices: PlacedIndices, alias: str, old: str, new: str, made: New, *, writes: bool
) -> None:
    """As Elasticsearch: a declared write index hands over, an alias without one moves to the new index."""
    async with indices.making:
        what = indices.catalogue.aliases[alias][old]
        if writes:
            await indices.change(lambda found: _demoted(indices, found, alias))
        taking = Alias(filter=what.filter, is_write_index=writes)
        await indices.make(new, replace_aliases(made, {**made.aliases, alias: taking}))
        if not writes:
            await indices.change(lambda found: _without(found, alias, old))


def _without(catalogue: Catalogue, alias: str, index: str) -> Catalogue:
    left = {name: what for name, what in catalogue.aliases.get(alias, {}).items() if name != index}
    return replace(catalogue, aliases={**catalogue.aliases, alias: left})


def _next(alias: str, old: str, stream: Stream | None) -> str:
    if stream is not None:
        day = time.strftime("%Y.%m.%d", time.gmtime())
        return f".ds-{alias}-{day}-{stream.generation + 1:06d}"
    found = _NUMBERED.fullmatch(old)
    if found is None:
        requests.fail(f"index name [{old}] does not match pattern '^.*-\\d+$'; give the new name in the path")
    return f"{found[1]}{int(found[2]) + 1:06d}"


def _met(indices: PlacedIndices, index: str, conditions: Mapping[str, Any]) -> dict[str, bool]:
    """Each condition, and whether it holds. Raises RequestError."""
    only(conditions, CONDITIONS, "[conditions]")
    stats = indices.get(index).stats()
    made = indices.catalogue.indexes.get(index)
    age = time.time() - made.created if made is not None else 0.0
    measured: dict[str, tuple[float, Callable[[Any], float]]] = {
        "max_age": (age, lambda text: float(Duration(text))),
        "max_docs": (stats.documents, float),
        "max_primary_shard_docs": (stats.documents, float),
        "max_size": (stats.size, lambda text: float(Size(text))),
        "max_primary_shard_size": (stats.size, lambda text: float(Size(text))),
    }
    met = {}
    for name, bound in conditions.items():
        value, read = measured[name]
        try:
            met[f"[{name}: {bound}]"] = value >= read(bound)
        except (TypeError, ValueError):
            requests.fail(f"failed to parse [{name}] with value [{bound}]")
    return met
