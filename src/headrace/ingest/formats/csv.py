"""Delimited text. A value that does not fit its column's type is kept as text, in a frame of its own.

Every batch is read as text first and then cast by whole columns, so types never depend on the split.
"""

from __future__ import annotations

import csv
import io
import sys
from typing import Final

import polars as pl

from headrace.fields import named
from headrace.ingest.formats.base import CsvLayout, text_of
from headrace.ingest.formats.dialect import FLOAT, LONG_INTEGER, quote_arguments
from headrace.ingest.formats.ndjson import utf8_error
from headrace.ingest.formats.split import quoting, record_ends
from headrace.model import RECORD, RESERVED, Decoded, RawBatch, Rejection

# Fields may be as long as `max_record_bytes` allows, which the splitter sees to.
csv.field_size_limit(sys.maxsize)

_DTYPES: Final[dict[str, pl.DataType]] = {
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
}
_CANONICAL: Final = r"^-?(0|[1-9][0-9]*)$"
_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class CsvDecoder:
    """`hinted` columns have a declared type: `007` in an integer column of these is 7."""

    def __init__(self, layout: CsvLayout, hinted: frozenset[str] = frozenset()) -> None:
        self._layout = layout
        self._hinted = hinted
        self._delimiter = layout.delimiter.encode()
        self._quote = layout.quote.encode()
        self._quoting = quoting(layout.delimiter, layout.quote) if layout.quote else None
        self._taken = RESERVED.intersection(layout.columns)

    def decode(self, raw: RawBatch) -> Decoded:
        payload = text_of(raw)
        texts = None if self._taken else self._whole(payload, raw.first_record)
        rejections: list[Rejection] = []
        if texts is None:
            texts = self._one_by_one(raw, payload, rejections)
        records = texts.height + len(rejections)
        return Decoded(tuple(self._typed(texts)), tuple(rejections), records)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        found = dict(self._records(text_of(raw), raw.first_record)).get(record)
        return None if found is None else found

    def _whole(self, payload: bytes, first: int) -> pl.DataFrame | None:
        """All records as text, or None where one of them is not as it should be."""
        bare = payload
        if self._quoting is not None and self._quote in payload:
            bare = self._quoting.regular.sub(b"Q", payload)
            if self._quote in bare:
                return None
        records = bare.count(b"\n") + (bool(bare) and not bare.endswith(b"\n"))
        if _has_blank(bare) or bare.count(self._delimiter) != records * (len(self._layout.columns) - 1):
            return None
        if bare.count(b"\r") > bare.count(b"\r\n"):
            return None
        frame = self._read(payload)
        if frame is None or frame.height != records:
            return None
        return frame.with_columns(pl.int_range(first, first + records, dtype=pl.Int64).alias(RECORD))

    def _read(self, payload: bytes) -> pl.DataFrame | None:
        try:
            payload.decode()
            return pl.read_csv(
                payload,
                has_header=False,
                schema=dict.fromkeys(self._layout.columns, pl.String),
                separator=self._layout.delimiter,
                quote_char=self._layout.quote or None,
                raise_if_empty=False,
            )
        except (UnicodeDecodeError, pl.exceptions.PolarsError):
            return None

    def _records(self, payload: bytes, first: int) -> list[tuple[int, bytes]]:
        if self._quoting is None:
            pieces = payload.split(b"\n")
            return [(first + i, piece.removesuffix(b"\r")) for i, piece in enumerate(pieces)]
        ends = record_ends(payload, self._quoting, final=True)
        starts = [0, *ends[:-1]]
        return [
            (first + i, payload[start:end].removesuffix(b"\n").removesuffix(b"\r"))
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]

    def _one_by_one(self, raw: RawBatch, payload: bytes, rejections: list[Rejection]) -> pl.DataFrame:
        rows: list[list[str]] = []
        numbers: list[int] = []
        for number, record in self._records(payload, raw.first_record):
            if not record or record.isspace():
                continue
            row, reason, detail = self._row(record)
            if row is None:
                # The line, as long as no field before it holds a newline.
                where = f"{raw.origin}:{number + 1 + self._layout.header}"
                rejections.append(Rejection(number, "decode", reason, f"{where}: {detail}", record))
                continue
            rows.append(row)
            numbers.append(number)
        frame = pl.DataFrame(rows, schema=dict.fromkeys(self._layout.columns, pl.String), orient="row")
        if not rows:
            frame = frame.clear()
        return frame.with_columns(pl.Series(RECORD, numbers, dtype=pl.Int64))

    def _row(self, record: bytes) -> tuple[list[str] | None, str, str]:
        if self._taken:
            return None, "reserved_field", f"column {min(self._taken)!r} is reserved, rename it"
        bad = utf8_error(record)
        if bad:
            return None, "invalid_utf8", bad
        quote = quote_arguments(self._layout.quote)
        try:
            rows = list(
                csv.reader(
                    io.StringIO(record.decode(), newline=""), delimiter=self._layout.delimiter, **quote
                )
            )
        except csv.Error as error:
            return None, "malformed", f"not CSV: {error}"
        want, have = len(self._layout.columns), len(rows[0]) if rows else 0
        if len(rows) != 1 or have != want:
            return None, "wrong_columns", f"expected {want} columns, found {have}"
        return rows[0], "", ""

    def _typed(self, texts: pl.DataFrame) -> list[pl.DataFrame]:
        """Cast by columns; records with a value that does not fit are grouped by the columns concerned."""
        if not texts.height:
            return []
        cast = texts.with_columns([self._cast(name, kind) for name, kind in self._columns()])
        misfits = cast.select(
            [
                (cast[name].is_null() & ~self._is_null(texts[name], kind)).alias(name)
                for name, kind in self._columns()
                if kind in _DTYPES
            ]
        )
        bad = [name for name in misfits.columns if misfits[name].any()]
        if not bad:
            return [cast]
        return self._grouped(texts, cast, misfits.select(bad))

    def _grouped(self, texts: pl.DataFrame, cast: pl.DataFrame, misfits: pl.DataFrame) -> list[pl.DataFrame]:
        frames: list[pl.DataFrame] = []
        for pattern in misfits.unique(maintain_order=True).iter_rows():
            mask = pl.Series([True] * texts.height)
            for name, misfit in zip(misfits.columns, pattern, strict=True):
                mask &= misfits[name] == misfit
            kinds = dict(self._columns())
            as_text = [
                self._nulled(texts[n], kinds[n])
                for n, misfit in zip(misfits.columns, pattern, strict=True)
                if misfit
            ]
            frames.append(cast.with_columns(as_text).filter(mask))
        return frames

    def _columns(self) -> list[tuple[str, str]]:
        return list(zip(self._layout.columns, self._layout.types, strict=True))

    def _cast(self, name: str, kind: str) -> pl.Expr:
        column = named(name)
        present = pl.when(~column.is_in(self._nulls(kind))).then(column)
        if kind == "integer":
            exact = (
                present if name in self._hinted else pl.when(column.str.contains(_CANONICAL)).then(present)
            )
            return exact.cast(pl.Int64, strict=False).alias(name)
        if kind == "float":
            exact = present if name in self._hinted else pl.when(_is_float(column)).then(present)
            number = exact.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number).alias(name)
        if kind == "boolean":
            return present.replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean).alias(name)
        return present.alias(name)

    def _nulls(self, kind: str) -> list[str]:
        """Without declared ones, a text column knows no null but the empty value: `NA` may be a country."""
        if self._layout.declared_nulls:
            return ["", *self._layout.null_values]
        return list(self._layout.null_values) if kind in _DTYPES else [""]

    def _is_null(self, texts: pl.Series, kind: str) -> pl.Series:
        return texts.is_null() | texts.is_in(self._nulls(kind))

    def _nulled(self, texts: pl.Series, kind: str) -> pl.Series:
        return texts.to_frame().select(pl.when(~pl.first().is_in(self._nulls(kind))).then(pl.first()))[
            texts.name
        ]


def _is_float(column: pl.Expr) -> pl.Expr:
    return column.str.contains(f"^{FLOAT}$") & ~column.str.contains(f"^{LONG_INTEGER}$")


def _has_blank(bare: bytes) -> bool:
    return bare.startswith((b"\n", b"\r\n")) or b"\n\n" in bare or b"\n\r\n" in bare
