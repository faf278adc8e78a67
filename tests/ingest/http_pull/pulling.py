"""What the tests of `http_pull` share: a source on loopback, read as the runtime reads it, and time that passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.core.errors import EndOfInput, Retryable
from headrace.ingest import http_pull
from headrace.ingest.base import SourceContext
from headrace.ingest.http_pull.source import HttpPullSource
from headrace.model import RECORD, Position, RawBatch
from headrace.units import decode
from tick import TickClock

PAGINATIONS: dict[str, dict[str, Any]] = {
    "page": {"type": "page"},
    "offset": {"type": "offset"},
    "cursor": {"type": "cursor", "path": "meta.next"},
    "link": {"type": "link"},
    "next": {"type": "next_url", "path": "/meta/next"},
}


class Idle(Exception):
    """Nothing came for as long as the test was ready to wait."""


class Patient(TickClock):
    """Time passes at once; waits of more than `patience` seconds in all are Idle."""

    def __init__(self, patience: float = 1000.0) -> None:
        super().__init__()
        self.patience = patience
        self.waited = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.waited += seconds
        if self.waited > self.patience:
            self.waited = 0.0
            raise Idle


def make(url: str, *, clock: TickClock | None = None, **options: Any) -> HttpPullSource:
    settings = msgspec.convert({"url": url, **options}, http_pull.Settings, dec_hook=decode)
    return http_pull.create(settings, SourceContext("p", Path.cwd(), clock or Patient(), data_dir=Path.cwd()))


def paged(base: str, kind: str, **options: Any) -> HttpPullSource:
    """A source over one of the collection's paginations."""
    pagination = {**PAGINATIONS[kind], **options.pop("pagination", {})}
    return make(f"{base}/{kind}", records="items", pagination=pagination, **options)


async def drain(source: HttpPullSource, *, most: int = 10**6, tries: int = 200) -> list[RawBatch]:
    """Batches to the end (or until nothing comes); what is retryable is tried again, as the runtime does."""
    got: list[RawBatch] = []
    while len(got) < most:
        try:
            got.append(await source.read())
        except (EndOfInput, Idle):
            break
        except Retryable:
            tries -= 1
            if not tries:
                raise
    return got


async def pull(
    source: HttpPullSource, resume: Mapping[str, Position] | None = None, most: int = 10**6
) -> tuple[list[RawBatch], dict[str, Position]]:
    """Batches to the end, and the positions after them as they come back from an index."""
    await source.open(resume or {})
    try:
        got = await drain(source, most=most)
    finally:
        await source.close()
    return got, {**(resume or {}), **{raw.partition: stored(raw.position) for raw in got}}


def stored(position: Position) -> Position:
    state = msgspec.json.decode(msgspec.json.encode(position.state))
    return Position(position.record, state)


def records(batches: list[RawBatch]) -> list[dict[str, Any]]:
    """Every record in order of arrival; its number must be the next one of its partition."""
    found: list[dict[str, Any]] = []
    for raw in batches:
        decoded = raw.decoder.decode(raw)
        assert decoded.rejections == ()
        rows = [row for frame in decoded.frames for row in frame.to_dicts()]
        rows.sort(key=lambda row: int(row[RECORD]))
        assert [row.pop(RECORD) for row in rows] == list(range(raw.first_record, raw.position.record))
        found += rows
    return found


def ns(batches: list[RawBatch]) -> list[int]:
    return [row["n"] for row in records(batches)]
