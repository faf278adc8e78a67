"""One plain body as records: the same reading at the door, which counts, and in the ingester, which decodes.

Each body stands alone: CSV brings its header, and nothing that an earlier body held changes how it is read.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from headrace.core.errors import ConfigError
from headrace.ingest.formats.base import BOM, CsvLayout, Damaged, FormatOptions, Hints
from headrace.ingest.formats.dialect import infer
from headrace.ingest.formats.json import JsonSplitter
from headrace.ingest.formats.split import CsvSplitter, quoting, record_ends
from headrace.ingest.http_push import arrow

PLAIN: Final = ("ndjson", "json", "csv", "arrow")
"""Kinds of entry that are a format: each body of them is read as it was sent."""

HEAD: Final = 1 << 20
"""Of a CSV body this much is looked at to know its delimiter and the types of its columns."""


class Unreadable(Exception):
    """The body is no such format; says why, and where."""


def json_lines(body: bytes) -> list[bytes]:
    """The elements of an array, or documents one after another, each as one line. Raises Unreadable."""
    splitter = JsonSplitter()
    lines: list[bytes] = []
    while True:
        try:
            taken = splitter.take(body, final=True, limit=len(body))
        except Damaged as error:
            raise Unreadable(f"the body {error}") from None
        if not taken.numbers:
            return lines
        lines += taken.payload.removesuffix(b"\n").split(b"\n")
        body = body[taken.consumed :]


def csv_layout(body: bytes, options: FormatOptions, hints: Hints) -> CsvLayout:
    """Delimiter, columns and types of this body alone. Raises Unreadable."""
    head = _bare(body)
    if len(head) > HEAD:
        head = head[: head.rfind(b"\n", 0, HEAD) + 1] or head
    try:
        return infer(head, options, hints)
    except ConfigError as error:
        raise Unreadable(error.message) from None


def csv_rows(body: bytes, layout: CsvLayout) -> bytes:
    """What follows the header."""
    body = _bare(body)
    if not layout.header:
        return body
    newline = body.find(b"\n") + 1 or len(body)
    if not layout.quote or layout.quote.encode() not in body[:newline]:
        return body[newline:]
    ends = record_ends(body, quoting(layout.delimiter, layout.quote), final=True)
    return body[ends[0] if ends else newline :]


def csv_numbers(rows: bytes, layout: CsvLayout) -> int:
    """How many numbers the rows use up: blank ones do, though they are no records."""
    splitter, numbers = CsvSplitter(layout.delimiter, layout.quote), 0
    while rows:
        taken = splitter.take(rows, final=True, limit=len(rows))
        numbers += taken.numbers
        rows = rows[taken.consumed :]
    return numbers


def arrow_frame(body: bytes) -> pl.DataFrame:
    """The rows of an IPC stream or file. Raises Unreadable."""
    try:
        return arrow.read(body)
    except arrow.NotArrow as error:
        raise Unreadable(f"the body is no Arrow IPC stream or file: {error}") from None


def _bare(body: bytes) -> bytes:
    return body.removeprefix(BOM).lstrip(b"\r\n")
