"""Plain text: each line becomes a record of one field."""

from __future__ import annotations

import polars as pl

from headrace.ingest.formats.base import FormatOptions, count_lines, lines_of, text_of
from headrace.ingest.formats.ndjson import utf8_error
from headrace.model import RECORD, Decoded, RawBatch, Rejection


class LinesDecoder:
    def __init__(self, options: FormatOptions) -> None:
        self._field = options.message_field
        self.texts = (self._field,)
        self._replace = options.invalid_utf8 == "replace"

    def decode(self, raw: RawBatch) -> Decoded:
        numbers: list[int] = []
        texts: list[str] = []
        rejections: list[Rejection] = []
        for number, line in lines_of(text_of(raw), raw.first_record):
            try:
                texts.append(line.decode("utf-8", "replace" if self._replace else "strict"))
                numbers.append(number)
            except UnicodeDecodeError:
                detail = f"{raw.origin}:{number + 1}: {utf8_error(line)}"
                rejections.append(Rejection(number, "decode", "invalid_utf8", detail, line))
        frame = pl.DataFrame(
            {self._field: texts, RECORD: numbers}, schema={self._field: pl.String, RECORD: pl.Int64}
        )
        return Decoded((frame,) if texts else (), tuple(rejections), len(texts) + len(rejections))

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        payload = text_of(raw)
        at = record - raw.first_record
        if not 0 <= at < count_lines(payload):
            return None
        return payload.split(b"\n", at + 1)[at].removesuffix(b"\r")
