"""Results as Arrow: a page of hits, or a stream of all matching documents.

A page has a column for each field its documents have, typed by the mapping where it is declared. A stream
must have the same columns from its first batch to its last, so it has the declared fields, and the whole
documents as the text column `_source`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import RequestError
from headrace.fields import Field, FieldType
from headrace.index.query import dates
from headrace.index.query.scalars import is_number, number
from headrace.index.query.source import values_at
from headrace.index.query.zones import to_datetime
from headrace.serve.hits import Shown
from headrace.serve.responses import PRODUCT
from headrace.serve.searches import Answered

ARROW_TYPE: Final = "application/vnd.apache.arrow.stream"
END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The end-of-stream marker of the Arrow IPC streaming format."""


def is_accepted(request: Request) -> bool:
    """Whether the client asks for Arrow."""
    kinds = (each.partition(";")[0].strip() for each in request.headers.get("accept", "").split(","))
    return ARROW_TYPE in kinds


def response(content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(content, headers={**PRODUCT, **headers, "Content-Type": ARROW_TYPE})


def page(answered: Answered, fields: Mapping[str, Field], shown: Shown) -> bytes:
    """Hits as an IPC stream: `_id`, `_index`, `_score`, the fields, nested as structs, and `_source`."""
    hits = answered.hits
    columns = [
        pl.Series("_id", [found.hit.id for found in hits], pl.String),
        pl.Series("_index", [found.index for found in hits], pl.String),
        pl.Series("_score", [found.hit.score for found in hits], pl.Float64),
    ]
    if shown.source:
        sources = [shown.part(found.hit.source) for found in hits]
        rows = [msgspec.json.decode(source) for source in sources]
        names = dict.fromkeys(name for row in rows for name in row if not name.startswith("_"))
        columns += [_column(name, [row.get(name) for row in rows], fields) for name in names]
        columns.append(pl.Series("_source", [source.decode() for source in sources], pl.String))
    return encoded(pl.DataFrame(columns))


def encoded(frame: pl.DataFrame) -> bytes:
    """In types that every reader of Arrow knows."""
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()


class Batches:
    """Frames of one schema as one stream, piece by piece."""

    def __init__(self) -> None:
        self._begun = False

    def piece(self, frame: pl.DataFrame) -> bytes:
        """The next batch; the first piece has the schema before it."""
        whole = encoded(frame).removesuffix(END)
        if not self._begun:
            self._begun = True
            return whole
        # A message is a marker, the length of its metadata, and that; a schema has nothing after it.
        return whole[8 + int.from_bytes(whole[4:8], "little") :]


def scanned(frame: pl.DataFrame, index: str, fields: Mapping[str, Field], *, source: bool) -> pl.DataFrame:
    """A frame of `Reader.scan` with the declared fields as columns."""
    rows = [msgspec.json.decode(text) for text in frame["_source"]]
    columns = [frame["_id"], pl.Series("_index", [index] * frame.height, pl.String), frame["_seq"]]
    for name, field in fields.items():
        if field.kind is FieldType.JSON:
            continue
        columns.append(_typed(name, [_value(row, name, field) for row in rows], field))
    if source:
        columns.append(frame["_source"])
    return pl.DataFrame(columns)


def _value(row: Mapping[str, Any], name: str, field: Field) -> Any:
    found = list(values_at(row, name))
    if field.array:
        return found or None
    return found[0] if found else None


def _column(name: str, values: Sequence[Any], fields: Mapping[str, Field]) -> pl.Series:
    """A field of a page: as declared, else as its values agree, else as their JSON text."""
    field = fields.get(name)
    if field is not None and field.kind is not FieldType.JSON:
        several = field.array or any(isinstance(value, list) for value in values)
        return _typed(name, values, msgspec.structs.replace(field, array=several))
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [_text(value) for value in values], pl.String)


def _typed(name: str, values: Sequence[Any], field: Field) -> pl.Series:
    """Declared; a value that conflicts with the declaration is null (it is in `_source`)."""

    def convert(value: Any) -> Any:
        if isinstance(value, list) and field.array:
            return [_one(item, field) for item in value]
        return [_one(value, field)] if field.array and value is not None else _one(value, field)

    inner = pl.Datetime("us", "UTC") if field.kind is FieldType.DATE else _POLARS[field.kind]
    return pl.Series(name, [convert(value) for value in values], pl.List(inner) if field.array else inner)


_POLARS: Final[Mapping[FieldType, pl.DataType]] = {
    FieldType.TEXT: pl.String(),
    FieldType.KEYWORD: pl.String(),
    FieldType.IP: pl.String(),
    FieldType.INTEGER: pl.Int64(),
    FieldType.UNSIGNED: pl.UInt64(),
    FieldType.FLOAT: pl.Float64(),
    FieldType.BOOLEAN: pl.Boolean(),
    FieldType.DATE: pl.Datetime("us", "UTC"),
}


def _one(value: Any, field: Field) -> Any:
    if value is None:
        return None
    if field.coerce:
        value = _coerced(value, field.kind)
    match field.kind:
        case FieldType.DATE:
            return _moment(value, field)
        case FieldType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case FieldType.FLOAT:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if is_number else None
        case FieldType.INTEGER | FieldType.UNSIGNED:
            low, high = (0, 2**64) if field.kind is FieldType.UNSIGNED else (-(2**63), 2**63)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return value if is_whole and low <= value < high else None
        case _:
            return value if isinstance(value, str) else _text(value)


def _coerced(value: Any, kind: FieldType) -> Any:
    """A value as a coercing field has it: read from a text, an integer without its fraction."""
    if kind is FieldType.BOOLEAN:
        return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    if kind not in (FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT):
        return value
    if isinstance(value, str) and is_number(value.strip()):
        value = number(value.strip())
    whole = kind is not FieldType.FLOAT and isinstance(value, float) and math.isfinite(value)
    return int(value) if whole else value


def _moment(value: Any, field: Field) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return to_datetime(dates.as_date_span(field.type, value)[0])
    except (RequestError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
