"""A buffer to test with, and how to read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace.buffer.base import Entry, Stored
from headrace.buffer.reader import open_log
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import SystemClock

MB = 1 << 20
ROOMY = Bounds(max_bytes=100 * MB, log_bytes=100 * MB, max_age=None, file_bytes=10 * MB)


def entry(log: str, *records: str, head: bytes = b"") -> Entry:
    return Entry(log, len(records), "ndjson", "\n".join(records).encode(), head)


@asynccontextmanager
async def opened(directory: Path, bounds: Bounds = ROOMY, **options: Any) -> AsyncIterator[Buffer]:
    buffer = Buffer(directory, bounds, options.pop("clock", SystemClock()), **options)
    await buffer.open()
    try:
        yield buffer
    finally:
        await buffer.close()


def stored(directory: Path, log: str, after: int = 0) -> list[Stored]:
    """All that a new reader finds."""
    reader = open_log(directory, log)
    found: list[Stored] = []
    try:
        while more := reader.read(found[-1].end if found else after, size=1000):
            found.extend(more)
    finally:
        reader.close()
    return found


def bodies(directory: Path, log: str, after: int = 0) -> list[str]:
    return [line for item in stored(directory, log, after) for line in item.entry.body.decode().split("\n")]
