"""The fast path of NDJSON: one compiled check that a whole buffer has exactly the expected types.

Polars parses quickly, but would coerce, drop unknown keys and keep the first of two equal keys; msgspec
checks, but would read an integer as a float and keep the last. So a record is taken only where both agree,
or where what was parsed, written as JSON again, is the very text that was read: then nothing was changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from headrace.core.lines import lines_of
from headrace.ingest.formats.base import Hints
from headrace.ingest.formats.shapes import LARGEST_SIGNED, Shape, contains, dtype, members, wants_float
from headrace.model import RESERVED

MOST_FIELDS: Final = 400  # wider shapes cost more to check than they save

PATIENCE: Final = 64
"""Buffers until another look whether records are written as we write them, where they were not."""

_SIGNED = Annotated[int, msgspec.Meta(ge=-LARGEST_SIGNED - 1, le=LARGEST_SIGNED)]
_SCALARS: Final[dict[str, Any]] = {"n": None, "b": bool, "i": _SIGNED, "f": int | float, "s": str}
_LAX_FLOAT: Final = "F"


_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')
"""What JSON escapes in a key: the decoder refuses to be made with it, and keys could not be counted."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records of a buffer; `canonical` where each is written exactly as the frame's rows would be."""

    frame: pl.DataFrame
    canonical: bool


class FastJson:
    """Parses a buffer whose records all fit one shape; anything else is `None`, never an error."""

    def __init__(self, shape: Shape, hints: Hints) -> None:
        self._fields: tuple[tuple[str, Shape], ...] = members(shape)
        self._schema = {key: dtype(inner) for key, inner in self._fields if inner != "n"}
        model = _model(shape, hints, "")
        self._decoder = msgspec.json.Decoder(model)
        self._checked = members(_relaxed(shape, hints, ""))
        self._unlike = 0

    def parse(self, payload: bytes) -> Parsed | None:
        try:
            texts = lines_of(payload)
            frame = pl.read_ndjson(payload, schema=self._schema)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError):
            return None
        if frame.height != len(texts):
            return None
        rest = self._unproven(payload, texts, frame)
        if rest is None:
            return Parsed(frame, canonical=True)
        return Parsed(frame, canonical=False) if self._proven(*rest) else None

    def _unproven(
        self, payload: bytes, texts: pl.Series, frame: pl.DataFrame
    ) -> tuple[bytes, pl.DataFrame] | None:
        """The records that are not written as their rows would be, with these rows; None if there are none.

        Writing a row costs half of the check that it saves, so it pays only where most are alike.
        """
        if self._unlike or not frame.width:
            self._unlike = max(self._unlike - 1, 0)
            return payload, frame
        written = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
        unlike = texts != written
        count = int(unlike.sum())
        if not count:
            return None
        if count > frame.height // 4:
            self._unlike = PATIENCE
            return payload, frame
        return "\n".join(texts.filter(unlike)).encode(), frame.filter(unlike)

    def _proven(self, payload: bytes, frame: pl.DataFrame) -> bool:
        """Whether each record has exactly the types and the keys of the shape."""
        try:
            records = self._decoder.decode_lines(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):  # ValidationError is a DecodeError
            return False
        return len(records) == frame.height and self._agree(payload, records, frame)

    def _agree(self, payload: bytes, records: list[Any], frame: pl.DataFrame) -> bool:
        """No integer where a float stands, and no key twice: as many keys as there are `":`."""
        keys = 0
        for at, (key, shape) in enumerate(self._checked):
            if isinstance(shape, str) and shape not in ("f", "n") and not frame[key].null_count():
                keys += len(records)
                continue
            counted = _count(list(map(attrgetter(f"f{at}"), records)), shape)
            if counted is None:
                return False
            keys += counted
        found = payload.count(b'":')
        return found == keys or found - payload.count(b'\\":') == keys


def usable(shape: Shape) -> bool:
    """Whether the fast path can check this shape."""
    if contains(shape, "u") or len(shape[1]) > MOST_FIELDS:
        return False
    return all(key not in RESERVED for key, _ in members(shape)) and _plain_keys(shape)


def _plain_keys(shape: Shape) -> bool:
    if isinstance(shape, str):
        return True
    if shape[0] == "list":
        return _plain_keys(shape[1])
    return all(_ESCAPED.search(key) is None and _plain_keys(inner) for key, inner in shape[1])


def _model(shape: Shape, hints: Hints, path: str) -> Any:
    if isinstance(shape, str):
        return float if shape == "f" and wants_float(hints, path) else _SCALARS[shape]
    if shape[0] == "list":
        return list[_optional(_model(shape[1], hints, path))]  # type: ignore[misc]
    prefix = f"{path}." if path else ""
    fields = [
        (f"f{at}", _optional(_model(inner, hints, prefix + key)) | msgspec.UnsetType, msgspec.UNSET)
        for at, (key, inner) in enumerate(shape[1])
    ]
    names = {f"f{at}": key for at, (key, _) in enumerate(shape[1])}
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)


def _optional(kind: Any) -> Any:
    return None if kind is None else kind | None


def _relaxed(shape: Shape, hints: Hints, path: str) -> Any:
    """The shape with those floats marked that may be written as integers."""
    if isinstance(shape, str):
        return _LAX_FLOAT if shape == "f" and wants_float(hints, path) else shape
    if shape[0] == "list":
        return ("list", _relaxed(shape[1], hints, path))
    prefix = f"{path}." if path else ""
    return ("object", tuple((key, _relaxed(inner, hints, prefix + key)) for key, inner in shape[1]))


def _count(values: Sequence[Any], shape: Shape) -> int | None:
    """How many of these values are there, with the keys inside them; None if an integer is among floats."""
    unset = values.count(msgspec.UNSET)
    if shape == "f" and int in set(map(type, values)):
        return None
    inner = _inside([value for value in values if value is not None and value is not msgspec.UNSET], shape)
    return None if inner is None else len(values) - unset + inner


def _inside(values: list[Any], shape: Shape) -> int | None:
    if isinstance(shape, str):
        return 0
    if shape[0] == "list":
        items = list(chain.from_iterable(values))
        counted = _count(items, shape[1])
        return None if counted is None else counted - len(items)
    keys = 0
    for at, (_, inner) in enumerate(shape[1]):
        counted = _count(list(map(attrgetter(f"f{at}"), values)), inner)
        if counted is None:
            return None
        keys += counted
    return keys
