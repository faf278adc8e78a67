"""Aliases: other names of indexes, changed all at once or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Alias, Catalogue
from headrace.core.errors import RequestError
from headrace.index.query.parse import parse_query
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.doors.principal import require_alias, within
from headrace.serve.editing import check_write_indexes, with_alias, without_alias
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import (
    INDEX,
    PARAMETERS,
    Surroundings,
    acknowledged,
    only,
    selected,
)
from headrace.serve.manage.shown import alias_body, aliases_of
from headrace.serve.places import PlacedIndices
from headrace.serve.resolving import like, missing
from headrace.serve.responses import JSON_TYPE, PRODUCT, answered, json_response

WITHOUT_EFFECT: Final = ("routing", "index_routing", "search_routing", "is_hidden")
KNOWN: Final = ("filter", "is_write_index", *WITHOUT_EFFECT)
NAMES: Final = ("index", "indices", "alias", "aliases", "must_exist")


def parse_alias(name: str, given: Any) -> tuple[Alias, list[str]]:
    """What a body says of an alias, and what of it has no effect. Raises RequestError 400."""
    if not isinstance(given, dict):
        requests.fail(f"alias [{name}] must be an object", "parse_exception")
    only(given, KNOWN, f"alias [{name}]")
    parse_query(given.get("filter"))
    writes = given.get("is_write_index") or False
    if writes not in (True, False, "true", "false"):
        requests.fail(f"[is_write_index] of alias [{name}] is true or false, found [{writes}]")
    ignored = [f"[{key}] of alias [{name}] has no effect" for key in WITHOUT_EFFECT if given.get(key)]
    return Alias(filter=given.get("filter") or None, is_write_index=writes in (True, "true")), ignored


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def change_many(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        body = await read_body(request)
        only(body, ("actions",), "aliases")
        actions = body.get("actions")
        if not isinstance(actions, list) or not actions:
            requests.fail(
                "Validation Failed: 1: Must specify at least one alias action;",
                "action_request_validation_exception",
            )
        # Indexes go first, whatever the order, so that an alias can take the name of one.
        parsed = sorted((_action(action) for action in actions), key=lambda each: each[0] != "remove_index")
        ignored = [each for _, given in parsed for each in _ignored(given)]

        def edit(catalogue: Catalogue) -> Catalogue:
            for kind, given in parsed:
                catalogue = _applied(indices, catalogue, kind, given)
            check_write_indexes(catalogue)
            return catalogue

        await indices.change(edit)
        return acknowledged(request, ignored)

    async def put(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        given = {**await read_body(request), "index": request.path_params["index"]}
        given["alias"] = request.path_params["name"]
        kind, parsed = _action({"add": given})
        await indices.change(lambda catalogue: _checked(_applied(indices, catalogue, kind, parsed)))
        return acknowledged(request, _ignored(parsed))

    async def delete(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        given = {"index": request.path_params["index"], "aliases": parts_of(request.path_params["name"])}
        await indices.change(lambda catalogue: _applied(indices, catalogue, "remove", given))
        return acknowledged(request)

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        asked = request.path_params.get("name")
        found, absent = _found(indices, selected(around, request), asked)
        if request.method == "HEAD":
            status = 404 if absent else 200
            return Response(status_code=status, headers={**PRODUCT, "Content-Type": JSON_TYPE})
        if not absent:
            return json_response(request, found)
        word = "alias" if len(absent) == 1 else "aliases"
        return json_response(
            request, {"error": f"{word} [{','.join(absent)}] missing", "status": 404, **found}, 404
        )

    reading, writing = ["GET", "HEAD"], ["PUT", "POST"]
    found: list[BaseRoute] = [
        Route("/_aliases", answered(change_many), methods=["POST"]),
        Route("/_aliases", answered(show), methods=["GET"]),
    ]
    for path in ("_alias", "_aliases"):
        found += [
            Route(f"{INDEX}/{path}", answered(show), methods=reading),
            Route(f"{INDEX}/{path}/{{name}}", answered(show), methods=reading),
            Route(f"{INDEX}/{path}/{{name}}", answered(put), methods=writing),
            Route(f"{INDEX}/{path}/{{name}}", answered(delete), methods=["DELETE"]),
        ]
    return [
        *found,
        Route("/_alias", answered(show), methods=reading),
        Route("/_alias/{name}", answered(show), methods=reading),
    ]


def _action(given: Any) -> tuple[str, dict[str, Any]]:
    """One action, its form checked. Raises RequestError 400."""
    if not isinstance(given, dict) or len(given) != 1:
        requests.fail("an action is an object of one key: add, remove or remove_index", "parse_exception")
    kind, body = next(iter(given.items()))
    only(given, ("add", "remove", "remove_index"), "alias actions")
    if not isinstance(body, dict):
        requests.fail(f"[{kind}] must be an object", "parse_exception")
    only(body, (*NAMES, *KNOWN) if kind == "add" else NAMES, f"[{kind}]")
    if not _listed(body, "index", "indices"):
        requests.fail(f"One of [index] or [indices] is required for [{kind}]")
    if kind != "remove_index" and not _listed(body, "alias", "aliases"):
        requests.fail(f"One of [alias] or [aliases] is required for [{kind}]")
    if kind == "add":
        for alias in _listed(body, "alias", "aliases"):
            parse_alias(alias, _what(body))
    return kind, body


def _what(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in KNOWN}


def _ignored(body: Mapping[str, Any]) -> list[str]:
    aliases = _listed(body, "alias", "aliases")
    return [each for alias in aliases for each in parse_alias(alias, _what(body))[1]]


def _listed(body: Mapping[str, Any], one: str, many: str) -> list[str]:
    given = body.get(one, body.get(many))
    names = parts_of(given) if isinstance(given, str) else given or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        requests.fail(f"[{one}] must be a name, [{many}] a list of names", "parse_exception")
    return names


def _checked(catalogue: Catalogue) -> Catalogue:
    check_write_indexes(catalogue)
    return catalogue


def _applied(indices: PlacedIndices, catalogue: Catalogue, kind: str, body: Mapping[str, Any]) -> Catalogue:
    """The catalogue after one action. Raises RequestError."""
    expression = ",".join(_listed(body, "index", "indices"))
    if kind == "remove_index":
        return indices.dropping(_concrete(indices, expression))(catalogue)
    names = _concrete(indices, expression)
    if kind == "remove":
        return _removed(catalogue, names, body)
    places = indices.places()
    known = {name for name, place in places.items() if place.configured or name in catalogue.indexes}
    for alias in _listed(body, "alias", "aliases"):
        require_alias(alias)
        what, _ = parse_alias(alias, _what(body))
        if catalogue.is_stream(alias):
            reason = f"Invalid alias name [{alias}]: a data stream has that name"
            raise RequestError(400, "invalid_alias_name_exception", reason)
        for name in (name for name in names if name in known):
            catalogue = with_alias(catalogue, alias, name, what, known)
    return catalogue


def _concrete(indices: PlacedIndices, expression: str) -> list[str]:
    """Indexes by their own names and patterns: an alias of an alias there is not. Raises RequestError."""
    aliases, places = indices.catalogue.aliases, indices.places()
    for name in parts_of(expression):
        if name in aliases and name not in places:
            reason = (
                f"The provided expression [{name}] matches an alias, specify the corresponding concrete "
                "indices instead."
            )
            raise RequestError(400, "illegal_argument_exception", reason)
    found = [name for name in indices.select(expression) if name in places]
    if not found:
        raise missing(expression)
    return found


def _removed(catalogue: Catalogue, names: list[str], body: Mapping[str, Any]) -> Catalogue:
    asked = _listed(body, "alias", "aliases")
    taken = False
    for pattern in asked:
        wanted = "*" if pattern == "_all" else pattern
        plain = catalogue.plain_aliases
        for alias in _named(wanted, plain):
            for name in names:
                if name in plain.get(alias, {}):
                    catalogue, taken = without_alias(catalogue, alias, name), True
    if not taken and body.get("must_exist", True):
        raise RequestError(404, "aliases_not_found_exception", f"aliases [{','.join(asked)}] missing")
    return catalogue


def _named(pattern: str, plain: Iterable[str]) -> list[str]:
    """The aliases that are meant, of those that whoever asks may change. Raises RequestError 403."""
    if "*" in pattern:
        return like(pattern, [alias for alias in plain if within([alias])])
    require_alias(pattern)
    return [pattern]


def _found(indices: PlacedIndices, names: list[str], asked: str | None) -> tuple[dict[str, Any], list[str]]:
    """Index → its aliases that are asked for; and the names that nothing has."""
    wanted = [] if asked in (None, "_all", "*") else parts_of(str(asked))
    body: dict[str, Any] = {}
    seen: set[str] = set()
    for name in names:
        held = aliases_of(indices, name)
        if wanted:
            held = {a: what for a, what in held.items() if any(a in like(p, [a]) or a == p for p in wanted)}
        seen.update(held)
        if held or asked is None:
            body[name] = {"aliases": {alias: alias_body(what) for alias, what in held.items()}}
    return body, sorted(pattern for pattern in wanted if "*" not in pattern and pattern not in seen)
