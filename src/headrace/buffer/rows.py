"""How an entry lies in a file of the buffer: packed once, its checksum bound to its place in the log.

A piece of a large request is packed and stored before its record number is known; the checksum is made in
two steps, so that the content need not be read again when its place is decided.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

import cramjam

from headrace.buffer.base import Entry, Stored

PLAIN: Final = 0
ZSTD: Final = 1
LEVEL: Final = 1
WORTHWHILE_BYTES: Final = 128
LARGEST: Final = 1 << 31
"""More than SQLite takes as one value: a stored size beyond it is damage, whatever its checksum says."""

OVERHEAD_BYTES: Final = 256
"""What an entry takes beside its content: two rows, an index entry, and what pages leave free."""


class Packed(NamedTuple):
    """The content of one entry as stored: `head` and `size` are its plain bytes' lengths."""

    kind: str
    coding: int
    head: int
    size: int
    content: bytes | cramjam.Buffer
    checksum: int

    @property
    def bytes(self) -> int:
        return len(self.content) + OVERHEAD_BYTES


class Row(NamedTuple):
    """An entry as selected from a file, in the order of COLUMNS."""

    log: str
    first: int
    records: int
    at: float
    checksum: int
    kind: str
    coding: int
    head: int
    size: int
    content: bytes


COLUMNS: Final = "log, first, records, at, checksum, kind, coding, head, size, content"


class Damaged(Exception):
    """A row that does not hold what was once written to it; the text says how that was found."""


def pack(entry: Entry) -> Packed:
    plain = entry.head + entry.body if entry.head else entry.body
    coding = PLAIN
    content: bytes | cramjam.Buffer = plain
    if len(plain) >= WORTHWHILE_BYTES:
        shorter = cramjam.zstd.compress(plain, level=LEVEL)
        if len(shorter) < len(plain):
            coding, content = ZSTD, shorter
    about = f"{entry.kind}\0{coding}\0{len(entry.head)}\0{len(plain)}\0"
    checksum = zlib.crc32(content, zlib.crc32(about.encode()))
    return Packed(entry.kind, coding, len(entry.head), len(plain), content, checksum)


def checksum_at(content: int, log: str, first: int, records: int, at: float) -> int:
    """The checksum of a content at its place: damage to either is found."""
    return zlib.crc32(f"{log}\0{first}\0{records}\0{at!r}".encode(), content)


def unpack(row: Row) -> Stored:
    """Raises Damaged."""
    about = f"{row.kind}\0{row.coding}\0{row.head}\0{row.size}\0"
    try:
        content = zlib.crc32(row.content, zlib.crc32(about.encode()))
        sound = row.checksum == checksum_at(content, row.log, row.first, row.records, row.at)
    except (TypeError, ValueError) as error:
        raise Damaged("a value of another type than was written") from error
    if not sound:
        raise Damaged("checksum mismatch")
    plain = _plain(row)
    entry = Entry(row.log, row.records, row.kind, plain[row.head :], head=plain[: row.head])
    return Stored(entry, row.first, row.at)


def _plain(row: Row) -> bytes:
    if not 0 <= row.head <= row.size < LARGEST:
        raise Damaged(f"a size that cannot be ({row.size} bytes)")
    if row.coding == PLAIN:
        plain = row.content
    elif row.coding == ZSTD:
        # Into a space of the stated size: content that says less than it is cannot take more memory.
        space = bytearray(row.size)
        try:
            written = cramjam.zstd.decompress_into(row.content, space)
        except cramjam.DecompressionError as error:
            raise Damaged(f"cannot be decompressed ({error})") from error
        plain = bytes(memoryview(space)[:written])
    else:
        raise Damaged(f"an unknown coding ({row.coding})")
    if len(plain) != row.size:
        raise Damaged(f"{len(plain)} bytes where {row.size} were stored")
    return plain
