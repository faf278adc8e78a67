"""`_settings` of indexes: shown as they were given; the two that every client changes are taken and kept."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Catalogue
from headrace.index.mapping.index_settings import check_settings, flattened
from headrace.index.mapping.notices import Notices
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.editing import with_entry
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, acknowledged, flag, selected
from headrace.serve.manage.shown import flat, nested, settings_of
from headrace.serve.resolving import like, missing
from headrace.serve.responses import answered, json_response

TAKEN: Final = {
    "index.refresh_interval": "[index.refresh_interval] is kept and shown, but commit_interval of the "
    "configuration decides how soon documents are searchable",
    "index.number_of_replicas": "[index.number_of_replicas] is kept and shown, but there are no replicas",
}


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def show(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        places = indices.places()
        wanted = parts_of(request.path_params.get("name", "*").replace("_all", "*"))
        as_flat = flag(request, "flat_settings", default=False)
        body = {}
        for name in selected(around, request):
            if name in places:
                found = flat(settings_of(places[name]))
                found = {key: value for key, value in found.items() if any(like(p, [key]) for p in wanted)}
                body[name] = {"settings": found if as_flat else nested(found)}
        return json_response(request, body)

    async def change(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"preserve_existing", "reopen"})
        body = await read_body(request)
        # A body may wrap them once more, as the answer of GET does.
        given = flat(body["settings"] if isinstance(body.get("settings"), dict) else body)
        check_settings(flattened(given), Notices())
        names = selected(around, request)
        if not names:
            raise missing(request.path_params.get("index", "_all"))
        refused = [name for name in given if name not in TAKEN]
        if refused:
            listed = ", ".join(refused)
            requests.fail(
                f"Can't update settings [{listed}] of [{','.join(names)}]: of an existing index only "
                f"{' and '.join(f'[{name}]' for name in TAKEN)} are accepted"
            )

        def edit(catalogue: Catalogue) -> Catalogue:
            for name in names:
                if name in catalogue.indexes:
                    # None takes a setting back, as in Elasticsearch.
                    kept = {**flat(catalogue.indexes[name].settings), **given}
                    kept = {key: value for key, value in kept.items() if value is not None}
                    catalogue = with_entry(catalogue, name, settings=kept)
            return catalogue

        await indices.change(edit)
        return acknowledged(request, [TAKEN[name] for name in given])

    return [
        Route("/_settings", answered(show), methods=["GET"]),
        Route("/_settings", answered(change), methods=["PUT"]),
        Route(f"{INDEX}/_settings", answered(show), methods=["GET"]),
        Route(f"{INDEX}/_settings/{{name}}", answered(show), methods=["GET"]),
        Route(f"{INDEX}/_settings", answered(change), methods=["PUT"]),
    ]
