"""Arrow IPC from strangers: what the reader would believe without looking is looked at before.

A compressed buffer says how large it will be, and the reader reserves that much at once: a few bytes can end
the process. So buffers come uncompressed, and the request as a whole is compressed instead.
Layout: Arrow columnar format, "Encapsulated message format"; FlatBuffers internals.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

import polars as pl

FILE_MAGIC: Final = b"ARROW1\0\0"
FILE_END: Final = b"ARROW1"
BLOCK_BYTES: Final = 24
CONTINUATION: Final = 0xFFFFFFFF
DICTIONARY, RECORDS = 2, 3
ROWS_PER_BYTE: Final = 8
"""Nothing but nulls takes less than a bit per row."""


class NotArrow(Exception):
    """Says why."""


def read(body: bytes) -> pl.DataFrame:
    """The rows of a stream or a file. Raises NotArrow."""
    is_file = body.startswith(FILE_MAGIC)
    try:
        for at in _listed(body) if is_file else _messages(body):
            _check(body, at)
    except (struct.error, IndexError):
        raise NotArrow("it is cut off or damaged") from None
    try:
        return (pl.read_ipc if is_file else pl.read_ipc_stream)(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise NotArrow(str(error).partition("\n")[0][:200]) from None


def _listed(file: bytes) -> Iterator[int]:
    """Where the metadata of each message is that a file's footer lists."""
    tail = len(file) - len(FILE_END) - 4
    if tail < len(FILE_MAGIC) or not file.endswith(FILE_END):
        raise NotArrow("it is cut off")
    (size,) = struct.unpack_from("<I", file, tail)
    if size > tail:
        raise NotArrow("its footer is damaged")
    footer = _target(file, tail - size)
    for field in (2, 3):
        vector = _field(file, footer, field)
        if vector is None:
            continue
        blocks = _target(file, vector)
        (count,) = struct.unpack_from("<I", file, blocks)
        for number in range(count):
            offset, _, length = struct.unpack_from("<qi4xq", file, blocks + 4 + BLOCK_BYTES * number)
            if offset < 0 or length < 0 or offset + length > len(file):
                raise NotArrow("its footer is damaged")
            (size,) = struct.unpack_from("<I", file, offset)
            yield offset + (8 if size == CONTINUATION else 4)


def _messages(stream: bytes) -> Iterator[int]:
    """Where the metadata of each message of a stream is."""
    at = 0
    while at < len(stream):
        (size,) = struct.unpack_from("<I", stream, at)
        at += 4
        if size == CONTINUATION:
            (size,) = struct.unpack_from("<I", stream, at)
            at += 4
        if size == 0:
            return
        if at + size > len(stream):
            raise NotArrow("it ends in the middle of a message")
        yield at
        length = _number(stream, _target(stream, at), 3, "<q")
        if length < 0 or at + size + length > len(stream):
            raise NotArrow("it ends in the middle of a message")
        at += size + length


def _check(stream: bytes, at: int) -> None:
    """Whether what a message says of its rows and buffers can be. Raises NotArrow."""
    message = _target(stream, at)
    kind = _number(stream, message, 1, "<B")
    header = _field(stream, message, 2)
    if kind not in (DICTIONARY, RECORDS) or header is None:
        return
    batch: int | None = _target(stream, header)
    if kind == DICTIONARY:
        inner = _field(stream, _target(stream, header), 1)
        batch = None if inner is None else _target(stream, inner)
    if batch is None:
        return
    if _field(stream, batch, 3) is not None:
        raise NotArrow("its buffers are compressed: send them uncompressed, and compress the request instead")
    rows, most = _number(stream, batch, 0, "<q"), ROWS_PER_BYTE * len(stream)
    space = _number(stream, message, 3, "<q")
    buffers = list(_pairs(stream, batch, 2))
    sizes = [rows, *(length for length, _ in _pairs(stream, batch, 1))]
    variadic = [count for count, _ in _pairs(stream, batch, 4, "<q")]
    if not 0 <= min(sizes) <= max(sizes) <= most:
        raise NotArrow(f"it claims {max(sizes):,} rows in {len(stream):,} bytes")
    if any(not 0 <= start <= start + length <= space or length < 0 for start, length in buffers):
        raise NotArrow("a buffer of it lies outside of its message")
    if any(not 0 <= count <= len(buffers) for count in variadic):
        raise NotArrow("it claims more buffers than it has")


def _pairs(stream: bytes, table: int, number: int, form: str = "<qq") -> Iterator[tuple[int, int]]:
    """A vector of pairs of numbers (or of single ones, each with a 0)."""
    vector = _field(stream, table, number)
    if vector is None:
        return
    start = _target(stream, vector)
    (count,) = struct.unpack_from("<I", stream, start)
    size = struct.calcsize(form)
    if start + 4 + count * size > len(stream):
        raise NotArrow("a message of it is damaged")
    for found in struct.iter_unpack(form, stream[start + 4 : start + 4 + count * size]):
        yield int(found[0]), int(found[1]) if len(found) > 1 else 0


def _target(stream: bytes, at: int) -> int:
    (offset,) = struct.unpack_from("<I", stream, at)
    return at + int(offset)


def _field(stream: bytes, table: int, number: int) -> int | None:
    """Where a field of a table is, None where it is left out."""
    (back,) = struct.unpack_from("<i", stream, table)
    names = table - int(back)
    if names < 0:
        raise NotArrow("a message of it is damaged")
    (size,) = struct.unpack_from("<H", stream, names)
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", stream, names + place)
    return table + int(offset) if offset else None


def _number(stream: bytes, table: int, number: int, form: str) -> int:
    at = _field(stream, table, number)
    return 0 if at is None else int(struct.unpack_from(form, stream, at)[0])
