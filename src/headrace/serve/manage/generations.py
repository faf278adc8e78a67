"""The next generation of an index: its documents indexed anew for another mapping, while it goes on.

The catalogue decides: until it is changed the old generation is the index, from then on the new one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.catalogue.entry import Building, Catalogue
from headrace.core.errors import RequestError
from headrace.index.mapping import from_elasticsearch
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.editing import decided, with_building, with_entry
from headrace.serve.manage.base import Surroundings, acknowledged, an_object, only
from headrace.serve.places import check_options
from headrace.serve.resolving import missing
from headrace.serve.responses import answered

DECIDE_SECONDS: Final = 5.0
"""The old generation is paused for twice as long at most, then it goes on and the new one is out of date."""


def routes(around: Surroundings) -> list[BaseRoute]:
    async def make(request: Request) -> Response:
        requests.check_parameters(request, requests.COMMON)
        body = await read_body(request)
        only(body, ("mappings",), "generation")
        if "mappings" in body:
            an_object(body, "mappings")
        name = request.path_params["index"]
        generation, told = await regenerate(around, name, body.get("mappings"))
        return acknowledged(request, told, index=name, generation=generation)

    return [Route("/api/indexes/{index}/generations", answered(make), methods=["POST"])]


async def regenerate(
    around: Surroundings, name: str, mappings: Mapping[str, Any] | None = None
) -> tuple[int, list[str]]:
    """Make and take the next generation, for its mappings as they are now, or for other ones.

    Its number, and what of the mappings is not honoured. Raises RequestError: nothing was changed."""
    place = around.indices.places().get(name)
    if place is None:
        raise missing(name, around.indices.names())
    made = place.made
    if made is None or place.configured or around.generations is None:
        requests.fail(
            f"index [{name}] is in the configuration: declare it there under another name, and index again"
        )
    wanted = made.mappings if mappings is None else dict(mappings)
    found = from_elasticsearch(wanted, made.settings)
    check_options(name, made.kind, found.options)
    building = Building(made.generation + 1, dict(found.options))
    await around.indices.change(partial(with_building, name=name, building=building))
    taken = False
    try:
        await around.generations.regenerate(made.uuid)
        since = time.monotonic()

        def take(catalogue: Catalogue) -> Catalogue:
            if time.monotonic() - since > DECIDE_SECONDS:
                reason = "the decision came too late, and the old generation went on; try again"
                raise RequestError(503, "generation_lost", reason, retry_after=1)
            chosen = decided(catalogue, made.uuid, taken=True, data_dir=around.indices.data_dir)
            return with_entry(chosen, name, mappings=wanted)

        await around.indices.change(take)
        taken = True
    finally:
        if not taken:
            give_up = partial(decided, uuid=made.uuid, taken=False, data_dir=around.indices.data_dir)
            await around.indices.change(give_up)
    return building.generation, list(found.unsupported)
