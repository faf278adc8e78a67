"""What clients ask of a cluster, answered for the one node there is: health, nodes, names, sizes."""

from __future__ import annotations

import operator
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.core.health import State
from headrace.core.registry import suggest
from headrace.serve import requests
from headrace.serve.doors.principal import visible_aliases
from headrace.serve.freshness import ended
from headrace.serve.given import seconds
from headrace.serve.lists import list_of, parts_of
from headrace.serve.manage.base import INDEX, PARAMETERS, SHARDS, Surroundings, selected, unsupported
from headrace.serve.manage.shown import aliases_of, settings_of, stream_of
from headrace.serve.manage.streams import streams_of
from headrace.serve.places import PlacedIndices, has_folder
from headrace.serve.resolving import like, missing
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread

HEALTH: Final = PARAMETERS | {
    "level", "wait_for_status", "wait_for_no_relocating_shards", "wait_for_no_initializing_shards",
    "wait_for_nodes", "wait_for_events",
}  # fmt: skip
COLOURS: Final = ("green", "yellow", "red")
NODE: Final = "headrace"

METRICS: Final = (
    "docs", "store", "indexing", "get", "search", "merge", "refresh", "flush", "warmer", "query_cache",
    "fielddata", "segments", "completion", "translog", "request_cache", "recovery", "bulk", "shard_stats",
    "mappings", "dense_vector", "sparse_vector", "suggest",
)  # fmt: skip
"""Of an index, as Elasticsearch knows them; the first two are known here, the others are left out."""

_COMPARED: Final = {
    "": operator.eq, "ge": operator.ge, "le": operator.le, "gt": operator.gt, "lt": operator.lt,
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_NODES: Final = re.compile(r"(?:(>=|<=|>|<)|(ge|le|gt|lt)(?=\())?\(?(\d{1,9})\)?")

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
        enough = _enough(request.query_params)
        until = time.monotonic() + _seconds(request.query_params.get("timeout", "30s"))
        while True:
            found, worst, there = await colours(around, request)
            met = there and enough(found) and COLOURS.index(worst) <= COLOURS.index(wanted)
            if met or time.monotonic() >= until:
                break
            if around.stopping():
                raise ended()
            await anyio.sleep(LOOK_SECONDS)
        return json_response(request, _health(found, worst, not met, level), 200 if met else 408)

    async def settings(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        if request.method in ("GET", "HEAD"):
            return json_response(request, {"persistent": {}, "transient": {}})
        raise unsupported("changing settings of the cluster", "set it in the configuration file")

    async def nodes(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        return json_response(request, _nodes(request, around.version))

    async def resolved(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        return json_response(
            request, _resolved(indices, selected(around, request), request.path_params["index"])
        )

    async def stats(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS | {"level", "metric", "forbid_closed_indices"})
        asked, names = metrics_of(request, METRICS), selected(around, request)
        return json_response(request, await in_thread(lambda: _stats(indices, names, asked)))

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
    return min(seconds(given, "timeout"), LONGEST_WAIT)


def _enough(given: Mapping[str, str]) -> Callable[[Mapping[str, str]], bool]:
    """Whether there is what is waited for, of one node and a shard for each index that is not red.

    Raises RequestError."""
    nodes, shards = given.get("wait_for_nodes", ">=0"), given.get("wait_for_active_shards", "0")
    match = _NODES.fullmatch(nodes)
    if match is None:
        requests.fail(
            f"failed to parse [wait_for_nodes] with value [{nodes}]: a number, or as in >=2 or ge(2)"
        )
    if shards != "all" and not shards.isdecimal():
        requests.fail(f"cannot parse [wait_for_active_shards] with value [{shards}]: a number, or [all]")
    compare = _COMPARED[match[1] or match[2] or ""]
    are_nodes = compare(1, int(match[3]))

    def enough(found: Mapping[str, str]) -> bool:
        active = sum(colour != "red" for colour in found.values())
        return are_nodes and active >= (len(found) if shards == "all" else int(shards))

    return enough


async def colours(around: Surroundings, request: Request) -> tuple[dict[str, str], str, bool]:
    """Of each index asked for, the worst of them and the service's own, and whether all are there."""
    state, _ = await around.readiness()
    own = "green" if state in (State.READY, State.FINISHED) else "red" if state is State.FAILED else "yellow"
    try:
        names = selected(around, request)
    except RequestError as error:
        if error.status != 404:
            raise
        return {}, "red", False  # As Elasticsearch has it: an index that is not there is waited for.
    colours = await in_thread(lambda: {name: _colour(around.indices, name) for name in names})
    return colours, max([own, *colours.values()], key=COLOURS.index), True


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


def _nodes(request: Request, version: str) -> dict[str, Any]:
    """The address is the one the client came by: it is the one that works for it."""
    host = request.url.hostname or "127.0.0.1"
    port = request.url.port or (443 if request.url.scheme == "https" else 80)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    node = {
        "name": NODE,
        "transport_address": address,
        "host": host,
        "ip": host,
        "version": version,
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
    parts = ["*" if part == "_all" else part for part in parts_of(expression)]

    def named(known: Iterable[str]) -> list[str]:
        return [name for name in sorted(known) if any(name == part or like(part, [name]) for part in parts)]

    found = []
    for name in named(names):
        held, stream = list(aliases_of(indices, name)), stream_of(indices, name)
        attributes = ["hidden", "open"] if stream else ["open"]
        found.append(
            {"name": name, **({"aliases": held} if held else {}), "attributes": attributes, **stream}
        )
    aliases, streams = visible_aliases(indices.catalogue.plain_aliases), streams_of(indices.catalogue)
    return {
        "indices": found,
        "aliases": [{"name": alias, "indices": sorted(aliases[alias])} for alias in named(aliases)],
        "data_streams": [
            {"name": name, "backing_indices": streams[name][1], "timestamp_field": "@timestamp"}
            for name in named(streams)
        ],
    }


def metrics_of(request: Request, known: Collection[str]) -> set[str]:
    """The metrics that the path names, all of them without. Raises RequestError."""
    asked = set(list_of(request.path_params.get("metric", "_all")))
    if unknown := sorted(asked - {*known, "_all"}):
        hint = suggest(unknown[0], sorted(known))
        requests.fail(
            f"request [{request.url.path}] contains unrecognized metric: [{', '.join(unknown)}]; {hint}"
        )
    return set(known) if "_all" in asked else asked


def _stats(indices: PlacedIndices, names: list[str], asked: Collection[str]) -> dict[str, Any]:
    bodies: dict[str, Any] = {}
    documents = size = 0
    for name in names:
        place = indices.places().get(name)
        if place is None:
            raise missing(name)
        stats = indices.get(name).stats()
        documents, size = documents + stats.documents, size + stats.size
        both = _sizes(stats.documents, stats.size, asked)
        uuid = settings_of(place)["index.uuid"]
        bodies[name] = {"uuid": uuid, "health": "green", "status": "open", "primaries": both, "total": both}
    whole = _sizes(documents, size, asked)
    shards = {**SHARDS, "total": len(names), "successful": len(names)}
    return {"_shards": shards, "_all": {"primaries": whole, "total": whole}, "indices": bodies}


def _sizes(documents: int, size: int, asked: Collection[str]) -> dict[str, Any]:
    found = {
        "docs": {"count": documents, "deleted": 0},
        "store": {"size_in_bytes": size, "total_data_set_size_in_bytes": size, "reserved_in_bytes": 0},
    }
    return {metric: value for metric, value in found.items() if metric in asked}
