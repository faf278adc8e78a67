"""Answers remembered by `Idempotency-Key`: in the files of the chain, their keys in memory, for an hour.

An answer given together with its append is on the disk with it, or neither is. Before a file goes, the
answers in it that still count are written again into the newest.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import cramjam

KEEP_SECONDS: Final = 3600.0
KEEP_ANSWERS: Final = 10_000
KEEP_BYTES: Final = 64 << 20
"""As stored; the oldest go first. An answer alone never takes more than a quarter of it."""

LARGEST: Final = 256 << 20
HEAD: Final = 8


class Place(NamedTuple):
    """Which file an answer is in, when it was given, how many bytes it takes there."""

    file: int
    at: float
    bytes: int


class Answers:
    """Which keys are known, oldest first; of the buffer's thread alone."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._bytes = 0

    def add(self, key: str, place: Place) -> None:
        self._drop(key)
        self._places[key] = place
        self._bytes += place.bytes

    def find(self, key: str, now: float) -> Place | None:
        self._prune(now)
        return self._places.get(key)

    def in_file(self, file: int, now: float) -> list[str]:
        self._prune(now)
        return [key for key, place in self._places.items() if place.file == file]

    def load(self, places: Iterable[tuple[str, Place]], now: float) -> None:
        """All at once, in whatever order they were found; of one key the latest counts."""
        for key, place in sorted(places, key=lambda pair: pair[1].at):
            self.add(key, place)
        self._prune(now)

    def _prune(self, now: float) -> None:
        while self._places:
            key, place = next(iter(self._places.items()))
            old = now - place.at > KEEP_SECONDS
            if not (old or len(self._places) > KEEP_ANSWERS or self._bytes > KEEP_BYTES):
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        place = self._places.pop(key, None)
        self._bytes -= place.bytes if place else 0


def pack_answer(answer: bytes) -> bytes:
    """Length, checksum, and the answer compressed."""
    content = bytes(cramjam.zstd.compress(answer, level=1))
    return len(answer).to_bytes(4, "big") + zlib.crc32(content).to_bytes(4, "big") + content


def unpack_answer(stored: bytes) -> bytes | None:
    """None for what is damaged: the request is then new, which its sender must expect anyway."""
    size, content = int.from_bytes(stored[:4], "big"), stored[HEAD:]
    if size > LARGEST or zlib.crc32(content) != int.from_bytes(stored[4:HEAD], "big"):
        return None
    space = bytearray(size)
    if cramjam.zstd.decompress_into(content, space) != size:
        return None
    return bytes(space)
