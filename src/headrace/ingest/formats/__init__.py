"""Bytes → frames: a splitter and a decoder for each format, by name."""

from __future__ import annotations

from typing import Any, Final

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.ingest.formats.base import CsvLayout, FormatOptions, Hints, Splitter
from headrace.model import Decoder

TEXT: Final = ("ndjson", "json", "csv", "lines")
BY_LINES: Final = frozenset({"ndjson", "csv", "lines"})
"""Whose records end at a newline, so that a file may end in one that is still being written."""

COLUMNAR: Final = ("parquet", "arrow")
NAMES: Final = (*TEXT, *COLUMNAR)


def create(name: str, options: FormatOptions, hints: Hints, layout: CsvLayout | None = None) -> Decoder:
    """The decoder of a format; `layout` is what was inferred of a CSV file (see `dialect.infer`)."""
    if name in ("ndjson", "json"):
        from headrace.ingest.formats.ndjson import NdjsonDecoder

        return NdjsonDecoder(hints, unit="line" if name == "ndjson" else "element")
    if name == "csv":
        from headrace.ingest.formats.csv import CsvDecoder

        return CsvDecoder(layout or CsvLayout(), frozenset(hints))
    if name == "lines":
        from headrace.ingest.formats.lines import LinesDecoder

        return LinesDecoder(options)
    if name in COLUMNAR:
        from headrace.ingest.formats.frames import FrameDecoder

        return FrameDecoder()
    raise ConfigError(f"unknown format {name!r}, {suggest(name, list(NAMES))}")


def splitter(name: str, layout: CsvLayout | None = None, state: dict[str, Any] | None = None) -> Splitter:
    """The splitter of a text format, to go on from `state`."""
    if name == "csv":
        from headrace.ingest.formats.split import CsvSplitter

        known = layout or CsvLayout()
        return CsvSplitter(known.delimiter, known.quote)
    if name == "json":
        from headrace.ingest.formats.json import JsonSplitter

        return JsonSplitter(state)
    if name in TEXT:
        from headrace.ingest.formats.split import LineSplitter

        return LineSplitter()
    raise ConfigError(f"format {name!r} is not read as a stream of bytes, {suggest(name, list(TEXT))}")
