"""How far somebody was told that an index can be searched, kept on the disk while its commits are in memory.

A line is written before such an answer is given, and only then: one for all that wait for the same commit.
After a power loss the index is not searched before it has come this far again (PROTOCOL 24).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.files import replace_file, sync_folder
from headrace.model import PartitionKey

MARKS: Final = "answered.ndjson"
LONGEST: Final = 256 << 10
"""Bytes, after which the file is begun anew with what it says."""


class _Mark(msgspec.Struct, array_like=True):
    pipeline: str
    partition: str
    record: int


class Marks:
    """The file in one index's folder; `note` may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / MARKS
        self._lock = threading.Lock()
        self._noted: dict[PartitionKey, int] = {}

    def read(self) -> dict[PartitionKey, int]:
        """The highest of each partition. A line that was cut off had not been answered yet."""
        found: dict[PartitionKey, int] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return found
        for line in lines[:-1]:
            try:
                marks = msgspec.json.decode(line, type=list[_Mark])
            except msgspec.DecodeError:
                continue
            for mark in marks:
                key = (mark.pipeline, mark.partition)
                found[key] = max(mark.record, found.get(key, 0))
        return found

    def covers(self, key: PartitionKey, record: int) -> bool:
        return self._noted.get(key, 0) >= record

    def note(self, reached: Mapping[PartitionKey, int]) -> None:
        """Have it on the disk when this returns. Raises OSError."""
        with self._lock:
            more = {key: at for key, at in reached.items() if at > self._noted.get(key, 0)}
            if not more:
                return
            known = {**self._noted, **more}
            if not self._noted or self._path.stat().st_size > LONGEST:
                replace_file(self._path, _line(known))
            else:
                _append(self._path, _line(more))
            self._noted = known

    def forget(self) -> None:
        """All that was noted is durable in the index itself, or was reached again."""
        with self._lock:
            self._noted = {}
            if self._path.exists():
                self._path.unlink()
                sync_folder(self._path.parent)


def _line(marks: Mapping[PartitionKey, int]) -> bytes:
    # The newline at both ends: one that was cut off before it costs nothing but itself.
    return b"\n" + msgspec.json.encode([_Mark(*key, at) for key, at in marks.items()]) + b"\n"


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            raise OSError(28, "No space left on device", str(path))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
