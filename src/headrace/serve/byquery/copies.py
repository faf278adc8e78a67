"""`_reindex`: documents of some indexes written into another, as by any client: they pass its transforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from headrace.buffer.base import BULK, BulkHead, Entry, pack_head
from headrace.index.query.source import filtered
from headrace.serve import requests
from headrace.serve.byquery import options
from headrace.serve.byquery.work import Work, frames
from headrace.serve.names import Target
from headrace.serve.push import Push
from headrace.serve.reads import Reads

BODY: Final = {
    "source": "",
    "dest": "",
    "conflicts": "",
    "max_docs": "",
    "size": "",
    "script": options.NO_SCRIPT,
}
SOURCE: Final = {
    "index": "",
    "query": "",
    "size": "",
    "_source": "",
    "remote": "read the other cluster by a pipeline of this one, and write what it reads here",
    "runtime_mappings": "compute the field by a transform of the pipeline",
}
DEST: Final = {
    "index": "",
    "op_type": "",
    "version_type": "",
    "pipeline": "declare the steps as `transform` of the pipeline that feeds the index",
    "routing": "",
}


async def copy(reads: Reads, push: Push, request: Request) -> Response:
    """Raises RequestError for what refuses it whole."""
    body = await options.body_of(request)
    options.check_keys(body, BODY, "_reindex")
    source, dest = _object(body, "source", SOURCE), _object(body, "dest", DEST)
    expression = ",".join(options.names(source.get("index"), "source.index"))
    name, op = _destination(dest)
    if not expression:
        raise options.invalid("use _all if you really want to copy from all existing indexes")
    asked = options.common(request, body, source.get("query"))
    if "size" in source:
        asked = replace(asked, piece=options.piece_size(source["size"]))
    kept = requests.parse_source(source.get("_source"))
    push.check_open()
    parts = await reads.fresh.parts(request, lambda: reads.named(expression, request.query_params))
    existing = push.indices.target(name)
    if name in {part.name for part in parts} or (
        existing and existing.index in {part.name for part in parts}
    ):
        raise options.invalid(f"reindex cannot write into an index its reading from [{name}]")
    work = Work(reads, push, request, asked)
    await work.count(parts)
    target = await push.target(name)
    left = asked.most
    for part in parts:
        async for frame in frames(part, asked, left):
            left = None if left is None else left - frame.height
            for entry, ids in _entries(target, op, frame, kept, push.limits.piece):
                await work.write(target, entry, ids)
                if work.ended:
                    return await work.answer("i")
    return await work.answer("i")


def _object(body: Mapping[str, Any], name: str, known: Mapping[str, str]) -> dict[str, Any]:
    given = body.get(name)
    if not isinstance(given, dict):
        requests.fail(f"[{name}] of _reindex must be an object", "parsing_exception")
    options.check_keys(given, known, f"[{name}] of _reindex")
    return given


def _destination(dest: Mapping[str, Any]) -> tuple[str, str]:
    name = dest.get("index")
    if not isinstance(name, str) or not name:
        raise options.invalid("index is missing")
    op = dest.get("op_type", "index")
    if op not in ("index", "create"):
        requests.fail(f"opType must be 'create' or 'index', found: [{op}]")
    if dest.get("version_type", "internal") != "internal":
        requests.fail(
            f"[version_type] of _reindex is [internal] only, found [{dest['version_type']}]: use [op_type] "
            "create to leave alone what is there"
        )
    return name, "c" if op == "create" else "i"


def _entries(
    target: Target, op: str, frame: pl.DataFrame, kept: Any, most: int
) -> Iterator[tuple[Entry, list[str]]]:
    """Entries of at most about `most` bytes, with the ids their documents have where they come from."""
    ids: list[str] = []
    lines: list[bytes] = []
    size = 0
    for name, text in zip(frame["_id"].to_list(), frame["_source"].to_list(), strict=True):
        line = _line(text, kept)
        if lines and size + len(line) > most:
            yield _entry(target, op, ids, lines), ids
            ids, lines, size = [], [], 0
        ids.append(name)
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield _entry(target, op, ids, lines), ids


def _line(text: str, kept: Any) -> bytes:
    source = text.encode()
    if isinstance(kept, tuple):
        source = filtered(source, kept)
    elif not kept:
        source = b"{}"
    # A document of an index that another tool wrote might hold line ends between its values.
    return source.replace(b"\n", b" ").replace(b"\r", b" ")


def _entry(target: Target, op: str, ids: list[str], lines: list[bytes]) -> Entry:
    count = len(lines)
    # Where fields of the document decide its id, they do so here too.
    head = BulkHead(op * count, [] if target.key else list(ids), exact=True)
    return Entry(target.log, count, BULK, b"\n".join([*lines, b""]), pack_head(head))
