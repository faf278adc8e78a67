"""What every format gives: a splitter, which cuts a byte stream into whole records, and a decoder.

A splitter never looks at types and a decoder never looks for boundaries, so any split of the stream into
batches gives the same records with the same numbers and the same types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import polars as pl

from headrace.model import Decoded, RawBatch, Rejection

BOM: Final = b"\xef\xbb\xbf"

KEPT_BYTES: Final = 4096
"""How much of a record that is too large is kept for the dead letters."""


Character = Annotated[str, msgspec.Meta(min_length=1, max_length=1)]


class CsvLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a CSV file that is inferred once, then kept with its position.

    delimiter, quote: one character each; an empty quote means that quotes are ordinary characters
    columns:          names in order
    types:            one of string, integer, float, boolean per column
    header:           the first line holds the names
    null_values:      declared ones make any value null; without, the usual ones do in typed columns
    declared_nulls:   whether `null_values` was declared
    """

    delimiter: str = ","
    quote: str = '"'
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    header: bool = True
    null_values: tuple[str, ...] = ()
    declared_nulls: bool = False


class FormatOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options that say how bytes are to be read, shared by all sources that read bytes."""

    max_record_bytes: Annotated[
        int,
        msgspec.Meta(ge=1, description="larger records are rejected (`record_too_large`), never held whole"),
    ] = 16 << 20
    message_field: Annotated[
        str, msgspec.Meta(min_length=1, description="of `lines`: the field that receives the line")
    ] = "message"
    invalid_utf8: Annotated[
        Literal["reject", "replace"],
        msgspec.Meta(
            description="of `lines`: reject a line that is not UTF-8, or replace its bad bytes by U+FFFD"
        ),
    ] = "reject"
    delimiter: Annotated[Character | None, msgspec.Meta(description="of `csv`: inferred if not given")] = None
    quote: Annotated[
        Annotated[str, msgspec.Meta(max_length=1)] | None,
        msgspec.Meta(description='of `csv`: `"` if not given; empty for none'),
    ] = None
    header: Annotated[
        bool | None,
        msgspec.Meta(description="of `csv`: whether the first line names the columns; inferred if not given"),
    ] = None
    columns: Annotated[
        tuple[str, ...] | None,
        msgspec.Meta(description="of `csv`: column names, where the file has no header"),
    ] = None
    null_values: Annotated[
        tuple[str, ...] | None,
        msgspec.Meta(
            description="of `csv`: texts that mean null; if not given, the usual ones, in typed columns only"
        ),
    ] = None


Hints = Mapping[str, pl.DataType]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a splitter took from the front of a buffer.

    consumed: bytes of the buffer used up
    payload:  whole records, one after another
    numbers:  how many record numbers they use (blank lines included)
    """

    consumed: int
    payload: bytes
    numbers: int


class Damaged(Exception):
    """The stream cannot be read beyond this point; what was read before is good."""


class Splitter(Protocol):
    """Cuts whole records from the front of a buffer that starts at a record boundary."""

    state: dict[str, Any]
    """JSON; what a new splitter needs to go on from the last boundary."""

    def take(self, buffer: bytes, *, final: bool, limit: int) -> Taken:
        """As many whole records as there are, up to the first that is longer than `limit` bytes.

        With `final` the buffer is the stream's end, and a last record needs no terminator.
        Raises Damaged."""
        ...

    def skip(self, buffer: bytes) -> int:
        """Go through a record that is too large: the bytes up to its end, or -1 if it goes on.

        Called with one piece of the record after another, from its start."""
        ...


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The decoder of a batch that stands for one record too large to be held."""

    where: str
    size: int
    limit: int

    def decode(self, raw: RawBatch) -> Decoded:
        detail = f"{self.where}: record of {self.size:,} bytes is over max_record_bytes ({self.limit:,})"
        original = self.original(raw, raw.first_record)
        rejection = Rejection(raw.first_record, "decode", "record_too_large", detail, original)
        return Decoded((), (rejection,), 1)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return raw.payload if record == raw.first_record and isinstance(raw.payload, bytes) else None


def lines_of(payload: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """(record number, line without its end) of each line that is not blank."""
    lines = payload.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for index, line in enumerate(lines):
        bare = line.removesuffix(b"\r")
        if not bare or bare.isspace():
            continue
        yield first + index, bare


def count_lines(payload: bytes) -> int:
    """How many line numbers a payload uses; a last line needs no end."""
    return payload.count(b"\n") + (not payload.endswith(b"\n") and bool(payload))


def text_of(raw: RawBatch) -> bytes:
    """A batch's bytes, without the byte order mark a log may start with."""
    assert isinstance(raw.payload, bytes)
    return raw.payload.removeprefix(BOM) if raw.first_record == 0 else raw.payload
