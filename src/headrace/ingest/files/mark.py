"""Where a file's reader stands, and how a file is known again by its content.

The hash of the first bytes says which file it is, the hash of the last bytes before the offset that it was
not rewritten behind our back. Device and inode are a hint only: file systems use them again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from headrace.ingest.formats.base import CsvLayout

HEAD: Final = 1024
TAIL: Final = 64


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What `Position.state` holds for a file.

    path:      where the file is now (its partition keeps the first name)
    member:    of a ZIP archive, else empty
    offset:    decompressed bytes done
    head_size: how many first bytes `head` hashes: grows to 1,024, then never changes
    row_group: of Parquet: how many row groups are done; record counts the rows
    splitter:  the splitter's own state
    ended:     the file was read to its end
    half:      bytes of the last record, where the file ended in it; 0 where it was terminated
    quoted:    that half ended within quotes: a newline after it is a part of it
    again:     the record after this place was read before, as such a half
    """

    path: str
    member: str = ""
    offset: int = 0
    head_size: int = 0
    head: str = ""
    tail: str = ""
    device: int = 0
    inode: int = 0
    format: str = ""
    layout: CsvLayout | None = None
    row_group: int = 0
    splitter: dict[str, Any] = {}
    ended: bool = False
    half: int = 0
    quoted: bool = False
    again: bool = False

    def to_state(self) -> dict[str, Any]:
        state: dict[str, Any] = msgspec.to_builtins(self)
        return state


def from_state(state: dict[str, Any]) -> Mark | None:
    """The mark kept in a position, None if it is not one of ours."""
    try:
        return msgspec.convert(state, Mark)
    except msgspec.ValidationError:
        return None


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


class Trail:
    """The first and last bytes seen of a stream, as it is read."""

    def __init__(self) -> None:
        self.offset = 0
        self.head = b""
        self.tail = b""

    def advance(self, data: bytes | memoryview) -> None:
        if len(self.head) < HEAD:
            self.head += bytes(data[: HEAD - len(self.head)])
        last = bytes(data[-TAIL:])
        self.tail = last if len(last) == TAIL else (self.tail + last)[-TAIL:]
        self.offset += len(data)

    def matches(self, mark: Mark) -> bool:
        """Whether this stream, at the mark's offset, is the file the mark was made of."""
        head = self.head[: mark.head_size]
        return self.offset == mark.offset and digest(head) == mark.head and digest(self.tail) == mark.tail
