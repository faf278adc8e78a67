"""`_cat`: tables for people and for scripts, as text, or as JSON with `format=json`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.clock import Clock
from headrace.serve import requests
from headrace.serve.doors.principal import visible
from headrace.serve.lists import list_of
from headrace.serve.names import Named
from headrace.serve.reads import Reads, answered
from headrace.serve.responses import PRODUCT, json_response
from headrace.serve.searches import count, parts_of
from headrace.serve.threads import in_thread

UNITS: Final = ("b", "kb", "mb", "gb", "tb")
SIZES: Final = {unit: 1 << (10 * place) for place, unit in enumerate(UNITS)}
PARAMETERS: Final = requests.COMMON | requests.TARGETS | {
    "v", "h", "s", "bytes", "time", "ts", "local", "master_timeout", "health", "pri",
    "include_unloaded_segments",
}  # fmt: skip

Row = dict[str, str]


def routes(reads: Reads) -> list[BaseRoute]:
    """The tables that clients and dashboards ask for."""

    async def indices(request: Request) -> Response:
        named = _named(reads, request)
        unit = request.query_params.get("bytes")
        rows = await in_thread(
            lambda: [_row(reads, each, unit) for each in sorted(named, key=lambda each: each.name)]
        )
        return table(request, rows)

    async def total(request: Request) -> Response:
        named = _named(reads, request)
        found = await in_thread(lambda: count(parts_of(named), None))
        return table(request, [{**now(reads.clock), "count": str(found)}])

    async def aliases(request: Request) -> Response:
        wanted = request.path_params.get("name")
        rows = [row for row in _aliases(reads) if wanted in (None, "*", "_all", row["alias"])]
        return table(request, rows)

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


def table(request: Request, rows: Sequence[Row]) -> Response:
    """The rows as asked for: `h` chooses columns, `s` sorts, `v` puts their names above."""
    requests.check_parameters(request, PARAMETERS)
    given = request.query_params
    for name, order in reversed(_orders(given.get("s"), rows).items()):
        rows = sorted(rows, key=partial(_cell, name), reverse=order == "desc")
    columns = list_of(given.get("h"))
    if columns:
        rows = [{name: row[name] for name in columns if name in row} for row in rows]
    if given.get("format") == "json":
        return json_response(request, rows)
    if given.get("format", "text") != "text":
        requests.fail(f"[format] is [text] or [json] here, found [{given['format']}]")
    lines = [list(row.values()) for row in rows]
    if requests.flag(given.get("v"), "v"):
        lines.insert(0, list(rows[0]) if rows else list(columns))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else []
    text = "".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
    return Response(text, headers=PRODUCT, media_type="text/plain")


def _orders(given: str | None, rows: Sequence[Row]) -> dict[str, str]:
    """Column → order, the first one first; to sort by a column once more changes nothing."""
    orders: dict[str, str] = {}
    for key in list_of(given):
        name, _, order = key.partition(":")
        orders.setdefault(name, order)
    return {name: order for name, order in orders.items() if rows and name in rows[0]}


def _cell(name: str, row: Row) -> tuple[bool, float, str]:
    return _sortable(row.get(name, ""))


def _sortable(cell: str) -> tuple[bool, float, str]:
    number = cell.replace(".", "", 1).lstrip("-").isdigit()
    return (not number, float(cell) if number else 0.0, cell)


def _named(reads: Reads, request: Request) -> list[Named]:
    return reads.named(request.path_params.get("index", ""), request.query_params)


def _row(reads: Reads, named: Named, unit: str | None) -> Row:
    stats, feeding = named.reader.stats(), reads.indices.feeding(named.name)
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
    }


def _factor(unit: str) -> int:
    if unit not in SIZES:
        requests.fail(f"[bytes] is one of {', '.join(SIZES)}, found [{unit}]")
    return SIZES[unit]


def _aliases(reads: Reads) -> list[Row]:
    """Where the indexes know aliases."""
    catalogue = getattr(reads.indices, "catalogue", None)
    found: Mapping[str, Mapping[str, Any]] = getattr(catalogue, "aliases", {})
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
