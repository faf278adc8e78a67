"""Search over HTTP: `_search`, `_count`, `_scan`, over any number of indexes at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from headrace.core.clock import Clock
from headrace.fields import Field
from headrace.serve import arrow, cat, judging, msearch, requests, scroll, searches, suggest
from headrace.serve.banner import ES_VERSION, banner
from headrace.serve.bodies import read_body
from headrace.serve.freshness import Realtime, never
from headrace.serve.hits import shards
from headrace.serve.names import Indices
from headrace.serve.reads import Reads
from headrace.serve.responses import PRODUCT, answered, json_response
from headrace.serve.searches import Part
from headrace.serve.threads import in_thread

__all__ = ["Readers", "routes"]

Readers = Indices

SCAN_ROWS: Final = 5_000
"""Documents read at once by a scan: 1 to 10 MB of usual ones."""

NDJSON: Final = "application/x-ndjson"
BOTH: Final = ["GET", "POST"]


def routes(
    indices: Indices,
    *,
    realtime: Realtime | None = None,
    clock: Clock | None = None,
    stopping: Callable[[], bool] = never,
    version: str = ES_VERSION,
) -> list[BaseRoute]:
    """The routes of the search API; the caller mounts them, at the root and elsewhere."""
    reads = Reads(indices, realtime, clock, stopping)

    async def search(request: Request) -> Response:
        started = time.perf_counter()
        body = await read_body(request)
        wanted, shown = requests.search_request(request, body), requests.shown(body, request.query_params)
        suggestions = suggest.parse(body["suggest"]) if body.get("suggest") else {}
        if suggestions and ("scroll" in request.query_params or body.get("pit") is not None):
            requests.fail("[suggest] cannot be used in a scroll or at a point in time; search for it alone")
        if "scroll" in request.query_params:
            return await scroll.begin(reads, request, wanted, shown, started)
        if body.get("pit") is not None:
            return await scroll.at_point(reads, request, body["pit"], wanted, shown, started)
        parts = await reads.parts(request)
        found = await reads.search(parts, wanted)
        if not suggestions:
            return await reads.page(request, parts, found, shown, started=started)
        near = await in_thread(lambda: suggest.suggested(parts, suggestions))
        if requests.flag(request.query_params.get("typed_keys"), "typed_keys"):
            near = {f"term#{name}": words for name, words in near.items()}
        return await reads.page(request, parts, found, shown, started=started, suggest=near)

    async def count(request: Request) -> Response:
        requests.check_parameters(
            request, requests.COMMON | requests.QUERY | requests.TARGETS | requests.FRESH | requests.COUNT
        )
        body = await read_body(request)
        if set(body) - {"query"}:
            requests.fail(f"a count takes only [query], found [{', '.join(body)}]", "parsing_exception")
        query = requests.query_of(request.query_params, body)
        parts = await reads.parts(request)
        answer = {"count": await in_thread(lambda: _count(parts, query)), "_shards": shards(len(parts))}
        return json_response(request, answer, headers=reads.fresh.header(parts))

    async def scan(request: Request) -> Response:
        known = requests.COMMON | requests.QUERY | requests.TARGETS | requests.FRESH | {"_source"}
        requests.check_parameters(request, known)
        body = await read_body(request)
        if set(body) - {"query"}:
            requests.fail(f"a scan takes only [query], found [{', '.join(body)}]", "parsing_exception")
        query = requests.query_of(request.query_params, body)
        source = requests.flag(request.query_params.get("_source", True), "_source")
        parts = await reads.parts(request)
        await in_thread(lambda: _count(parts, query))  # what cannot be answered is said before the stream
        if NDJSON in request.headers.get("accept", ""):
            pieces, kind = _lines(parts, query), NDJSON
        else:
            pieces, kind = _batches(parts, query, source=source), arrow.ARROW_TYPE
        headers = {**PRODUCT, **reads.fresh.header(parts)}
        return StreamingResponse(_streamed(pieces), headers=headers, media_type=kind)

    return [
        Route("/", answered(partial(banner, version=version)), methods=["GET", "HEAD"]),
        *cat.routes(reads),
        *msearch.routes(reads),
        *judging.routes(reads),
        *scroll.routes(reads),
        Route("/_search", answered(search), methods=BOTH),
        Route("/_count", answered(count), methods=BOTH),
        Route("/{index}/_search", answered(search), methods=BOTH),
        Route("/{index}/_count", answered(count), methods=BOTH),
        Route("/{index}/_scan", answered(scan), methods=BOTH),
    ]


def _count(parts: Sequence[Part], query: Any) -> int:
    for part in parts:
        part.view.watermarks()
    return searches.count(parts, query)


def _frames(parts: Sequence[Part], query: Any) -> Iterator[tuple[Part, pl.DataFrame]]:
    for part in sorted(parts, key=lambda part: part.name):
        for frame in part.view.scan(searches.narrowed(query, part.filter), SCAN_ROWS):
            yield part, frame


def _lines(parts: Sequence[Part], query: Any) -> Iterator[bytes]:
    """A line per document, in the shape of a hit."""
    for part, frame in _frames(parts, query):
        rows = zip(frame["_id"], frame["_seq"], frame["_source"], strict=True)
        hits = [
            {"_index": part.name, "_id": name, "_seq_no": seq, "_source": msgspec.Raw(text.encode())}
            for name, seq, text in rows
        ]
        yield b"".join(msgspec.json.encode(hit) + b"\n" for hit in hits)


def _batches(parts: Sequence[Part], query: Any, *, source: bool) -> Iterator[bytes]:
    """An Arrow stream; its columns are the same throughout, the declared fields of all the indexes."""
    fields = _common(parts)
    stream = arrow.Batches()
    nothing = pl.DataFrame(schema={"_id": pl.String, "_seq": pl.Int64, "_source": pl.String})
    yield stream.piece(arrow.scanned(nothing, "", fields, source=source))
    for part, frame in _frames(parts, query):
        yield stream.piece(arrow.scanned(frame, part.name, fields, source=source))
    yield arrow.END


def _common(parts: Sequence[Part]) -> Mapping[str, Field]:
    """Declared fields; one that two indexes declare differently is in `_source` only."""
    found: dict[str, Field | None] = {}
    for part in parts:
        for name, field in part.view.fields.items():
            alike = found.setdefault(name, field)
            if alike is not None and (alike.kind, alike.array) != (field.kind, field.array):
                found[name] = None
    return {name: field for name, field in found.items() if field is not None}


async def _streamed(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each piece made in a worker thread, and only when the one before it was taken."""
    while (piece := await in_thread(lambda: next(pieces, None))) is not None:
        yield piece
        await anyio.lowlevel.checkpoint()
