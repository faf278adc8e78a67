"""Lifecycle policies: kept and shown again to those who set them up, and not carried out, which is said."""

from __future__ import annotations

import time
from typing import Any, Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Catalogue
from headrace.core.errors import RequestError
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import (
    INDEX,
    PARAMETERS,
    Surroundings,
    acknowledged,
    an_object,
    only,
    selected,
    unsupported,
)
from headrace.serve.resolving import like
from headrace.serve.responses import answered, json_response

NOT_DONE: Final = (
    "lifecycle policy [{name}] is kept, but not carried out: the retention of an index is declared in the "
    "configuration"
)

LONGEST_NAME: Final = 255
"""Bytes, as Elasticsearch has it."""


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    def with_policies(catalogue: Catalogue, changed: dict[str, dict[str, Any]]) -> Catalogue:
        return replace(catalogue, templates=replace(catalogue.templates, policies=changed))

    async def put(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        name, body = request.path_params["name"], await read_body(request)
        _check_name(name)
        only(body, ("policy",), "a lifecycle policy")
        policy = an_object(body, "policy")
        an_object(policy, "phases")

        def edit(catalogue: Catalogue) -> Catalogue:
            known = catalogue.templates.policies
            entry = {"version": known.get(name, {}).get("version", 0) + 1, "modified_date": _now()}
            return with_policies(catalogue, {**known, name: {**entry, "policy": policy}})

        await indices.change(edit)
        return acknowledged(request, [NOT_DONE.format(name=name)])

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        known = indices.catalogue.templates.policies
        asked = request.path_params.get("name", "*")
        names = like(asked, known) if "*" in asked else parts_of(asked)
        unused: dict[str, list[str]] = {"indices": [], "data_streams": [], "composable_templates": []}
        _check(known, names)
        return json_response(request, {name: {**known[name], "in_use_by": unused} for name in names})

    async def delete(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        name = request.path_params["name"]

        def edit(catalogue: Catalogue) -> Catalogue:
            known = catalogue.templates.policies
            _check(known, [name])
            return with_policies(catalogue, {other: known[other] for other in known if other != name})

        await indices.change(edit)
        return acknowledged(request)

    async def status(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        return json_response(request, {"operation_mode": "STOPPED"})

    async def start(_: Request) -> Response:
        raise unsupported(
            "carrying out lifecycle policies", "declare the [retention] of an index in the configuration"
        )

    async def explain(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"only_errors", "only_managed"})
        names = selected(around, request)
        return json_response(
            request, {"indices": {name: {"index": name, "managed": False} for name in names}}
        )

    return [
        Route("/_ilm/policy", answered(show), methods=["GET"]),
        Route("/_ilm/policy/{name}", answered(show), methods=["GET"]),
        Route("/_ilm/policy/{name}", answered(put), methods=["PUT"]),
        Route("/_ilm/policy/{name}", answered(delete), methods=["DELETE"]),
        Route("/_ilm/status", answered(status), methods=["GET"]),
        Route("/_ilm/start", answered(start), methods=["POST"]),
        Route(f"{INDEX}/_ilm/explain", answered(explain), methods=["GET"]),
    ]


def _check(known: dict[str, dict[str, Any]], names: list[str]) -> None:
    for name in names:
        if name not in known:
            raise RequestError(404, "resource_not_found_exception", f"Lifecycle policy not found: {name}")


def _check_name(name: str) -> None:
    """One that could not be asked for again is none: a comma stands between names. Raises RequestError."""
    wrong = f"invalid policy name [{name}]: "
    if "," in name:
        requests.fail(f"{wrong}must not contain ','")
    if " " in name:
        requests.fail(f"{wrong}must not contain spaces")
    if name.startswith("_"):
        requests.fail(f"{wrong}must not start with '_'")
    size = len(name.encode(errors="replace"))
    if size > LONGEST_NAME:
        requests.fail(f"{wrong}name is too long, ({size} > {LONGEST_NAME})")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
