"""What the tests of `http_push` share: a buffer to push into, and its log read as the runtime reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.buffer.base import BULK, BulkHead, Entry, pack_head
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import EndOfInput
from headrace.ingest import http_push
from headrace.ingest.base import SourceContext
from headrace.ingest.http_push.source import HttpPushSource
from headrace.layout import buffer_directory
from headrace.model import RECORD, Position, RawBatch

LARGE = Bounds(max_bytes=1 << 28, log_bytes=1 << 28, max_age=None, file_bytes=1 << 26)


def entry(body: bytes, *, kind: str = "ndjson", log: str = "p", records: int | None = None) -> Entry:
    """A plain body as the door would append it."""
    counted = http_push.admit.count(kind, body, http_push.Settings().format)
    return Entry(log, counted if records is None else records, kind, body)


def bulk(*lines: bytes, head: BulkHead = BulkHead(), log: str = "p") -> Entry:  # noqa: B008  frozen
    return Entry(log, len(lines), BULK, b"".join(line + b"\n" for line in lines), pack_head(head))


async def push(data_dir: Path, *entries: Entry, bounds: Bounds = LARGE) -> str:
    """Append each as a request of its own, as a server that starts and stops; gives the incarnation."""
    directory = buffer_directory(data_dir)
    directory.mkdir(parents=True, exist_ok=True)
    buffer = Buffer(directory, bounds, SystemClock())
    await buffer.open()
    try:
        for one in entries:
            await buffer.append([one])
        return buffer.incarnation
    finally:
        await buffer.close()


def make(
    data_dir: Path,
    *,
    pipeline: str = "p",
    clock: Clock | None = None,
    batch_bytes: int = 1 << 20,
    once: bool = True,
    **options: Any,
) -> HttpPushSource:
    settings = msgspec.convert(options, http_push.Settings)
    context = SourceContext(
        pipeline, data_dir, clock or SystemClock(), {}, batch_bytes, once, data_dir=data_dir
    )
    return http_push.create(settings, context)


async def drain(
    source: HttpPushSource, resume: Mapping[str, Position] | None = None, most: int = 10**6
) -> list[RawBatch]:
    await source.open(resume or {})
    got: list[RawBatch] = []
    try:
        while len(got) < most:
            got.append(await source.read())
    except EndOfInput:
        pass
    finally:
        await source.close()
    return got


def records(batches: Sequence[RawBatch]) -> dict[int, dict[str, Any]]:
    """Every document by its number, without the fields that only its neighbours have."""
    found: dict[int, dict[str, Any]] = {}
    for raw in batches:
        for frame in raw.decoder.decode(raw).frames:
            for row in frame.to_dicts():
                number = row.pop(RECORD)
                assert raw.first_record <= number < raw.position.record
                assert number not in found
                found[number] = {name: value for name, value in row.items() if value is not None}
    return dict(sorted(found.items()))


def asked(batches: Sequence[RawBatch]) -> list[dict[str, Any]]:
    """Every operation, in order."""
    return [row for raw in batches if raw.operations for row in raw.operations.frame.to_dicts()]
