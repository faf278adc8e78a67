"""More of `_cat`: the node, shards, templates and what else scripts ask for by habit; `/_cat` lists all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.clock import SystemClock
from headrace.core.glob import any_matches
from headrace.serve import columns
from headrace.serve.cat import Row, now, table
from headrace.serve.lists import parts_of
from headrace.serve.manage.base import Surroundings, selected
from headrace.serve.manage.cluster import NODE, colours
from headrace.serve.manage.reach import readable
from headrace.serve.manage.statistics import Sizes, sizes_of
from headrace.serve.responses import PRODUCT, answered
from headrace.serve.templates import priority
from headrace.serve.threads import in_thread

LISTED: Final = (
    "/_cat/aliases", "/_cat/aliases/{alias}", "/_cat/allocation", "/_cat/count", "/_cat/count/{index}",
    "/_cat/health", "/_cat/indices", "/_cat/indices/{index}", "/_cat/master", "/_cat/nodes",
    "/_cat/pending_tasks", "/_cat/plugins", "/_cat/segments", "/_cat/shards", "/_cat/shards/{index}",
    "/_cat/tasks", "/_cat/templates", "/_cat/templates/{name}", "/_cat/thread_pool",
)  # fmt: skip
EMPTY: Final = {
    "pending_tasks": columns.PENDING_TASKS,
    "plugins": columns.PLUGINS,
    "tasks": columns.TASKS,
    "thread_pool": columns.THREAD_POOL,
}
"""Tables of what there is never any of."""


def routes(around: Surroundings) -> list[BaseRoute]:
    indices = around.indices

    async def listed(_: Request) -> Response:
        text = "".join(f"{path}\n" for path in ("=^.^=", *LISTED))
        return Response(text, headers=PRODUCT, media_type="text/plain")

    async def health(request: Request) -> Response:
        found, worst, _ = await colours(around, request)
        broken = sum(colour == "red" for colour in found.values())
        active = len(found) - broken
        row = {**now(SystemClock()), "cluster": NODE, "status": worst, "node.total": "1", "node.data": "1"}
        row |= {"shards": str(active), "pri": str(active), "relo": "0", "init": "0", "unassign": str(broken)}
        row |= {"pending_tasks": "0", "max_task_wait_time": "-"}
        return table(
            request,
            columns.HEALTH,
            [row | {"active_shards_percent": f"{100 * active / (len(found) or 1):.1f}%"}],
        )

    async def nodes(request: Request) -> Response:
        host = request.url.hostname or "127.0.0.1"
        load = [f"{each:.2f}" for each in os.getloadavg()]
        row = {"ip": host, "load_1m": load[0], "load_5m": load[1], "load_15m": load[2], "node.role": "dim"}
        return table(
            request,
            columns.NODES,
            [{**row, "id": NODE, "master": "*", "name": NODE, "version": around.version}],
        )

    async def master(request: Request) -> Response:
        host = request.url.hostname or "127.0.0.1"
        return table(request, columns.MASTER, [{"id": NODE, "host": host, "ip": host, "node": NODE}])

    async def shards(request: Request) -> Response:
        return table(request, columns.SHARDS, _shards(await _of(request), request))

    async def segments(request: Request) -> Response:
        rows = [
            {"index": name, "shard": "0", "prirep": "p", "segments": str(count), "docs.count": str(documents)}
            for name, documents, _, count in _known(await _of(request))
        ]
        return table(request, columns.SEGMENTS, rows)

    async def allocation(request: Request) -> Response:
        sizes, disk = await in_thread(lambda: sizes_of(indices)), shutil.disk_usage("/")
        held = sum(entry[1] for entry in sizes.values() if entry is not None)
        row = {"shards": str(len(sizes)), "disk.indices": str(held), "disk.used": str(disk.used)}
        row |= {"disk.avail": str(disk.free), "disk.total": str(disk.total)}
        return table(
            request,
            columns.ALLOCATION,
            [{**row, "disk.percent": str(round(100 * disk.used / disk.total)), "node": NODE}],
        )

    async def templates(request: Request) -> Response:
        catalogue, wanted = indices.catalogue, request.path_params.get("name", "*")
        rows = [
            _template(name, body, str(priority(body)) if kind == "index" else str(body.get("order", 0)))
            for kind in ("index", "legacy")
            for name, body in sorted(readable(catalogue, kind).items())
        ]
        return table(
            request, columns.TEMPLATES, [row for row in rows if any_matches(parts_of(wanted), row["name"])]
        )

    def nothing(known: columns.Columns) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return table(request, known, [])

        return answer

    async def _of(request: Request) -> Sizes:
        names = selected(around, request)
        return await in_thread(
            lambda: {name: size for name, size in sizes_of(indices).items() if name in names}
        )

    def get(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, answered(handler), methods=["GET"])

    return [
        get("/_cat", listed),
        get("/_cat/health", health),
        get("/_cat/nodes", nodes),
        get("/_cat/master", master),
        get("/_cat/cluster_manager", master),
        get("/_cat/shards", shards),
        get("/_cat/shards/{index}", shards),
        get("/_cat/segments", segments),
        get("/_cat/segments/{index}", segments),
        get("/_cat/allocation", allocation),
        get("/_cat/templates", templates),
        get("/_cat/templates/{name}", templates),
        *(get(f"/_cat/{name}", nothing(known)) for name, known in EMPTY.items()),
    ]


def _known(sizes: Sizes) -> Sequence[tuple[str, int, int, int]]:
    return [(name, *entry) for name, entry in sorted(sizes.items()) if entry is not None]


def _shards(sizes: Sizes, request: Request) -> list[Row]:
    host = request.url.hostname or "127.0.0.1"
    return [
        {
            "index": name,
            "shard": "0",
            "prirep": "p",
            "state": "STARTED",
            "docs": str(documents),
            "store": str(size),
            "ip": host,
            "node": NODE,
        }
        for name, documents, size, _ in _known(sizes)
    ]


def _template(name: str, body: dict[str, Any], order: str) -> Row:
    return {
        "name": name,
        "index_patterns": f"[{', '.join(body['index_patterns'])}]",
        "order": order,
        "version": str(body.get("version", "")),
        "composed_of": f"[{', '.join(body.get('composed_of') or [])}]",
    }
