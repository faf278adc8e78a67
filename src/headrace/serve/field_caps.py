"""`_field_caps`: the fields of several indexes; where their types differ it says which index has which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.glob import any_matches
from headrace.index.base import Reader
from headrace.index.mapping.capabilities import Capability, capabilities
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.lists import few, list_of
from headrace.serve.names import Indices, Named
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread

PARAMETERS: Final = frozenset({"fields", "include_unmapped", "filters", "types", "include_empty_fields"})
FILTERS: Final = ("+metadata", "-metadata", "-parent", "-nested", "-multifield")
BOTH: Final = ["GET", "POST"]

Found = Mapping[str, Mapping[str, Capability]]
"""Index → path → what it can."""


def routes(indices: Indices) -> list[BaseRoute]:
    async def field_caps(request: Request) -> Response:
        given = request.query_params
        requests.check_parameters(request, requests.COMMON | requests.TARGETS | PARAMETERS)
        body = await read_body(request)
        patterns = _patterns(body, given)
        kept = _kept(list_of(given.get("filters")), list_of(given.get("types")))
        if not requests.flag(given.get("include_empty_fields", True), "include_empty_fields"):
            requests.fail(
                "[include_empty_fields] can only be true: documents are not searched for each field"
            )
        unmapped = requests.flag(given.get("include_unmapped"), "include_unmapped")
        named = indices.resolve(
            request.path_params.get("index", "_all"),
            ignore_unavailable=requests.flag(given.get("ignore_unavailable"), "ignore_unavailable"),
            allow_no_indices=requests.flag(given.get("allow_no_indices", True), "allow_no_indices"),
        )
        found = await in_thread(lambda: _found(named, body.get("index_filter")))
        fields = _merged(found, patterns, kept, unmapped=unmapped)
        return json_response(request, {"indices": list(found), "fields": fields})

    handler = answered(field_caps)
    return [
        Route("/_field_caps", handler, methods=BOTH),
        Route("/{index}/_field_caps", handler, methods=BOTH),
    ]


def _patterns(body: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[str, ...]:
    for name in body:
        if name not in ("fields", "index_filter"):
            requests.fail(f"_field_caps takes [fields] and [index_filter], not [{name}]", "parsing_exception")
    given = body.get("fields")
    if given is not None and "fields" in parameters:
        requests.fail(
            "can't specify a request body and [fields] request parameter, either specify a request body or "
            "the [fields] request parameter"
        )
    found = list_of(given if isinstance(given, str) else parameters.get("fields"))
    if isinstance(given, list):
        few(given, "fields")
        found = tuple(str(each) for each in given)
    if not found:
        requests.fail("Validation Failed: 1: no fields specified;", "action_request_validation_exception")
    return found


def _kept(filters: Sequence[str], types: Sequence[str]) -> Any:
    """Which fields `filters` and `types` leave."""
    for name in filters:
        if name not in FILTERS:
            requests.fail(f"Unknown filter [{name}]; have: {', '.join(FILTERS)}")

    def kept(each: Capability) -> bool:
        if types and each.type not in types:
            return False
        return not (
            ("+metadata" in filters and not each.metadata)
            or ("-metadata" in filters and each.metadata)
            or ("-parent" in filters and each.parent)
            or ("-multifield" in filters and each.multi)
        )

    return kept


def _found(named: Iterable[Named], index_filter: Any) -> dict[str, dict[str, Capability]]:
    """The fields of each index; those without a document that the filter matches are left out."""
    return {
        each.name: capabilities(each.reader.fields, _dynamic(each.reader))
        for each in sorted(named, key=lambda each: each.name)
        if index_filter is None or each.reader.count(index_filter)
    }


def _dynamic(reader: Reader) -> dict[str, str]:
    """Undeclared fields, where the kind of index knows them."""
    fields = getattr(reader, "dynamic_fields", None)
    return fields() if fields else {}


def _merged(found: Found, patterns: Sequence[str], kept: Any, *, unmapped: bool) -> dict[str, Any]:
    names = sorted({path for paths in found.values() for path in paths if any_matches(patterns, path)})
    fields = {}
    for name in names:
        have = {index: paths[name] for index, paths in found.items() if name in paths and kept(paths[name])}
        if have:
            fields[name] = _types(have, [index for index in found if index not in have] if unmapped else [])
    return fields


def _types(have: Mapping[str, Capability], without: Sequence[str]) -> dict[str, Any]:
    """Per type what all its indexes can; where only some can, those that cannot are named."""
    types = dict.fromkeys(each.type for each in have.values())
    several = len(types) + bool(without) > 1
    shown = {}
    for kind in types:
        of = {index: each for index, each in have.items() if each.type == kind}
        entry: dict[str, Any] = {"type": kind, "metadata_field": all(each.metadata for each in of.values())}
        for ability in ("searchable", "aggregatable"):
            cannot = [index for index, each in of.items() if not getattr(each, ability)]
            entry[ability] = not cannot
            if 0 < len(cannot) < len(of):
                entry[f"non_{ability}_indices"] = cannot
        shown[kind] = entry | ({"indices": list(of)} if several else {})
    if without:
        shown["unmapped"] = {
            "type": "unmapped",
            "metadata_field": False,
            "searchable": False,
            "aggregatable": False,
            "indices": list(without),
        }
    return shown
