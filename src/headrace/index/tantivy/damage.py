"""Damaged files: what the engine's own checksums say, and what it does when it meets one (it may panic).

Each file of a segment ends with a footer: JSON with the engine's version and the CRC-32 of all before it,
then the JSON's length and a magic number, four bytes each, little-endian (`directory/footer.rs` of Tantivy).
The engine reads the footer when it opens a file, and never compares the sum.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from headrace.core.errors import HeadraceError, StoreError

T = TypeVar("T")

MAGIC: Final = 1337
TAIL: Final = struct.Struct("<II")
CHUNK: Final = 1 << 20

_SAID: Final = ("Data corrupted", "Data corruption", "IO error", "FST", "The value could not be read")
"""Parts of what the engine says where a file is not as it wrote it; no query is answered with these."""


class _Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    major: int
    minor: int
    patch: int
    index_format_version: int


class _Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: _Version
    crc: int


class _Damaged(Exception):
    """Why a file is not what the engine wrote."""


def damaged_files(engine: Path, names: Iterable[str]) -> dict[str, str]:
    """Of these files, those that are not as the engine wrote them, each with what is wrong."""
    found: dict[str, str] = {}
    versions: dict[str, _Version] = {}
    for name in names:
        try:
            versions[name] = _checked(engine / name)
        except _Damaged as error:
            found[name] = str(error)
        except OSError as error:
            found[name] = f"it cannot be read: {error.strerror}"
    return found | _strange(versions)


def readable(call: Callable[[], T], what: str) -> T:
    """What the engine reads from its files. Raises StoreError where it refuses or panics (no `Exception`)."""
    try:
        return call()
    except (HeadraceError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise StoreError(f"{what} cannot be read: {error}; see headrace verify") from error


def is_told_of(error: Exception) -> bool:
    """Whether the engine complains of its files, and not of what it was asked."""
    return any(part in str(error) for part in _SAID)


def _checked(path: Path) -> _Version:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < TAIL.size:
            raise _Damaged(f"it has {size} bytes, fewer than a footer")
        file.seek(size - TAIL.size)
        length, magic = TAIL.unpack(file.read(TAIL.size))
        if magic != MAGIC or length > size - TAIL.size:
            raise _Damaged("it does not end with a footer")
        end = size - TAIL.size - length
        file.seek(end)
        try:
            footer = msgspec.json.decode(file.read(length), type=_Footer)
        except msgspec.DecodeError as error:
            raise _Damaged(f"its footer cannot be read: {error}") from error
        file.seek(0)
        if _sum(file, end) != footer.crc:
            raise _Damaged("its checksum is another one")
    return footer.version


def _sum(file: BinaryIO, end: int) -> int:
    sum_, left = 0, end
    while left and (chunk := file.read(min(CHUNK, left))):
        sum_ = zlib.crc32(chunk, sum_)
        left -= len(chunk)
    return sum_


def _strange(versions: Mapping[str, _Version]) -> dict[str, str]:
    """Files that name another version than the rest of their segment; only deletes come later, and may."""
    found: dict[str, str] = {}
    segments: dict[str, list[str]] = {}
    for name in versions:
        if not name.endswith(".del"):
            segments.setdefault(name.partition(".")[0], []).append(name)
    for names in segments.values():
        (common, _), *_ = Counter(versions[name] for name in names).most_common(1)
        found |= {
            name: "its footer names another version than its segment's other files"
            for name in names
            if versions[name] != common
        }
    return found
