"""What clients ask of a cluster, answered for the one node there is: health, nodes, names, sizes."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.core.health import State
from headrace.serve import requests
from headrace.serve.doors.principal import visible_aliases
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import INDEX, PARAMETERS, SHARDS, Surroundings, selected, unsupported
from headrace.serve.manage.shown import aliases_of, settings_of
from headrace.serve.places import PlacedIndices, has_folder
from headrace.serve.resolving import like, missing
from headrace.serve.responses import json_response
from headrace.serve.search import ES_VERSION, answered, in_thread
from headrace.units import Duration

HEALTH: Final = PARAMETERS | {
    "level", "wait_for_status", "wait_for_no_relocating_shards", "wait_for_no_initializing_shards",
    "wait_for_nodes", "wait_for_events",
}  # fmt: skip
COLOURS: Final = ("green", "yellow", "red")
NODE: Final = "headrace"

LOOK_SECONDS: Final = 0.1
"""Between two looks at the state while a client waits for a better one."""
LONGEST_WAIT: Final = 300.0


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def health(request: Request) -> Response:
        requests.check_parameters(request, HEALTH)
        wanted = request.query_params.get("wait_for_status", "red").lower()
        if wanted not in COLOURS:
            requests.fail(f"unknown cluster health status [{wanted}] (have: {', '.join(COLOURS)})")
        level = request.query_params.get("level", "cluster")
        if level not in ("cluster", "indices", "shards"):
            requests.fail(f"[level] is cluster, indices or shards, found [{level}]")
        until = time.monotonic() + _seconds(request.query_params.get("timeout", "30s"))
        while True:
            found, worst = await colours(around, request)
            late = time.monotonic() >= until
            if late or COLOURS.index(worst) <= COLOURS.index(wanted):
                break
            await anyio.sleep(LOOK_SECONDS)
        timed_out = COLOURS.index(worst) > COLOURS.index(wanted)
        return json_response(request, _health(found, worst, timed_out, level), 408 if timed_out else 200)

    async def settings(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        if request.method == "GET":
            return json_response(request, {"persistent": {}, "transient": {}})
        raise unsupported("changing settings of the cluster", "set it in the configuration file")

    async def nodes(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        return json_response(request, _nodes(request))

    async def resolved(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        return json_response(
            request, _resolved(indices, selected(around, request), request.path_params["index"])
        )

    async def stats(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"level", "metric", "forbid_closed_indices"})
        names = selected(around, request)
        return json_response(request, await in_thread(lambda: _stats(indices, names)))

    return [
        Route("/_cluster/health", answered(health), methods=["GET"]),
        Route("/_cluster/health" + INDEX, answered(health), methods=["GET"]),
        Route("/_cluster/settings", answered(settings), methods=["GET", "PUT"]),
        Route("/_nodes", answered(nodes), methods=["GET"]),
        Route("/_nodes/{what:path}", answered(nodes), methods=["GET"]),
        Route("/_resolve/index" + INDEX, answered(resolved), methods=["GET"]),
        *(
            Route(f"{prefix}/_stats{metric}", answered(stats), methods=["GET"])
            for prefix in ("", INDEX)
            for metric in ("", "/{metric}")
        ),
    ]


def _seconds(given: str) -> float:
    try:
        return min(float(Duration(given if not given.isdigit() else f"{given}ms")), LONGEST_WAIT)
    except ValueError:
        requests.fail(f"failed to parse setting [timeout] with value [{given}] as a time value")


async def colours(around: Surroundings, request: Request) -> tuple[dict[str, str], str]:
    """Of each index that is asked for, and the worst of them and the service's own."""
    state, _ = await around.readiness()
    own = "green" if state in (State.READY, State.FINISHED) else "red" if state is State.FAILED else "yellow"
    try:
        names = selected(around, request)
    except RequestError as error:
        if error.status != 404:
            raise
        return {}, "red"  # As Elasticsearch has it: an index that is not there is waited for.
    colours = await in_thread(lambda: {name: _colour(around.indices, name) for name in names})
    return colours, max([own, *colours.values()], key=COLOURS.index)


def _colour(indices: PlacedIndices, name: str) -> str:
    try:
        indices.get(name)
    except RequestError:
        place = indices.places().get(name)
        # Not made yet is on its way; made and not to be opened is broken.
        return "red" if place is None or has_folder(place) else "yellow"
    return "green"


def _health(colours: dict[str, str], worst: str, timed_out: bool, level: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "cluster_name": NODE,
        "status": worst,
        "timed_out": timed_out,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        **_shard_counts(len(colours)),
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    }
    if level == "cluster":
        return body
    one = {"number_of_shards": 1, "number_of_replicas": 0, **_shard_counts(1)}
    body["indices"] = {name: {"status": colour, **one} for name, colour in colours.items()}
    if level == "shards":
        for name, colour in colours.items():
            shard = {"status": colour, "primary_active": True, **_shard_counts(1)}
            body["indices"][name]["shards"] = {"0": shard}
    return body


def _shard_counts(count: int) -> dict[str, int]:
    none = ("relocating_shards", "initializing_shards", "unassigned_shards", "unassigned_primary_shards",
            "delayed_unassigned_shards")  # fmt: skip
    return {"active_primary_shards": count, "active_shards": count, **dict.fromkeys(none, 0)}


def _nodes(request: Request) -> dict[str, Any]:
    """The address is the one the client came by: it is the one that works for it."""
    host = request.url.hostname or "127.0.0.1"
    port = request.url.port or (443 if request.url.scheme == "https" else 80)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    node = {
        "name": NODE,
        "transport_address": address,
        "host": host,
        "ip": host,
        "version": ES_VERSION,
        "build_flavor": "default",
        "build_type": NODE,
        "roles": ["data", "ingest", "master"],
        "attributes": {},
        "process": {"id": os.getpid()},
        "http": {
            "bound_address": [address],
            "publish_address": address,
            "max_content_length_in_bytes": 104857600,
        },
    }
    return {
        "_nodes": {"total": 1, "successful": 1, "failed": 0},
        "cluster_name": NODE,
        "nodes": {NODE: node},
    }


def _resolved(indices: PlacedIndices, names: list[str], expression: str) -> dict[str, Any]:
    aliases = visible_aliases(indices.catalogue.aliases)
    parts = parts_of(expression)
    named = [alias for alias in sorted(aliases) if any(alias == p or like(p, [alias]) for p in parts)]
    direct = [name for name in sorted(names) if any(p in (name, "_all") or like(p, [name]) for p in parts)]
    found = []
    for name in direct:
        held = list(aliases_of(indices, name))
        found.append({"name": name, **({"aliases": held} if held else {}), "attributes": ["open"]})
    listed = [{"name": alias, "indices": sorted(aliases[alias])} for alias in named]
    return {"indices": found, "aliases": listed, "data_streams": []}


def _stats(indices: PlacedIndices, names: list[str]) -> dict[str, Any]:
    bodies: dict[str, Any] = {}
    documents = size = 0
    for name in names:
        place = indices.places().get(name)
        if place is None:
            raise missing(name)
        stats = indices.get(name).stats()
        documents, size = documents + stats.documents, size + stats.size
        both = _sizes(stats.documents, stats.size)
        uuid = settings_of(place)["index.uuid"]
        bodies[name] = {"uuid": uuid, "health": "green", "status": "open", "primaries": both, "total": both}
    whole = _sizes(documents, size)
    shards = {**SHARDS, "total": len(names), "successful": len(names)}
    return {"_shards": shards, "_all": {"primaries": whole, "total": whole}, "indices": bodies}


def _sizes(documents: int, size: int) -> dict[str, Any]:
    return {
        "docs": {"count": documents, "deleted": 0},
        "store": {"size_in_bytes": size, "total_data_set_size_in_bytes": size, "reserved_in_bytes": 0},
    }
