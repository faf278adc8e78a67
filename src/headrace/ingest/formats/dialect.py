"""What a CSV file looks like, from its first records: delimiter, header and the type of each column.

Inferred once, then stored: what later records hold never changes it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from headrace.core.errors import ConfigError
from headrace.ingest.formats.base import BOM, CsvLayout, FormatOptions, Hints
from headrace.ingest.formats.split import CsvSplitter

DELIMITERS: Final = (",", "\t", ";", "|")
SAMPLE_RECORDS: Final = 1000
USUAL_NULLS: Final = ("", "NA", "N/A", "null", "NULL", "\\N", "NaN", "nan")

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
FLOAT: Final = r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
LONG_INTEGER: Final = r"-?[0-9]{16,}"  # more digits than a float holds
_FLOAT: Final = re.compile(FLOAT)
_LONG: Final = re.compile(LONG_INTEGER)
_BOOLEAN: Final = frozenset({"true", "false", "True", "False", "TRUE", "FALSE"})
_HINTED: Final[dict[type[pl.DataType] | pl.DataType, str]] = {
    pl.String: "string",
    pl.Int64: "integer",
    pl.Float64: "float",
    pl.Boolean: "boolean",
}


def infer(head: bytes, options: FormatOptions, hints: Hints) -> CsvLayout:
    """The layout of a file that starts with `head`: whole records only, unless it is all there is."""
    quote = '"' if options.quote is None else options.quote
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    delimiter = options.delimiter or _delimiter(text, quote)
    rows = _rows(head.removeprefix(BOM), delimiter, quote)
    header = _has_header(rows, options, hints)
    columns = _columns(rows, header, options)
    body = rows[1:] if header else rows
    nulls = options.null_values
    usual = USUAL_NULLS if nulls is None else nulls
    return CsvLayout(
        delimiter=delimiter,
        quote=quote,
        header=header,
        columns=columns,
        types=tuple(
            _type([r[i] for r in body if i < len(r)], usual, hints.get(c)) for i, c in enumerate(columns)
        ),
        null_values=usual,
        declared_nulls=nulls is not None,
    )


def _delimiter(text: str, quote: str) -> str:
    """The one that cuts the most first lines into the same number (over 1) of fields."""
    lines = [line for line in text.split("\n", 50)[:50] if line.strip()]
    best, best_score = ",", (0, 0)
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, **quote_arguments(quote))]
        common = max(widths, key=widths.count, default=1)
        score = (widths.count(common), common) if common > 1 else (0, 0)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def quote_arguments(quote: str) -> dict[str, Any]:
    """How the csv module wants to be told about quotes, or that there are none."""
    return {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}


def _rows(head: bytes, delimiter: str, quote: str) -> list[list[str]]:
    taken = CsvSplitter(delimiter, quote).take(head, final=True, limit=len(head))
    text = taken.payload.decode("utf-8", "replace")
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **quote_arguments(quote)):
            if any(row):
                rows.append(row)
            if len(rows) > SAMPLE_RECORDS:
                break
    except csv.Error:
        pass  # the decoder says which record it is
    return rows


def _has_header(rows: Sequence[Sequence[str]], options: FormatOptions, hints: Hints) -> bool:
    if options.header is not None:
        return options.header
    if not rows or options.columns is not None:
        return False
    first = rows[0]
    if any(name in hints for name in first):
        return True
    return all(value.strip() and _guess([value]) == "string" for value in first)


def _columns(rows: Sequence[Sequence[str]], header: bool, options: FormatOptions) -> tuple[str, ...]:
    if options.columns is not None:
        return options.columns
    if not rows:
        return ()
    if not header:
        return tuple(f"column_{number}" for number in range(1, len(rows[0]) + 1))
    names = tuple(name.strip() for name in rows[0])
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(
            f"column {min(twice)!r} is there twice in the header, declare `columns` and `header`"
        )
    return names


def _type(values: Sequence[str], nulls: Sequence[str], hint: pl.DataType | None) -> str:
    if hint is not None:
        return _HINTED.get(type(hint), "string")
    present = [value for value in values if value not in nulls]
    return _guess(present) if present else "string"


def _guess(values: Sequence[str]) -> str:
    if all(_INTEGER.fullmatch(value) and len(value) < 19 for value in values):
        return "integer"
    if all(_FLOAT.fullmatch(value) and not _LONG.fullmatch(value) for value in values):
        return "float"
    return "boolean" if all(value in _BOOLEAN for value in values) else "string"
