"""One file as a log: whole records in batches, each with the mark to resume after it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.core.clock import Clock
from headrace.core.errors import ConfigError
from headrace.core.log import event
from headrace.ingest.files.compression import CHUNK, ByteStream, PlainStream, open_stream
from headrace.ingest.files.discover import Found
from headrace.ingest.files.mark import HEAD, Mark, Trail, digest
from headrace.ingest.files.options import Settings
from headrace.ingest.files.sniff import sniff
from headrace.ingest.files.winding import wind_to
from headrace.ingest.formats import BY_LINES, COLUMNAR, create, splitter
from headrace.ingest.formats.base import BOM, KEPT_BYTES, CsvLayout, Damaged, Hints, Splitter, TooLarge
from headrace.ingest.formats.dialect import SAMPLE_RECORDS, infer
from headrace.ingest.formats.split import CsvSplitter
from headrace.model import Decoder, Position, RawBatch

log = logging.getLogger(__name__)

SNIFFED: Final = 64 << 10
"""Bytes looked at to tell the format: enough for a long first line."""

INFERRED: Final = 1 << 20
"""Bytes a CSV file's layout is inferred from at most: 1,000 records of 1 kB."""


ENOUGH: Final = 2
"""Records, a header perhaps among them, whose types are told without the half one a file may end in."""

COMPARED: Final = 64 << 10
"""Bytes of an unfinished line that are compared with the file before more is read."""


class Replaced(Exception):
    """The file is no longer the one that was read so far."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What all logs of a source share."""

    settings: Settings
    hints: Hints
    clock: Clock
    batch_bytes: int


class TextLog:
    """A stream of bytes cut into records. Synchronous: runs in a worker thread."""

    def __init__(
        self, found: Found, partition: str, stream: ByteStream, reading: Reading, *, follow: bool = False
    ) -> None:
        self.found = found
        self.partition = partition
        self.record = 0
        self.trail = Trail()
        self.format = ""
        self.layout: CsvLayout | None = None
        self.follow = follow
        self.drained = False
        self._stream = stream
        self._reading = reading
        self._buffer = b""
        self._at_end = False
        self._damage: Damaged | None = None
        self._splitter: Splitter | None = None
        self._decoder: Decoder | None = None
        self._skipped: tuple[bytes, int] | None = None
        self._half = 0
        self._quoted = False
        self._again = False

    def resume(self, record: int, mark: Mark, trail: Trail) -> None:
        """Go on after a mark that the stream was found to match; the stream stands behind it."""
        self.record = record
        self.trail = trail
        self.layout = mark.layout
        self._half, self._quoted, self._again = mark.half, mark.quoted, mark.again
        if mark.format:
            self._begin(mark.format, dict(mark.splitter))

    def next(self) -> RawBatch | None:
        """The next batch; None if there is none for now. Raises Damaged after the last good record."""
        self._at_end = False
        if self._half and not self._past_half():
            self._nothing()
            return None
        if self._splitter is None and not self._prepare():
            self._nothing()
            return None
        if self._skipped is not None:
            return self._skip()
        want = self._reading.batch_bytes
        while True:
            self._fill(want)
            taken = self._take(want)
            if taken is not None:
                return taken
            if self._at_end and len(self._buffer) <= want:
                self._nothing()
                return None
            want = max(want, 2 * len(self._buffer))  # a long record: each look at it costs twice the last

    def mark(self) -> Mark:
        head_size = min(HEAD, len(self.trail.head))
        device, inode = self.identity() or (0, 0)
        return Mark(
            path=self.found.path,
            member=self.found.member,
            offset=self.trail.offset,
            head_size=head_size,
            head=digest(self.trail.head[:head_size]),
            tail=digest(self.trail.tail),
            device=device,
            inode=inode,
            format=self.format,
            layout=self.layout,
            splitter=dict(self._splitter.state) if self._splitter else {},
            ended=self.drained,
            half=self._half,
            quoted=self._quoted,
            again=self._again,
        )

    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the open file, where it is one that can grow."""
        if not isinstance(self._stream, PlainStream) or not self._stream.file.seekable():
            return None
        stat = os.fstat(self._stream.file.fileno())
        return stat.st_dev, stat.st_ino

    def remaining(self) -> int:
        """Bytes of the file that were not given yet."""
        identity = self.identity()
        if identity is None:
            return self._stream.remaining() + len(self._buffer)
        assert isinstance(self._stream, PlainStream)
        return max(0, os.fstat(self._stream.file.fileno()).st_size - self.trail.offset)

    def check_same(self) -> None:
        """Raise Replaced if the file was truncated, or rewritten in place."""
        if self.identity() is None or not (self.trail.offset or self._buffer):
            return
        assert isinstance(self._stream, PlainStream)
        handle = self._stream.file.fileno()
        if os.fstat(handle).st_size < self.trail.offset + len(self._buffer):
            raise Replaced(self.found.name)
        head, tail = self.trail.head, self.trail.tail
        # A half line that waits for its end must not be joined with the rest of another file's line.
        waiting = self._buffer[:COMPARED]
        expected = ((0, head), (self.trail.offset - len(tail), tail), (self.trail.offset, waiting))
        if any(os.pread(handle, len(known), at) != known for at, known in expected):
            raise Replaced(self.found.name)

    def close(self) -> None:
        self._stream.close()

    @property
    def _final(self) -> bool:
        return self._at_end and not self.follow and self._damage is None

    def _nothing(self) -> None:
        self.drained = True
        if self._damage is not None:
            raise self._damage

    def _fill(self, want: int) -> None:
        pieces = [self._buffer]
        size = len(self._buffer)
        while size < want and not self._at_end:
            piece = self._read()
            pieces.append(piece)
            size += len(piece)
        self._buffer = b"".join(pieces)

    def _read(self) -> bytes:
        if self._damage is not None:
            self._at_end = True
            return b""
        try:
            piece = self._stream.read(CHUNK)
        except Damaged as damage:
            self._damage = damage
            piece = b""
        self._at_end = not piece
        return piece

    def _take(self, most: int) -> RawBatch | None:
        """A batch from the buffer's first `most` bytes; starts to skip a record that is too large."""
        assert self._splitter is not None
        limit = self._reading.settings.max_record_bytes
        # Large batches take what the last read brought beyond them: no copy is as cheap as none.
        window = self._buffer if most >= CHUNK else self._buffer[:most]
        final = self._final and len(window) == len(self._buffer)
        by_lines = self.format in BY_LINES
        half = 0
        try:
            taken = self._splitter.take(window, final=final and not by_lines, limit=limit)
            if final and by_lines and not taken.numbers:
                taken = self._splitter.take(window, final=True, limit=limit)
                half = taken.consumed
        except Damaged as damage:
            self._damage, self._at_end, self._buffer = damage, True, b""
            return None
        self._consume(taken.consumed)
        if taken.numbers:
            assert self._decoder is not None
            if half:
                ended = self._splitter.take(taken.payload + b"\n", final=False, limit=limit + 1)
                self._quoted = not ended.numbers
            return self._batch(taken.payload, taken.numbers, self._decoder, half=half)
        if len(window) - taken.consumed > limit:
            self._skipped = (self._buffer[:KEPT_BYTES], 0)
            return self._skip()
        return None

    def _skip(self) -> RawBatch | None:
        """Read on to the end of a record that is too large, keeping only its beginning."""
        assert self._splitter is not None
        assert self._skipped is not None
        head, size = self._skipped
        end = -1
        while end < 0:
            end = self._splitter.skip(self._buffer) if self._buffer else -1
            step = len(self._buffer) if end < 0 else end
            size += step
            self._consume(step)
            self._skipped = (head, size)
            if end < 0:
                self._fill(CHUNK)
                if not self._buffer and self._at_end:
                    break
        if end < 0 and self.follow:
            return None
        self._skipped = None
        limit = self._reading.settings.max_record_bytes
        where = f"{self.found.name}:{self.record + 1}"
        decoder = TooLarge(where, size, limit)
        return self._batch(head[: min(size, KEPT_BYTES)], 1, decoder, half=size if end < 0 else 0)

    def _consume(self, size: int) -> None:
        with memoryview(self._buffer) as view:
            self.trail.advance(view[:size])
        self._buffer = self._buffer[size:]

    def _past_half(self) -> bool:
        """After a record that its file ended in: over its newline, or back before it if it goes on."""
        self._fill(len(b"\r\n"))
        if not self._buffer or (self._buffer == b"\r" and not self._quoted):
            return False  # as it was, or about to be ended
        for newline in (b"\n", b"\r\n"):
            if self._buffer.startswith(newline) and not self._quoted:
                self._half = 0
                self._consume(len(newline))
                return True
        self._go_back()
        return True

    def _go_back(self) -> None:
        """Read the last record again, as a whole; the first one together with all that was made of it."""
        event(log.info, "files.record_went_on", file=self.found.name, record=self.record)
        self.record -= 1
        start = self.trail.offset - self._half if self.record else 0
        if self.identity() is None:
            self._stream.close()
            self._stream = open_stream(Path(self.found.path), self.found.member)
        trail = wind_to(self._stream, start)
        if trail is None:
            raise Damaged("was made shorter while it was read")
        self.trail, self._buffer, self._at_end, self._damage = trail, b"", False, None
        self._half, self._again = 0, True
        if not start:  # its format, header and types were told from a part of them
            self._splitter, self.layout, self.format = None, None, ""

    def _batch(self, payload: bytes, numbers: int, decoder: Decoder, *, half: int = 0) -> RawBatch:
        first = self.record
        again, self._again, self._half = self._again, False, half
        self.record += numbers
        waiting = self.remaining() if self.identity() is not None else len(self._buffer)
        self.drained = waiting == 0 and (self._at_end or self.identity() is not None)
        return RawBatch(
            partition=self.partition,
            first_record=first,
            position=Position(self.record, self.mark().to_state()),
            payload=payload,
            decoder=decoder,
            size=len(payload),
            origin=self.found.name,
            accepted_at=self._reading.clock.time(),
            again=again,
        )

    def _prepare(self) -> bool:
        """Tell the format, and the layout of CSV, from the first bytes; False if there are none yet."""
        self._fill(SNIFFED)
        if not self._buffer or (self.follow and b"\n" not in self._buffer and len(self._buffer) < SNIFFED):
            return False
        settings = self._reading.settings
        kind = sniff(self._buffer, self.found.name) if settings.format == "auto" else settings.format
        if kind in COLUMNAR:
            raise Damaged(f"is no {kind} file, though `format` says so")
        if kind == "csv":
            return self._prepare_csv()
        self._begin(kind, {})
        return True

    def _prepare_csv(self) -> bool:
        try:
            return self._infer()
        except ConfigError as error:  # of this file's header, not of the settings as such
            raise Damaged(str(error)) from None

    def _infer(self) -> bool:
        while (
            not self._at_end and len(self._buffer) < INFERRED and self._buffer.count(b"\n") <= SAMPLE_RECORDS
        ):
            self._fill(2 * len(self._buffer))
        settings = self._reading.settings
        if self.follow and settings.header is not False and self._buffer.count(b"\n") < 2:
            return False  # a header alone says nothing about types
        probe = infer(
            self._head_records(settings.delimiter or ",", settings.quote), settings, self._reading.hints
        )
        layout = infer(self._head_records(probe.delimiter, probe.quote), settings, self._reading.hints)
        self.layout = layout
        self._begin("csv", {})
        if layout.header:
            self._drop_header(layout)
        event(
            log.info,
            "files.dialect_inferred",
            file=self.found.name,
            delimiter=layout.delimiter,
            header=layout.header,
            columns=len(layout.columns),
            types=dict(zip(layout.columns, layout.types, strict=True)),
            null_values=list(layout.null_values),
        )
        return True

    def _head_records(self, delimiter: str, quote: str | None) -> bytes:
        """The whole records in the buffer; all of it where there is not one, or nothing follows."""
        cut = CsvSplitter(delimiter, '"' if quote is None else quote)
        whole = cut.take(self._buffer, final=False, limit=len(self._buffer))
        if whole.numbers < ENOUGH and self._at_end and not self.follow:
            whole = cut.take(self._buffer, final=True, limit=len(self._buffer))
        return whole.payload or self._buffer

    def _drop_header(self, layout: CsvLayout) -> None:
        skip = len(BOM) if self._buffer.startswith(BOM) else 0
        rest = self._buffer[skip:].lstrip(b"\r\n")
        skip = len(self._buffer) - len(rest)
        one = rest.find(b"\n") + 1
        while 0 < one < len(rest) and not _whole(rest[:one], layout):
            following = rest.find(b"\n", one) + 1
            if not following:
                break
            one = following
        self._consume(skip + (one or len(rest)))

    def _begin(self, kind: str, state: dict[str, object]) -> None:
        self.format = kind
        self._splitter = splitter(kind, self.layout, state)
        self._decoder = create(kind, self._reading.settings, self._reading.hints, self.layout)


def _whole(record: bytes, layout: CsvLayout) -> bool:
    cut = CsvSplitter(layout.delimiter, layout.quote)
    return cut.take(record + b"\n", final=False, limit=len(record) + 1).numbers > 0
