"""Parquet and Arrow IPC files: rows in slices; the position is the number of rows done.

These files never grow, so what identifies one is its size, its first bytes and its footer. One that is
compressed once more, or lies in a ZIP archive, is unpacked to a temporary file first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import polars as pl

from headrace.ingest.files.compression import CHUNK, ByteStream
from headrace.ingest.files.discover import Found
from headrace.ingest.files.log import Reading
from headrace.ingest.files.mark import HEAD, TAIL, Mark, Trail, digest
from headrace.ingest.files.sniff import is_arrow_stream
from headrace.ingest.formats import create
from headrace.ingest.formats.base import Damaged
from headrace.model import Position, RawBatch

STREAM_BYTES: Final = 256 << 20
"""Of an Arrow stream at most: there is no way to read one a piece at a time."""

SAMPLE_ROWS: Final = 500  # enough to know how many bytes a row takes


@dataclass(frozen=True, slots=True)
class Sheet:
    """A columnar file on disk; `spool` is the temporary file it was unpacked to, if it was."""

    path: Path
    kind: str
    trail: Trail
    spool: IO[bytes] | None = None

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


def open_sheet(found: Found, kind: str, stream: ByteStream, *, packed: bool) -> Sheet:
    """The file in a form that can be read at any place. Raises Damaged, OSError."""
    spool = None
    path = Path(found.path)
    if packed:
        spool = tempfile.NamedTemporaryFile(prefix="headrace-")  # noqa: SIM115  closed with the sheet
        shutil.copyfileobj(cast("Any", stream), spool, CHUNK)
        spool.flush()
        path = Path(spool.name)
    with path.open("rb") as file:
        trail = Trail()
        trail.head = file.read(HEAD)
        trail.offset = file.seek(0, 2)
        file.seek(max(0, trail.offset - TAIL))
        trail.tail = file.read(TAIL)
    if is_arrow_stream(trail.head):
        stream_path, packed_in = path, spool
        spool = _as_file(stream_path, trail.offset)
        path = Path(spool.name)
        if packed_in is not None:
            packed_in.close()
    return Sheet(path, kind, trail, cast("IO[bytes] | None", spool))


def _as_file(path: Path, size: int) -> Any:
    """An Arrow IPC stream, which can only be read from its start, as a temporary file of the file format."""
    if size > STREAM_BYTES:
        raise Damaged(
            f"is an Arrow stream of {size:,} bytes, which is held whole, at most {STREAM_BYTES:,} of them; "
            "write it in the file format, or as Parquet"
        )
    try:
        frame = pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Damaged(f"Arrow stream cannot be read: {error}") from None
    spool = tempfile.NamedTemporaryFile(prefix="headrace-")  # noqa: SIM115  closed with the sheet
    frame.write_ipc(spool.name)
    return spool


class SheetLog:
    """The rows of a columnar file as a log."""

    def __init__(self, found: Found, partition: str, sheet: Sheet, reading: Reading) -> None:
        self.found = found
        self.partition = partition
        self.record = 0
        self.format = sheet.kind
        self.follow = False
        self.drained = False
        self.trail = sheet.trail
        self._sheet = sheet
        self._reading = reading
        self._decoder = create(sheet.kind, reading.settings, reading.hints)
        self._slices: Iterator[pl.DataFrame] | None = None
        self._ahead: pl.DataFrame | None = None
        self._rows = 0

    def resume(self, record: int, _mark: Mark, _trail: Trail) -> None:
        self.record = record

    def next(self) -> RawBatch | None:
        try:
            frame = self._next_frame()
        except pl.exceptions.PolarsError as error:
            raise Damaged(f"{self.format} file cannot be read after {self.record:,} rows: {error}") from None
        if frame is None:
            self.drained = True
            return None
        first = self.record
        self.record += frame.height
        return RawBatch(
            partition=self.partition,
            first_record=first,
            position=Position(self.record, self.mark().to_state()),
            payload=frame,
            decoder=self._decoder,
            size=int(frame.estimated_size()),
            origin=self.found.name,
            accepted_at=self._reading.clock.time(),
        )

    def mark(self) -> Mark:
        return Mark(
            path=self.found.path,
            member=self.found.member,
            offset=self.trail.offset,
            head_size=len(self.trail.head),
            head=digest(self.trail.head),
            tail=digest(self.trail.tail),
            format=self.format,
            ended=self.drained,
        )

    def identity(self) -> tuple[int, int] | None:
        return None

    def remaining(self) -> int:
        """Bytes left, by the share of rows done."""
        if not self._rows or self.drained:
            return 0
        return max(0, self.trail.offset * (self._rows - self.record) // self._rows)

    def check_same(self) -> None:
        """A columnar file is read as it was found."""

    def close(self) -> None:
        self._slices = None
        self._sheet.close()

    def _next_frame(self) -> pl.DataFrame | None:
        if self._slices is None:
            self._open()
        assert self._slices is not None
        frame = self._ahead
        self._ahead = next((part for part in self._slices if part.height), None)
        self.drained = self._ahead is None
        return frame

    def _open(self) -> None:
        scan = (
            pl.scan_parquet(self._sheet.path) if self.format == "parquet" else pl.scan_ipc(self._sheet.path)
        )
        self._rows = int(scan.select(pl.len()).collect().item())
        few = scan.slice(self.record, SAMPLE_ROWS).collect()
        row_bytes = max(1, int(few.estimated_size() / max(1, few.height)))
        rows = max(1, self._reading.batch_bytes // row_bytes)
        left = scan.slice(self.record)
        slices = iter(left.collect_batches(chunk_size=rows, maintain_order=True))
        self._slices = (part.slice(at, rows) for part in slices for at in range(0, max(1, part.height), rows))
        self._ahead = next((part for part in self._slices if part.height), None)
