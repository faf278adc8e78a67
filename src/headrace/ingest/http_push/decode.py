"""Decoders of pushed records. A record's number is known before its bytes are read, so each must keep it.

Line formats go by lines, blank ones where an operation brings no document; the others body by body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from headrace.ingest.formats.base import KEPT_BYTES, FormatOptions, Hints
from headrace.ingest.formats.csv import CsvDecoder
from headrace.ingest.formats.frames import FrameDecoder
from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.ingest.http_push import body as bodies
from headrace.model import RECORD, Decoded, Decoder, RawBatch, Rejection

SURPLUS: Final = "surplus_record"


class Lines:
    """A record per line. With `operations`, blank lines are records too: those of a delete or an update."""

    def __init__(self, inner: NdjsonDecoder, limit: int, *, operations: bool) -> None:
        self._inner = inner
        self._limit = limit
        self._operations = operations

    def decode(self, raw: RawBatch) -> Decoded:
        payload = _text(raw)
        large: list[Rejection] = []
        if len(payload) > self._limit:
            raw, large = self._without_large(raw)
            payload = _text(raw)
        if not (payload.startswith(b"\n") or b"\n\n" in payload):
            decoded = self._inner.decode(raw)
            return self._counted(raw, decoded, large)
        decoded = self._among_blanks(raw, payload)
        return self._counted(raw, decoded, [*large, *self._without_document(raw, payload, large)])

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return self._inner.original(raw, record)

    def _counted(self, raw: RawBatch, decoded: Decoded, more: list[Rejection]) -> Decoded:
        rejections = tuple(sorted([*decoded.rejections, *more], key=lambda rejection: rejection.record))
        used = raw.position.record - raw.first_record
        records = used if self._operations else decoded.records + len(more)
        return Decoded(decoded.frames, rejections, records, decoded.texts)

    def _among_blanks(self, raw: RawBatch, payload: bytes) -> Decoded:
        """Decode the other lines at full speed, then give them their numbers back."""
        lines = payload.split(b"\n")
        numbers = [raw.first_record + at for at, line in enumerate(lines) if line and not line.isspace()]
        if not numbers:
            return Decoded((), (), 0)
        filled = b"\n".join([lines[number - raw.first_record] for number in numbers])
        decoded = self._inner.decode(replace(raw, payload=filled + b"\n", first_record=0))
        if decoded.rejections:
            return self._inner.decode(raw)  # slower, but the messages name the records' own numbers
        known = pl.Series(RECORD, numbers, dtype=pl.Int64)
        frames = tuple(frame.with_columns(known.gather(frame[RECORD])) for frame in decoded.frames)
        return Decoded(frames, (), len(numbers), decoded.texts)

    def _without_document(self, raw: RawBatch, payload: bytes, large: list[Rejection]) -> list[Rejection]:
        """Records whose operation needs a document, and whose line is blank."""
        if not self._operations:
            return []
        free = {rejection.record for rejection in large}
        if raw.operations is not None:
            frame = raw.operations.frame
            free.update(frame.filter(pl.col("op").is_in(["update", "delete"]))[RECORD])
        lines = payload.split(b"\n")[: raw.position.record - raw.first_record]
        blank = (raw.first_record + at for at, line in enumerate(lines) if not line or line.isspace())
        return [
            Rejection(number, "decode", "malformed", f"{raw.origin}: record {number}: has no document", b"")
            for number in blank
            if number not in free
        ]

    def _without_large(self, raw: RawBatch) -> tuple[RawBatch, list[Rejection]]:
        rejections: list[Rejection] = []
        lines = _text(raw).split(b"\n")
        for at, line in enumerate(lines):
            if len(line) > self._limit:
                rejections.append(_too_large(raw, raw.first_record + at, line, self._limit))
                lines[at] = b""
        return (replace(raw, payload=b"\n".join(lines)) if rejections else raw), rejections


@dataclass(frozen=True, slots=True)
class Piece:
    """One request's share of a batch: its bytes, and the numbers `first` to `end` that they were given."""

    start: int
    stop: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Elements:
    """JSON arrays, or documents laid out at will: cut into lines, then as any lines."""

    pieces: tuple[Piece, ...]
    lines: Lines
    _cut: list[RawBatch] = field(default_factory=list, compare=False)

    def decode(self, raw: RawBatch) -> Decoded:
        as_lines, rejections = self._as_lines(raw)
        decoded = self.lines.decode(as_lines)
        return _with(decoded, rejections)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        if not self._cut:  # later steps may reject many: the bodies are cut up once
            self._cut.append(self._as_lines(raw)[0])
        return self.lines.original(self._cut[0], record)

    def _as_lines(self, raw: RawBatch) -> tuple[RawBatch, list[Rejection]]:
        """A line for each number, blank where the body has fewer elements."""
        every: list[bytes] = []
        rejections: list[Rejection] = []
        for piece in self.pieces:
            room = piece.end - piece.first
            try:
                found = bodies.json_lines(_text(raw)[piece.start : piece.stop])
            except bodies.Unreadable as error:
                rejections += _unreadable(raw, piece, str(error))
                found = []
            rejections += [
                _surplus(raw, piece, at, line) for at, line in enumerate(found[room:], start=room + 1)
            ]
            every += [*found[:room], *[b""] * (room - len(found))]
        return replace(raw, payload=b"\n".join([*every, b""])), rejections


@dataclass(frozen=True, slots=True)
class Tables:
    """CSV and Arrow: each body has its own columns, and those alike share a frame afterwards."""

    kind: str
    pieces: tuple[Piece, ...]
    options: FormatOptions
    hints: Hints
    _opened: dict[Piece, tuple[RawBatch, Decoder]] = field(default_factory=dict, compare=False)

    def decode(self, raw: RawBatch) -> Decoded:
        frames: list[pl.DataFrame] = []
        rejections: list[Rejection] = []
        for piece in self.pieces:
            try:
                part, decoder = self._open(raw, piece)
            except bodies.Unreadable as error:
                rejections += _unreadable(raw, piece, str(error))
                continue
            found, refused = self._read(raw, piece, part, decoder)
            frames += found
            rejections += refused
        rejections.sort(key=lambda rejection: rejection.record)
        records = sum(frame.height for frame in frames) + _numbered(rejections)
        return Decoded(tuple(_joined(frames)), tuple(rejections), records)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        for piece in self.pieces:
            if piece.first <= record < piece.end:
                try:
                    if piece not in self._opened:
                        self._opened[piece] = self._open(raw, piece)
                except bodies.Unreadable:
                    return None
                part, decoder = self._opened[piece]
                return decoder.original(part, record - piece.first)
        return None

    def _open(self, raw: RawBatch, piece: Piece) -> tuple[RawBatch, Decoder]:
        """A body as a batch of its own, its rows numbered from 0. Raises Unreadable."""
        body = _text(raw)[piece.start : piece.stop]
        origin = f"{raw.origin}: request of records {piece.first} to {piece.end - 1}"
        if self.kind == "arrow":
            frame = bodies.arrow_frame(body)
            return replace(raw, first_record=0, payload=frame, origin=origin), FrameDecoder()
        layout = bodies.csv_layout(body, self.options, self.hints)
        rows = bodies.csv_rows(body, layout)
        return replace(raw, first_record=0, payload=rows, origin=origin), CsvDecoder(
            layout, frozenset(self.hints)
        )

    def _read(
        self, raw: RawBatch, piece: Piece, part: RawBatch, decoder: Decoder
    ) -> tuple[list[pl.DataFrame], list[Rejection]]:
        room = piece.end - piece.first
        decoded = decoder.decode(part)
        number = pl.col(RECORD)
        frames = [frame.filter(number < room).with_columns(number + piece.first) for frame in decoded.frames]
        over = sorted(at for frame in decoded.frames for at in frame.filter(number >= room)[RECORD])
        over += [rejection.record for rejection in decoded.rejections if rejection.record >= room]
        kept = [
            replace(rejection, record=rejection.record + piece.first)
            for rejection in decoded.rejections
            if rejection.record < room
        ]
        surplus = [_surplus(raw, piece, at + 1, decoder.original(part, at)) for at in over]
        return [frame for frame in frames if frame.height], [*kept, *surplus]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The decoder of an entry that nobody can read: each of its records becomes a dead letter."""

    detail: str

    def decode(self, raw: RawBatch) -> Decoded:
        piece = Piece(0, len(_text(raw)), raw.first_record, raw.position.record)
        rejections = tuple(_unreadable(raw, piece, self.detail))
        return Decoded((), rejections, len(rejections))

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return _text(raw)[:KEPT_BYTES] if record == raw.first_record else None


@dataclass(frozen=True, slots=True)
class WithSurplus:
    """Lines beyond the numbers that were reserved for them, rejected beside those that go on."""

    inner: Decoder
    surplus: tuple[tuple[Piece, tuple[bytes, ...]], ...]

    def decode(self, raw: RawBatch) -> Decoded:
        return _with(self.inner.decode(raw), list(self._rejections(raw)))

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return self.inner.original(raw, record)

    def _rejections(self, raw: RawBatch) -> Iterator[Rejection]:
        for piece, lines in self.surplus:
            for at, line in enumerate(lines, start=piece.end - piece.first + 1):
                yield _surplus(raw, piece, at, line)


def _text(raw: RawBatch) -> bytes:
    assert isinstance(raw.payload, bytes)
    return raw.payload


def _with(decoded: Decoded, more: list[Rejection]) -> Decoded:
    rejections = sorted([*decoded.rejections, *more], key=lambda rejection: rejection.record)
    return Decoded(decoded.frames, tuple(rejections), decoded.records + _numbered(more), decoded.texts)


def _numbered(rejections: list[Rejection]) -> int:
    """How many are records that were accepted; the ledger counts by number, and a surplus one has none."""
    return sum(rejection.reason != SURPLUS for rejection in rejections)


def _joined(frames: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[pl.DataFrame]] = {}
    for frame in frames:
        alike.setdefault(tuple(frame.schema.items()), []).append(frame)
    for group in alike.values():
        yield group[0] if len(group) == 1 else pl.concat(group)


def _surplus(raw: RawBatch, piece: Piece, at: int, record: bytes | None) -> Rejection:
    """The `at`-th record of a body that was accepted as fewer; it has no number, so it shares the last."""
    room = piece.end - piece.first
    detail = (
        f"{raw.origin}: record {at} of a request accepted as {room:,} records (from {piece.first} on): did "
        "the options of its format change since?"
    )
    return Rejection(piece.end - 1, "decode", SURPLUS, detail, record, ordinal=at - room)


def _unreadable(raw: RawBatch, piece: Piece, why: str) -> list[Rejection]:
    body = _text(raw)[piece.start : piece.stop]
    where = f"{raw.origin}: request of records {piece.first} to {piece.end - 1}"
    numbers = range(piece.first, piece.end)
    return [
        Rejection(
            n, "decode", "malformed", f"{where}: {why}", body[:KEPT_BYTES] if n == piece.first else None
        )
        for n in numbers
    ]


def _too_large(raw: RawBatch, number: int, line: bytes, limit: int) -> Rejection:
    detail = f"{raw.origin}: record {number} of {len(line):,} bytes is over max_record_bytes ({limit:,})"
    return Rejection(number, "decode", "record_too_large", detail, line[:KEPT_BYTES])
