"""`_cat`: tables for people and for scripts, as text, or as JSON with `format=json`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.clock import Clock
from headrace.serve import requests
from headrace.serve.columns import ALIASES, COUNT, INDICES, Columns, chosen, sort_column
from headrace.serve.doors.principal import visible
from headrace.serve.lists import list_of
from headrace.serve.names import Named
from headrace.serve.reads import Reads
from headrace.serve.responses import PRODUCT, answered, json_response
from headrace.serve.searches import count, parts_of
from headrace.serve.threads import in_thread

UNITS: Final = ("b", "kb", "mb", "gb", "tb")
SIZES: Final = {unit: 1 << (10 * place) for place, unit in enumerate(UNITS)}
PARAMETERS: Final = requests.COMMON | requests.TARGETS | {
    "v", "h", "s", "bytes", "time", "ts", "local", "master_timeout", "health", "pri",
    "include_unloaded_segments",
}  # fmt: skip

Row = dict[str, str]

_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)([kmgt]?b|%)?")


def routes(reads: Reads) -> list[BaseRoute]:
    """The tables that clients and dashboards ask for."""

    async def indices(request: Request) -> Response:
        named = _named(reads, request)
        unit = request.query_params.get("bytes")
        rows = await in_thread(
            lambda: [_row(reads, each, unit) for each in sorted(named, key=lambda each: each.name)]
        )
        return table(request, INDICES, rows)

    async def total(request: Request) -> Response:
        named = _named(reads, request)
        found = await in_thread(lambda: count(parts_of(named), None))
        return table(request, COUNT, [{**now(reads.clock), "count": str(found)}])

    async def aliases(request: Request) -> Response:
        wanted = request.path_params.get("name")
        rows = [row for row in _aliases(reads) if wanted in (None, "*", "_all", row["alias"])]
        return table(request, ALIASES, rows)

    def route(name: str, handler: Any) -> Route:
        return Route(name, answered(handler), methods=["GET"])

    return [
        route("/_cat/indices", indices),
        route("/_cat/indices/{index}", indices),
        route("/_cat/count", total),
        route("/_cat/count/{index}", total),
        route("/_cat/aliases", aliases),
        route("/_cat/aliases/{name}", aliases),
    ]


def table(request: Request, known: Columns, rows: Sequence[Row]) -> Response:
    """The rows as asked for: `h` chooses columns, `s` sorts, `v` puts their names above."""
    requests.check_parameters(request, PARAMETERS)
    given = request.query_params
    orders: dict[str, str] = {}
    for key in list_of(given.get("s")):
        orders.setdefault(key.partition(":")[0], key)  # to sort by a column once more changes nothing
    for key in reversed(orders.values()):
        rows = _sorted(known, rows, key)
    columns = chosen(known, list_of(given.get("h")))
    if given.get("format") == "json":
        return json_response(request, [{head: row.get(name, "") for name, head in columns} for row in rows])
    if given.get("format", "text") != "text":
        requests.fail(f"[format] is [text] or [json] here, found [{given['format']}]")
    lines = [[row.get(name, "") for name, _ in columns] for row in rows]
    if requests.flag(given.get("v"), "v"):
        lines.insert(0, [head for _, head in columns])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else []
    text = "".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
    return Response(text, headers=PRODUCT, media_type="text/plain")


def _sorted(known: Columns, rows: Sequence[Row], key: str) -> list[Row]:
    """By one key, `name` or `name:desc`. Raises RequestError."""
    name, _, order = key.partition(":")
    if order not in ("", "asc", "desc"):
        requests.fail(f"the order of [{name}] is asc or desc, found [{order}]")
    column = sort_column(known, name)
    return sorted(rows, key=lambda row: _sortable(row.get(column, "")), reverse=order == "desc")


def _sortable(cell: str) -> tuple[bool, float, str]:
    """Numbers by their size, also those with a unit: 9kb before 1mb."""
    number = _NUMBER.fullmatch(cell)
    if number is None:
        return True, 0.0, cell
    return False, float(number[1]) * SIZES.get(number[2], 1), cell


def _named(reads: Reads, request: Request) -> list[Named]:
    return reads.named(request.path_params.get("index", ""), request.query_params)


def _row(reads: Reads, named: Named, unit: str | None) -> Row:
    stats, feeding = named.reader.stats(), reads.indices.feeding(named.name)
    created = _created(reads, named.name)
    size = _bytes(stats.size) if unit is None else str(stats.size // _factor(unit))
    return {
        "health": "green",
        "status": "open",
        "index": named.name,
        "uuid": feeding[0].uuid if feeding else named.name,
        "pri": "1",
        "rep": "0",
        "docs.count": str(stats.documents),
        "docs.deleted": "0",
        "store.size": size,
        "pri.store.size": size,
        "dataset.size": size,
        "creation.date": str(round(created * 1000)),
        "creation.date.string": f"{datetime.fromtimestamp(created, UTC):%Y-%m-%dT%H:%M:%S.000Z}",
    }


def _created(reads: Reads, name: str) -> float:
    """When an index was made, as its settings say; 0 of one of the configuration."""
    made = getattr(getattr(reads.indices, "catalogue", None), "indexes", {}).get(name)
    return 0.0 if made is None else float(made.created)


def _factor(unit: str) -> int:
    if unit not in SIZES:
        requests.fail(f"[bytes] is one of {', '.join(SIZES)}, found [{unit}]")
    return SIZES[unit]


def _aliases(reads: Reads) -> list[Row]:
    """Where the indexes know aliases."""
    catalogue = getattr(reads.indices, "catalogue", None)
    found: Mapping[str, Mapping[str, Any]] = getattr(catalogue, "plain_aliases", {})
    return [
        {
            "alias": alias,
            "index": index,
            "filter": "*" if entry.filter else "-",
            "routing.index": "-",
            "routing.search": "-",
            "is_write_index": "true" if entry.is_write_index else "-",
        }
        for alias, indexes in sorted(found.items())
        for index, entry in sorted(visible(indexes).items())
    ]


def now(clock: Clock) -> Row:
    moment = clock.time()
    return {"epoch": str(int(moment)), "timestamp": time.strftime("%H:%M:%S", time.gmtime(moment))}


def _bytes(size: float) -> str:
    """A size as `_cat` shows it: 12b, 3.4kb."""
    step = 0
    while size >= 1024 and step < len(UNITS) - 1:
        size, step = size / 1024, step + 1
    return f"{size:.1f}{UNITS[step]}".replace(".0", "")
