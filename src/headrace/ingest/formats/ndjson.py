"""One JSON object per line; each record keeps the types it was written with, whatever its neighbours hold.

What was learned from earlier batches only speeds things up (`fastjson`); it never changes an outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import polars as pl

from headrace.core.errors import uncapitalized
from headrace.ingest.formats.base import Hints, lines_of, text_of
from headrace.ingest.formats.fastjson import FastJson, usable
from headrace.ingest.formats.shapes import (
    EMPTY,
    Shape,
    Unsupported,
    coerced_shape,
    dtype,
    group,
    members,
    shape_of,
    unify,
)  # fmt: skip
from headrace.model import RECORD, RESERVED, Decoded, RawBatch, Rejection, Texts

LEARN_FROM: Final = 200  # records of a cold decoder's first batch that are looked at one by one

MOST_KEYS: Final = 10_000
"""Of one record: each is a column for as long as its batch is under way, and costs milliseconds."""

_SURROGATES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escaped backslashes, whole pairs of UTF-16, and what is left: one half of a pair."""

Numbered = tuple[int, bytes]


class NdjsonDecoder:
    """`unit` is what a record is called in messages: a line, or an element of an array."""

    def __init__(self, hints: Hints, unit: str = "line") -> None:
        self._hints = hints
        self._unit = unit
        self._shape: Shape = EMPTY
        self._fast: FastJson | None = None
        self._lines: tuple[bytes, list[bytes]] | None = None

    def decode(self, raw: RawBatch) -> Decoded:
        payload = text_of(raw)
        if self._fast is None:
            self._warm_up(payload)
        parsed = self._fast.parse(payload) if self._fast and payload else None
        if parsed is None:
            return self._one_by_one(raw, payload)
        lines = parsed.frame.height
        frame = _numbered(parsed.frame, range(raw.first_record, raw.first_record + lines))
        return Decoded((frame,), (), lines, (Texts(payload, canonical=parsed.canonical),))

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        payload = text_of(raw)
        if self._lines is None or self._lines[0] is not raw.payload:
            self._lines = (payload, payload.removesuffix(b"\n").split(b"\n"))
        at = record - raw.first_record
        found = self._lines[1]
        return found[at].removesuffix(b"\r") if 0 <= at < len(found) else None

    def _warm_up(self, payload: bytes) -> None:
        head = payload.split(b"\n", LEARN_FROM)[:LEARN_FROM]
        shapes: list[Shape] = []
        for line in head:
            try:
                shapes.append(self._checked(line))
            except _Refused:
                continue
        self._learn(shapes)

    def _learn(self, shapes: Sequence[Shape]) -> None:
        before = self._shape
        for shape in dict.fromkeys(shapes):
            both = unify(self._shape, shape) if shape[0] == "object" else None
            if both is not None and usable(both):
                self._shape = both
        if self._shape != before or self._fast is None:
            self._fast = FastJson(self._shape, self._hints)

    def _one_by_one(self, raw: RawBatch, payload: bytes) -> Decoded:
        good: list[Numbered] = []
        shapes: list[Shape] = []
        rejections: list[Rejection] = []
        for number, line in lines_of(payload, raw.first_record):
            try:
                shapes.append(self._checked(line))
                good.append((number, line))
            except _Refused as refused:
                rejections.append(self._reject(raw, number, line, refused))
        records = len(good) + len(rejections)
        self._learn(shapes)
        found = [
            self._frame(raw, shape, [good[i] for i in indexes], rejections)
            for shape, indexes in group(shapes)
        ]
        rejections.sort(key=lambda rejection: rejection.record)
        frames = tuple(frame for frame in found if frame.height)
        known = dict(good)
        texts = tuple(Texts(b"\n".join([known[number] for number in frame[RECORD]])) for frame in frames)
        return Decoded(frames, tuple(rejections), records, texts)

    def _checked(self, line: bytes) -> Shape:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _broken(line, error) from None
        if type(value) is not dict:
            raise _Refused("not_an_object", f"expected a JSON object, found {_kind(value)}")
        taken = RESERVED.intersection(value)
        if taken:
            raise _Refused("reserved_field", f"field {min(taken)!r} is reserved, rename it before it is sent")
        keys = line.count(b'":')
        if keys > MOST_KEYS:
            raise _Refused("too_many_fields", f"the record has about {keys:,} keys, at most {MOST_KEYS:,}")
        if keys != len(value) or b'" :' in line or b'"\t:' in line or b'"\r:' in line:
            _refuse_duplicates(line)
        try:
            return shape_of(value, self._hints)
        except Unsupported as error:
            return self._coerced(value, error)

    def _coerced(self, value: Any, why: Unsupported) -> Shape:
        """What the destination takes all the same, since it coerces."""
        try:
            return coerced_shape(value, self._hints)
        except Unsupported:
            raise _Refused("unsupported_value", str(why)) from None

    def _frame(
        self, raw: RawBatch, shape: Shape, lines: list[Numbered], rejections: list[Rejection]
    ) -> pl.DataFrame:
        """The lines as a frame. Should the parsers disagree about a line after all, it alone is rejected."""
        schema = {key: dtype(inner) for key, inner in members(shape) if inner != "n"}
        numbers = [number for number, _ in lines]
        if not schema:
            return pl.DataFrame({RECORD: numbers}, schema={RECORD: pl.Int64})
        try:
            frame = pl.read_ndjson(b"\n".join(line for _, line in lines), schema=schema)
        except pl.exceptions.PolarsError as error:
            return self._halves(raw, shape, lines, rejections, error)
        return _numbered(frame, numbers)

    def _halves(
        self,
        raw: RawBatch,
        shape: Shape,
        lines: list[Numbered],
        rejections: list[Rejection],
        error: Exception,
    ) -> pl.DataFrame:
        if len(lines) == 1:
            rejections.append(self._reject(raw, *lines[0], _Refused("unsupported_value", str(error))))
            return pl.DataFrame()
        half = len(lines) // 2
        parts = [self._frame(raw, shape, part, rejections) for part in (lines[:half], lines[half:])]
        filled = [part for part in parts if part.height]
        return pl.concat(filled) if filled else pl.DataFrame()

    def _reject(self, raw: RawBatch, number: int, line: bytes, refused: _Refused) -> Rejection:
        where = (
            f"{raw.origin}:{number + 1}" if self._unit == "line" else f"{raw.origin}: {self._unit} {number}"
        )
        return Rejection(number, "decode", refused.reason, f"{where}: {refused.detail}", line)


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _numbered(frame: pl.DataFrame, numbers: range | list[int]) -> pl.DataFrame:
    if isinstance(numbers, range):
        column = pl.int_range(numbers.start, numbers.stop, dtype=pl.Int64, eager=True).alias(RECORD)
    else:
        column = pl.Series(RECORD, numbers, dtype=pl.Int64)
    return frame.with_columns(column)


def _broken(line: bytes, error: Exception) -> _Refused:
    bad = utf8_error(line)
    if bad:
        return _Refused("invalid_utf8", bad)
    message = str(error)
    if half := half_of_pair(line):
        return _Refused("malformed", f"not JSON: {half} is half of a character, found {_excerpt(line)}")
    return _Refused("malformed", f"not JSON: {uncapitalized(message)}, found {_excerpt(line)}")


def half_of_pair(line: bytes) -> str | None:
    """The first escape of a lone surrogate, which is no character."""
    if b"\\ud" not in line and b"\\uD" not in line:
        return None
    return next((found[1].decode() for found in _SURROGATES.finditer(line) if found[1]), None)


def utf8_error(line: bytes) -> str | None:
    """Where a line stops being UTF-8, in words."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"column {error.start + 1}: byte 0x{line[error.start]:02x} is not UTF-8"
    return None


def _excerpt(line: bytes) -> str:
    text = line[:60].decode("utf-8", "replace")
    return repr(text if len(line) <= 60 else text + "…")


def _kind(value: Any) -> str:
    return {list: "an array", str: "text", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _refuse_duplicates(line: bytes) -> None:
    def pairs(found: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in found:
            if key in seen:
                raise _Refused("malformed", f"key {key!r} is there twice")
            seen.add(key)

    json.loads(line, object_pairs_hook=pairs)
