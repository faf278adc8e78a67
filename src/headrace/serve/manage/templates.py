"""Templates over HTTP: kept in the catalogue, shown again, and applied where an index is made.

What a template asks for and no index here can have is told when it is put, and left out when it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Catalogue
from headrace.core.errors import RequestError
from headrace.serve import requests, templates
from headrace.serve.bodies import read_body
from headrace.serve.doors.principal import require
from headrace.serve.index_names import LONGEST
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import PARAMETERS, Surroundings, acknowledged, an_object, flag, only
from headrace.serve.manage.indexes import parse_new
from headrace.serve.manage.reach import Kept, check_change, readable
from headrace.serve.manage.shown import flat, nested
from headrace.serve.resolving import like
from headrace.serve.responses import JSON_TYPE, PRODUCT, answered, json_response

KNOWN: Final = PARAMETERS | {"create", "cause", "order", "include_type_name", "include_defaults"}
INDEX_KEYS: Final = (
    "index_patterns", "template", "composed_of", "priority", "version", "_meta", "data_stream",
    "allow_auto_create", "ignore_missing_component_templates", "deprecated",
)  # fmt: skip
COMPONENT_KEYS: Final = ("template", "version", "_meta", "allow_auto_create", "deprecated")
LEGACY_KEYS: Final = ("index_patterns", "order", "version", *templates.PARTS)
TEMPLATE_KEYS: Final = (*templates.PARTS, "lifecycle", "data_stream_options")
STREAM_KEYS: Final = ("hidden", "allow_custom_routing", "timestamp_field")
_NAME: Final = re.compile(r"[^\s,\"*\\<>|?/#_A-Z][^\s,\"*\\<>|?/#A-Z]*")


def routes(around: Surroundings) -> list[BaseRoute]:
    found: list[BaseRoute] = [
        Route("/_index_template/_simulate_index/{name}", simulate(around), methods=["POST"])
    ]
    found += _kind(around, "_index_template", "index", _checked_index, _all_index)
    found += _kind(around, "_component_template", "component", _checked_component, _all_component)
    found += _kind(around, "_template", "legacy", _checked_legacy, _all_legacy)
    return found


def simulate(around: Surroundings) -> Any:
    async def answer(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        name = request.path_params["name"]
        require(name)
        body, told = templates.applied(around.indices.catalogue, name, {})
        _, not_honoured = await parse_new(name, body)
        made = {"settings": nested(flat(body.get("settings", {}))), "mappings": body.get("mappings", {})}
        answer = {"template": {**made, "aliases": body.get("aliases", {})}, "overlapping": []}
        if told or not_honoured:
            answer["headrace"] = {"not_honoured": [*told, *not_honoured]}
        return json_response(request, answer)

    return answered(answer)


def _kind(
    around: Surroundings,
    path: str,
    kind: str,
    check: Callable[[Catalogue, str, dict[str, Any]], dict[str, Any]],
    shown: Callable[[Kept], dict[str, Any]],
) -> list[BaseRoute]:
    """The routes of one kind of template."""
    indices = around.indices
    word = {"index": "index template", "component": "component template", "legacy": "index_template"}[kind]

    def kept(catalogue: Catalogue) -> Kept:
        found: Kept = getattr(catalogue.templates, kind)
        return found

    def with_kept(catalogue: Catalogue, changed: Kept) -> Catalogue:
        return replace(catalogue, templates=replace(catalogue.templates, **{kind: changed}))

    async def put(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        name, body = request.path_params["name"], await read_body(request)
        _check_name(name, word)
        if kind == "legacy" and "order" in request.query_params:
            body.setdefault("order", requests.whole(request.query_params["order"], "order"))
        create = flag(request, "create", default=False)

        def edit(catalogue: Catalogue) -> Catalogue:
            if create and name in kept(catalogue):
                requests.fail(f"{word} [{name}] already exists")
            checked = check(catalogue, name, body)
            check_change(catalogue, kind, name, kept(catalogue).get(name, {}), checked)
            if kind == "index":
                _check_overlap(catalogue, name, checked["index_patterns"], templates.priority(checked))
            return with_kept(catalogue, {**kept(catalogue), name: checked})

        changed = await indices.change(edit)
        return acknowledged(request, await _told(changed, kind, kept(changed)[name]))

    async def show(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        asked = request.path_params.get("name", "*")
        found, absent = _named(readable(indices.catalogue, kind), asked)
        if request.method == "HEAD":
            return Response(
                status_code=404 if absent else 200, headers={**PRODUCT, "Content-Type": JSON_TYPE}
            )
        if absent and kind == "legacy":
            return json_response(request, {}, 404)
        if absent:
            raise RequestError(
                404, "resource_not_found_exception", f"{word} matching [{absent[0]}] not found"
            )
        return json_response(request, shown(found))

    async def delete(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        asked = request.path_params["name"]

        def edit(catalogue: Catalogue) -> Catalogue:
            found, absent = _named(readable(catalogue, kind), asked)
            if absent or (not found and asked != "*"):
                missing = ",".join(absent) or asked
                raise RequestError(404, "index_template_missing_exception", f"{word} [{missing}] missing")
            _check_unused(catalogue, kind, list(found))
            left = {name: body for name, body in kept(catalogue).items() if name not in found}
            return with_kept(catalogue, left)

        await indices.change(edit)
        return acknowledged(request)

    return [
        Route(f"/{path}", answered(show), methods=["GET"]),
        Route(f"/{path}/{{name}}", answered(show), methods=["GET", "HEAD"]),
        Route(f"/{path}/{{name}}", answered(put), methods=["PUT", "POST"]),
        Route(f"/{path}/{{name}}", answered(delete), methods=["DELETE"]),
    ]


async def _told(catalogue: Catalogue, kind: str, body: Mapping[str, Any]) -> list[str]:
    """What of a template no index will have."""
    whole = templates.composed(catalogue, body) if kind == "index" else body.get("template", body)
    settings, mappings, told = templates.possible(whole.get("settings") or {}, whole.get("mappings") or {})
    aliases = whole.get("aliases") or {}
    _, not_honoured = await parse_new(
        "template", {"settings": settings, "mappings": mappings, "aliases": aliases}
    )
    if whole.get("lifecycle"):
        told.append("[lifecycle] is kept, but not carried out: declare [retention] in the configuration")
    return [*told, *not_honoured]


def _check_name(name: str, word: str) -> None:
    if _NAME.fullmatch(name) is None:
        requests.fail(
            f"{word} [{name}] is no name: it is in lower case, begins with no [_], and has no space and none "
            'of , " * \\ < > | ? / #',
            "invalid_index_template_exception",
        )


def _checked_index(catalogue: Catalogue, name: str, body: dict[str, Any]) -> dict[str, Any]:
    only(body, INDEX_KEYS, f"index template [{name}]")
    patterns = _patterns(body, name)
    template = _template(body, f"index template [{name}]")
    composed_of = body.get("composed_of") or []
    if not isinstance(composed_of, list) or not all(isinstance(each, str) for each in composed_of):
        requests.fail("[composed_of] is a list of names of component templates", "parsing_exception")
    optional = body.get("ignore_missing_component_templates") or []
    absent = [
        each for each in composed_of if each not in catalogue.templates.component and each not in optional
    ]
    if absent:
        _invalid(name, f"index template [{name}] specifies component templates {absent} that do not exist")
    _number(body, "priority")
    if body.get("data_stream") is not None:
        only(an_object(body, "data_stream"), STREAM_KEYS, "[data_stream]")
    kept = {key: value for key, value in body.items() if value is not None}
    return {**kept, "index_patterns": patterns, **({"template": template} if template else {})}


def _checked_component(catalogue: Catalogue, name: str, body: dict[str, Any]) -> dict[str, Any]:
    del catalogue
    only(body, COMPONENT_KEYS, f"component template [{name}]")
    if "template" not in body:
        requests.fail(f"Required [template] of component template [{name}]", "parsing_exception")
    kept = {key: value for key, value in body.items() if value is not None}
    return {**kept, "template": _template(body, f"component template [{name}]")}


def _checked_legacy(catalogue: Catalogue, name: str, body: dict[str, Any]) -> dict[str, Any]:
    del catalogue
    # The pattern was called `template` before version 6, and mappings had a type before version 7.
    if isinstance(body.get("template"), str):
        body = {**{key: value for key, value in body.items() if key != "template"}}
    only(body, LEGACY_KEYS, f"template [{name}]")
    patterns = _patterns(body, name)
    _number(body, "order")
    mappings = an_object(body, "mappings")
    if set(mappings) == {"_doc"}:
        body = {**body, "mappings": mappings["_doc"]}
    for part in templates.PARTS:
        an_object(body, part)
    return {"order": 0, **body, "index_patterns": patterns}


def _patterns(body: Mapping[str, Any], name: str) -> list[str]:
    given = body.get("index_patterns")
    found: Any = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        _invalid(name, "index_patterns is missing: a pattern, or a list of them")
    for each in found:
        if len(each.encode(errors="replace")) > LONGEST:
            _invalid(name, f"index_patterns has a pattern of more than {LONGEST} bytes, which fits no name")
    return list(found)


def _template(body: Mapping[str, Any], where: str) -> dict[str, Any]:
    template = an_object(body, "template")
    only(template, TEMPLATE_KEYS, where)
    for part in templates.PARTS:
        an_object(template, part)
    return template


def _number(body: Mapping[str, Any], name: str) -> None:
    value = body.get(name)
    if value is not None and requests.whole(value, name) < 0:
        requests.fail(f"[{name}] cannot be negative, found [{value}]")


def _check_overlap(catalogue: Catalogue, name: str, patterns: list[str], priority: int) -> None:
    """Two templates of one priority for one name would leave it to chance which is applied."""
    for other, body in catalogue.templates.index.items():
        if other == name or templates.priority(body) != priority:
            continue
        if any(templates.overlap(one, two) for one in patterns for two in body["index_patterns"]):
            if other not in readable(catalogue, "index"):
                requests.fail(
                    f"index template [{name}] matches names of a template of others, which has the "
                    f"same priority [{priority}], please use a different priority"
                )
            theirs = ", ".join(body["index_patterns"])
            requests.fail(
                f"index template [{name}] has index patterns [{', '.join(patterns)}] matching patterns from "
                f"existing templates [{other}] with patterns ({other} => [{theirs}]) that have the same "
                f"priority [{priority}], multiple index templates may not match during index creation, "
                "please use a different priority"
            )


def _check_unused(catalogue: Catalogue, kind: str, names: list[str]) -> None:
    for name in names:
        if kind == "component":
            users = [
                u for u, body in catalogue.templates.index.items() if name in (body.get("composed_of") or [])
            ]
            if users:
                requests.fail(
                    f"component templates [{name}] cannot be removed as they are still in use by index "
                    f"templates [{', '.join(users)}]"
                )
        if kind == "index":
            streams = [each for each, stream in catalogue.streams.items() if stream.template == name]
            if streams:
                requests.fail(
                    f"unable to remove composable templates [{name}] as they are in use by a data streams "
                    f"[{', '.join(streams)}]"
                )


def _invalid(name: str, cause: str) -> None:
    raise RequestError(
        400, "invalid_index_template_exception", f"index_template [{name}] invalid, cause [{cause}]"
    )


def _named(kept: Kept, expression: str) -> tuple[Kept, list[str]]:
    """Those that an expression names, and the names that nothing has."""
    found: Kept = {}
    absent: list[str] = []
    for pattern in parts_of(expression):
        if "*" in pattern:
            found |= {name: kept[name] for name in like(pattern, kept)}
        elif pattern in kept:
            found[pattern] = kept[pattern]
        else:
            absent.append(pattern)
    return dict(sorted(found.items())), absent


def _all_index(found: Kept) -> dict[str, Any]:
    return {
        "index_templates": [
            {"name": name, "index_template": {**_shown(body), "composed_of": body.get("composed_of") or []}}
            for name, body in found.items()
        ]
    }


def _all_component(found: Kept) -> dict[str, Any]:
    listed = [{"name": name, "component_template": _shown(body)} for name, body in found.items()]
    return {"component_templates": listed}


def _all_legacy(found: Kept) -> dict[str, Any]:
    empty: dict[str, Any] = {"settings": {}, "mappings": {}, "aliases": {}}
    return {name: {**empty, **_with_settings(body)} for name, body in found.items()}


def _shown(body: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    if "template" in body:
        shown["template"] = _with_settings(body["template"])
    if "data_stream" in body:
        shown["data_stream"] = {"hidden": False, "allow_custom_routing": False, **body["data_stream"]}
    return shown


def _with_settings(template: Mapping[str, Any]) -> dict[str, Any]:
    given = template.get("settings")
    return {**template, "settings": nested(flat(given))} if given else dict(template)
