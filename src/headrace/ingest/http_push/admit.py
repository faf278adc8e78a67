"""What the door asks before a plain body is accepted: is it what it claims to be, and how many records is it?

The numbers a body uses up are reserved by this count and given out by the decoder, both from `body.py`: they
agree by construction. A single bad record is no reason to refuse the rest: it becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.core.errors import RequestError, uncapitalized
from headrace.core.registry import suggest
from headrace.ingest.formats.base import BOM, FormatOptions, count_lines
from headrace.ingest.http_push import body as bodies
from headrace.model import RESERVED

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def count(kind: str, body: bytes, options: FormatOptions) -> int:
    """How many record numbers the body uses up; 0 where it holds no record, and nothing is to be appended.

    `options` are `Settings.format` of the pipeline. Raises RequestError (400) where the body is no such
    format at all: it is refused whole, and nothing of it was accepted.
    """
    if kind not in bodies.PLAIN:
        raise _refused(f"cannot read format {kind!r}, {suggest(kind, list(bodies.PLAIN))}")
    try:
        return _COUNTS[kind](body, options)
    except bodies.Unreadable as error:
        raise _refused(f"not read as {kind}: {error}; nothing was accepted") from None


def _of_ndjson(body: bytes, _options: FormatOptions) -> int:
    bare = body.removeprefix(BOM)
    if not bare.strip():
        return 0
    _require_an_object(bare.split(b"\n"), "line")
    return count_lines(bare)


def _of_json(body: bytes, _options: FormatOptions) -> int:
    lines = bodies.json_lines(body)
    if lines:
        _require_an_object(lines, "element")
    return len(lines)


def _of_csv(body: bytes, options: FormatOptions) -> int:
    layout = bodies.csv_layout(body, options, {})
    _refuse_reserved(layout.columns)
    rows = bodies.csv_rows(body, layout)
    return bodies.csv_numbers(rows, layout) if rows.strip() else 0


def _of_arrow(body: bytes, _options: FormatOptions) -> int:
    if not body:
        return 0
    frame = bodies.arrow_frame(body)
    _refuse_reserved(frame.columns)
    return frame.height


_COUNTS = {"ndjson": _of_ndjson, "json": _of_json, "csv": _of_csv, "arrow": _of_arrow}


def _require_an_object(pieces: Iterable[bytes], noun: str) -> None:
    """One good record makes the body what it claims to be; the others are judged one by one, later."""
    first = ""
    for number, piece in enumerate(pieces, start=1):
        if not piece or piece.isspace():
            continue
        try:
            _object.decode(piece)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            first = first or f"{noun} {number}: {uncapitalized(str(error))}, found {_excerpt(piece)}"
        else:
            return
    raise bodies.Unreadable(f"no {noun} of it is a JSON object ({first})")


def _refuse_reserved(columns: Iterable[str]) -> None:
    taken = RESERVED.intersection(columns)
    if taken:
        raise bodies.Unreadable(f"column {min(taken)!r} is reserved, rename it")


def _refused(reason: str) -> RequestError:
    return RequestError(400, "parse_exception", reason)


def _excerpt(piece: bytes) -> str:
    text = piece[:60].decode("utf-8", "replace")
    return repr(text if len(piece) <= 60 else text + "…")
