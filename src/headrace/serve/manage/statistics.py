"""Figures and states of the one node there is, in the shapes dashboards read; what is not known is left out.

Nothing is invented to look like a cluster: no heap of a JVM, no thread pools, no shards beside one per index.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace import __version__
from headrace.core.errors import HeadraceError
from headrace.serve import requests
from headrace.serve.manage.base import INDEX, PARAMETERS, Surroundings, selected, unsupported
from headrace.serve.manage.cluster import COLOURS, NODE
from headrace.serve.manage.shown import aliases_of, settings_of
from headrace.serve.places import PlacedIndices
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread

KNOWN: Final = PARAMETERS | {
    "level", "groups", "fields", "types", "completion_fields", "fielddata_fields", "detailed", "actions",
    "nodes", "group_by", "parent_task_id", "wait_for_completion", "metric", "node_id", "wait_for_timeout",
    "wait_for_metadata_version", "include_segment_file_sizes", "include_unloaded_segments",
}  # fmt: skip

_STARTED: Final = time.time()


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices
    counted = {"_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": NODE}

    async def node_stats(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        _check_node_metrics(request)
        sizes = await in_thread(lambda: sizes_of(indices))
        return json_response(request, {**counted, "nodes": {NODE: _node(sizes)}})

    async def cluster_stats(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        sizes = await in_thread(lambda: sizes_of(indices))
        body = {**counted, "cluster_uuid": NODE, "timestamp": round(time.time() * 1000)}
        versions = {"count": {"total": 1, "data": 1, "ingest": 1, "master": 1}, "versions": [around.version]}
        colour = "green" if all(entry is not None for entry in sizes.values()) else COLOURS[1]
        return json_response(request, {**body, "status": colour, "indices": _total(sizes), "nodes": versions})

    async def state(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        names = selected(around, request)
        metrics = set(request.path_params.get("metrics", "_all").split(","))
        body = _state(indices, names)
        kept = body if "_all" in metrics else {name: body[name] for name in body if name in metrics}
        return json_response(request, {"cluster_name": NODE, "cluster_uuid": NODE, **kept})

    async def shards(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        names = selected(around, request)
        listed = [[{**_shard(name), "allocation_id": {"id": NODE}}] for name in names]
        body = {"nodes": {NODE: {"name": NODE, "roles": ["data"]}}, "indices": {n: {} for n in names}}
        return json_response(request, {**body, "shards": listed})

    async def tasks(request: Request) -> Response:
        # Whatever takes long is answered when it is done: there is never a task to come back to.
        requests.check_parameters(request, KNOWN)
        return json_response(
            request, {"nodes": {}} if "group_by" not in request.query_params else {"tasks": {}}
        )

    async def pending(request: Request) -> Response:
        requests.check_parameters(request, KNOWN)
        return json_response(request, {"tasks": []})

    def get(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, answered(handler), methods=["GET"])

    both = ["GET", "POST"]
    return [
        get("/_nodes/stats", node_stats),
        get("/_nodes/stats/{metric:path}", node_stats),
        get("/_cluster/stats", cluster_stats),
        get("/_cluster/stats/nodes/{node}", cluster_stats),
        get("/_cluster/state", state),
        get("/_cluster/state/{metrics}", state),
        get("/_cluster/state/{metrics}" + INDEX, state),
        get("/_cluster/pending_tasks", pending),
        get("/_tasks", tasks),
        Route("/_search_shards", answered(shards), methods=both),
        Route(f"{INDEX}/_search_shards", answered(shards), methods=both),
        *_refused(),
    ]


NODE_METRICS: Final = (
    "indices", "os", "process", "jvm", "thread_pool", "fs", "transport", "http", "breaker", "script",
    "discovery", "ingest", "adaptive_selection", "script_cache", "indexing_pressure", "repositories",
    "allocations",
)  # fmt: skip


def _check_node_metrics(request: Request) -> None:
    """The first part of the path; the second is of indexes. Raises RequestError."""
    asked = request.path_params.get("metric", "_all").partition("/")[0].split(",")
    unknown = [metric for metric in asked if metric not in (*NODE_METRICS, "_all", "_none")]
    if unknown:
        reason = f"request [{request.url.path}] contains unrecognized metric: [{', '.join(unknown)}]"
        requests.fail(f"{reason} (have: {', '.join(NODE_METRICS)})")


REFUSED: Final = {
    "_termvectors": ("term vectors", "use _analyze on the text of the document"),
    "_mtermvectors": ("term vectors", "use _analyze on the texts of the documents"),
    "_rank_eval": ("the evaluation of rankings", "run the searches, and compare their hits"),
    "_split": ("splitting an index", "an index is one shard"),
    "_shrink": ("shrinking an index", "an index is one shard"),
    "_clone": ("cloning an index", "use _reindex into a new one"),
}
"""What Elasticsearch has and there is not, with what to use instead."""


def _refused() -> list[BaseRoute]:
    def route(name: str, path: str) -> Route:
        async def refuse(_: Request) -> Response:
            raise unsupported(*REFUSED[name])

        methods = ["PUT", "POST"] if "{target}" in path else ["GET", "POST"]
        return Route(path, answered(refuse), methods=methods)

    tails = {"_termvectors": ("", "/{id:path}"), "_split": ("/{target}",), "_shrink": ("/{target}",)}
    found: list[BaseRoute] = []
    for name in REFUSED:
        ends = tails.get(name, ("/{target}",) if name == "_clone" else ("",))
        found += [route(name, f"{INDEX}/{name}{end}") for end in ends]
    return [*found, route("_mtermvectors", "/_mtermvectors"), route("_rank_eval", "/_rank_eval")]


Sizes = dict[str, tuple[int, int, int] | None]
"""Index → documents, bytes, segments; None for one that cannot be opened now."""


def sizes_of(indices: PlacedIndices) -> Sizes:
    found: Sizes = {}
    for name in indices.names():
        try:
            stats = indices.get(name).stats()
        except HeadraceError:  # what is broken is shown as such by the health, and hides no other
            found[name] = None
            continue
        found[name] = stats.documents, stats.size, stats.segments
    return found


def _total(sizes: Sizes) -> dict[str, Any]:
    known = [entry for entry in sizes.values() if entry is not None]
    return {
        "count": len(sizes),
        "shards": {"total": len(sizes), "primaries": len(sizes), "replication": 0.0},
        "docs": {"count": sum(entry[0] for entry in known), "deleted": 0},
        "store": {"size_in_bytes": sum(entry[1] for entry in known), "reserved_in_bytes": 0},
        "segments": {"count": sum(entry[2] for entry in known)},
    }


def _node(sizes: Sizes) -> dict[str, Any]:
    disk = shutil.disk_usage("/")
    load = os.getloadavg()
    return {
        "timestamp": round(time.time() * 1000),
        "name": NODE,
        "roles": ["data", "ingest", "master"],
        "indices": _total(sizes),
        "os": {"cpu": {"load_average": {"1m": load[0], "5m": load[1], "15m": load[2]}}},
        "process": {"timestamp": round(time.time() * 1000), "id": os.getpid()},
        "jvm": {"uptime_in_millis": round((time.time() - _STARTED) * 1000)},
        "fs": {
            "total": {
                "total_in_bytes": disk.total,
                "free_in_bytes": disk.free,
                "available_in_bytes": disk.free,
            }
        },
    }


def _state(indices: PlacedIndices, names: list[str]) -> dict[str, Any]:
    places = indices.places()
    metadata = {
        name: {
            "state": "open",
            "settings": {"index": {"uuid": settings_of(places[name])["index.uuid"], "number_of_shards": "1"}},
            "aliases": list(aliases_of(indices, name)),
        }
        for name in names
        if name in places
    }
    routed = {name: {"shards": {"0": [_shard(name)]}} for name in metadata}
    return {
        "version": indices.catalogue.version,
        "state_uuid": f"{NODE}-{indices.catalogue.version}",
        "master_node": NODE,
        "blocks": {},
        "nodes": {NODE: {"name": NODE, "attributes": {}, "roles": ["data", "ingest", "master"]}},
        "metadata": {"cluster_uuid": NODE, "templates": {}, "indices": metadata, "version": __version__},
        "routing_table": {"indices": routed},
    }


def _shard(name: str) -> dict[str, Any]:
    state: dict[str, Any] = {"state": "STARTED", "primary": True, "node": NODE, "relocating_node": None}
    return {**state, "shard": 0, "index": name}
