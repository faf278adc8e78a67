"""Entries of a log → raw batches: neighbours of one kind become one batch, and no number moves by that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from headrace.buffer.base import BULK, BulkHead, Stored, unpack_head
from headrace.ingest.formats.base import BOM, FormatOptions, Hints
from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.ingest.http_push import body as bodies
from headrace.ingest.http_push.decode import Elements, Lines, Piece, Refuse, Tables, WithSurplus
from headrace.ingest.http_push.operations import fault, operations
from headrace.model import Decoder, Operations, Position, RawBatch

BY_LINES = frozenset({BULK, "ndjson"})


@dataclass(slots=True)
class Run:
    """Neighbours that go into one batch; `fault` is why an entry that is alone in it cannot be read."""

    stored: list[Stored] = field(default_factory=list)
    heads: list[BulkHead] = field(default_factory=list)
    size: int = 0
    fault: str | None = None

    def takes(self, one: Stored, limit: int) -> bool:
        last = self.stored[-1]
        return (
            self.fault is None
            and last.entry.kind == one.entry.kind
            and last.end == one.first
            and self.size + _size(one) <= limit
        )

    def add(self, one: Stored, head: BulkHead, why: str | None) -> None:
        self.stored.append(one)
        self.heads.append(head)
        self.size += _size(one)
        self.fault = why


class Merger:
    """Makes the batches of one partition. Its line decoders learn from what they saw, for speed only."""

    def __init__(
        self, partition: str, origin: str, options: FormatOptions, hints: Hints, batch_bytes: int
    ) -> None:
        self._partition = partition
        self._origin = origin
        self._options = options
        self._hints = hints
        self._batch_bytes = batch_bytes
        inner = NdjsonDecoder(hints, unit="record")
        limit = options.max_record_bytes
        self._lines = {kind: Lines(inner, limit, operations=kind == BULK) for kind in BY_LINES}

    def batches(self, stored: Sequence[Stored]) -> Iterator[RawBatch]:
        for run in self._runs(stored):
            yield self._batch(run)

    def _runs(self, stored: Sequence[Stored]) -> Iterator[Run]:
        run = Run()
        for one in stored:
            head, why = _checked(one)
            if run.stored and (why is not None or not run.takes(one, self._batch_bytes)):
                yield run
                run = Run()
            run.add(one, head, why)
        if run.stored:
            yield run

    def _batch(self, run: Run) -> RawBatch:
        first, end = run.stored[0].first, run.stored[-1].end
        payload, decoder = self._payload(run)
        asked: Operations | None = None
        if run.fault is None and run.stored[0].entry.kind == BULK:
            parts = [(one.entry.records, head) for one, head in zip(run.stored, run.heads, strict=True)]
            asked = operations(parts, first)
        return RawBatch(
            partition=self._partition,
            first_record=first,
            position=Position(end),
            payload=payload,
            decoder=decoder,
            size=max(1, run.size),
            origin=self._origin,
            accepted_at=min(one.accepted_at for one in run.stored),
            operations=asked,
            numbered=True,
        )

    def _payload(self, run: Run) -> tuple[bytes, Decoder]:
        kind = run.stored[0].entry.kind
        if run.fault is not None:
            return run.stored[0].entry.body, Refuse(run.fault)
        if kind in BY_LINES:
            return self._joined_lines(run)
        pieces: list[Piece] = []
        at = 0
        for one in run.stored:
            stop = at + len(one.entry.body)
            pieces.append(Piece(at, stop, one.first, one.end))
            at = stop
        payload = b"".join([one.entry.body for one in run.stored])
        if kind == "json":
            return payload, Elements(tuple(pieces), self._lines["ndjson"])
        return payload, Tables(kind, tuple(pieces), self._options, self._hints)

    def _joined_lines(self, run: Run) -> tuple[bytes, Decoder]:
        """As many lines as there are numbers, whatever each body ends with."""
        parts: list[bytes] = []
        surplus: list[tuple[Piece, tuple[bytes, ...]]] = []
        for one in run.stored:
            body, over = _lines(one)
            parts.append(body)
            if over:
                surplus.append((Piece(0, 0, one.first, one.end), over))
        decoder: Decoder = self._lines[run.stored[0].entry.kind]
        return b"".join(parts), WithSurplus(decoder, tuple(surplus)) if surplus else decoder


def _lines(one: Stored) -> tuple[bytes, tuple[bytes, ...]]:
    """The lines of an entry, one for each of its numbers, and those that are too many."""
    body = one.entry.body.removeprefix(BOM)
    if body and not body.endswith(b"\n"):
        body += b"\n"
    lines, room = body.count(b"\n"), one.entry.records
    if lines == room:
        return body, ()
    if lines < room:
        return body + b"\n" * (room - lines), ()
    found = body.split(b"\n")[:-1]
    over = tuple(line for line in found[room:] if line and not line.isspace())
    return b"\n".join([*found[:room], b""]), over


def _checked(one: Stored) -> tuple[BulkHead, str | None]:
    entry = one.entry
    if entry.kind != BULK:
        known = entry.kind in bodies.PLAIN
        return BulkHead(), None if known else f"entries of kind {entry.kind!r} are not known to this version"
    try:
        head = unpack_head(entry.head)
    except msgspec.DecodeError as error:
        return BulkHead(), f"its head is not readable: {error}"
    return head, fault(entry.records, head)


def _size(one: Stored) -> int:
    return len(one.entry.body) + len(one.entry.head)
