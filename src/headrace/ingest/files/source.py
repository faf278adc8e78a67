"""The source `files`: decides between reading once and following, and lends both a worker thread."""

from __future__ import annotations

import sys
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Final, cast

import anyio.to_thread

from headrace.core.errors import ConfigError, EndOfInput, Fatal
from headrace.ingest.base import Guarantee, SourceContext
from headrace.ingest.files.compression import MAGIC, CompressedStream, PlainStream, Replayed, detect
from headrace.ingest.files.discover import STDIN, Found, check_literal, find
from headrace.ingest.files.follow import Follow
from headrace.ingest.files.log import Reading, TextLog
from headrace.ingest.files.mark import from_state
from headrace.ingest.files.matching import Roster, roster
from headrace.ingest.files.once import Once, fault
from headrace.ingest.files.options import Settings
from headrace.ingest.formats.base import Damaged
from headrace.model import Position, RawBatch

POLL: Final = 0.05
"""Seconds between two looks: half of the 100 ms within which an appended line is promised."""

POLL_SLOWEST: Final = 1.0
POLL_SHARE: Final = 50
"""Looking may take one part in 50 of the time: with very many files it happens less often, down to 1/s."""

STDIN_GUARANTEE: Final = Guarantee(
    replayable=False,
    stable_ids=False,
    losses="standard input cannot be read again: what was not committed when the process dies is lost",
)
COPY_TRUNCATE: Final = "lines written between copy and truncation, where rotation works by copy-truncate"


class FileSource:
    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._reading = Reading(settings, context.hints, context.clock, context.batch_bytes)
        self._ready: deque[RawBatch] = deque()
        self._reader: Once | Follow | Stdin | None = None
        self._ended = False
        self._took = 0.0
        self._lag: int | None = (
            None  # as of the last look: the worker thread may be changing what it is made of
        )

    @property
    def guarantee(self) -> Guarantee:
        if STDIN in self._settings.paths:
            return STDIN_GUARANTEE
        return Guarantee(
            replayable=True, stable_ids=True, losses=COPY_TRUNCATE if self._settings.follow else ""
        )

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        self._ready.clear()
        self._ended = False
        await anyio.to_thread.run_sync(self._open, dict(resume_after))

    async def sample(self) -> RawBatch | None:
        return await anyio.to_thread.run_sync(self._sample)

    async def read(self) -> RawBatch:
        if self._reader is None:
            raise Fatal("source files is not open")
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._ended:
                raise EndOfInput
            # What the thread finds goes to `_ready`: a cancelled read leaves it there for the next one.
            await anyio.to_thread.run_sync(self._advance)
            if not self._ready and not self._ended:
                await self._context.clock.sleep(self._pause())

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Files are nobody's to forget."""

    def lag(self) -> int | None:
        return self._lag

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await anyio.to_thread.run_sync(reader.close)

    def _open(self, resume_after: dict[str, Position]) -> None:
        marks = {
            name: (position.record, from_state(position.state)) for name, position in resume_after.items()
        }
        known = roster({name: (record, mark) for name, (record, mark) in marks.items() if mark is not None})
        self._reader = self._make(known)
        self._lag = self._reader.lag()

    def _make(self, known: Roster) -> Once | Follow | Stdin:
        paths = self._settings.paths
        if STDIN in paths:
            return Stdin(self._reading)
        if self._settings.follow:
            return Follow(paths, known, self._reading, self._context.base)
        return Once(self._paths(), known, self._reading)

    def _paths(self) -> list[str]:
        paths, base = self._settings.paths, self._context.base
        check_literal(paths, base)
        found = find(paths, base)
        if not found:
            listed = ", ".join(repr(path) for path in paths)
            raise ConfigError(f"no file matches {listed} in {base.absolute()}", path=("paths",))
        return found

    def _sample(self) -> RawBatch | None:
        if STDIN in self._settings.paths:
            return None
        paths = find(self._settings.paths, self._context.base) if self._settings.follow else self._paths()
        reader = Once(paths, Roster(), self._reading)
        try:
            return reader.next()
        finally:
            reader.close()

    def _advance(self) -> None:
        reader, clock = self._reader, self._context.clock
        assert reader is not None
        started = clock.monotonic()
        batch = reader.step() if isinstance(reader, Follow) else reader.next()
        self._took = clock.monotonic() - started
        self._lag = reader.lag()
        if batch is not None:
            self._ready.append(replace(batch, caught_up=reader.caught_up))
        elif not isinstance(reader, Follow):
            self._ended = True

    def _pause(self) -> float:
        return min(POLL_SLOWEST, max(POLL, POLL_SHARE * self._took))


class Stdin:
    """Standard input, or any pipe, decompressed by content; a log of one reading."""

    def __init__(self, reading: Reading, pipe: IO[bytes] | None = None) -> None:
        rest = pipe or sys.stdin.buffer
        head = rest.read(max(len(magic) for magic in MAGIC.values()))
        kind = detect(head)
        if kind == "zip":
            raise Fatal("standard input is a ZIP archive, whose directory is at its end: give it as a file")
        file = cast("IO[bytes]", Replayed(head, rest))
        stream = PlainStream(file) if kind is None else CompressedStream(file, kind, 0)
        self._log = TextLog(Found("stdin"), f"stdin#{uuid.uuid4().hex}", stream, reading)

    def next(self) -> RawBatch | None:
        try:
            return self._log.next()
        except Damaged as error:
            raise Fatal(fault("stdin", error)) from None

    @property
    def caught_up(self) -> bool:
        return self._log.drained

    def lag(self) -> int | None:
        return None

    def close(self) -> None:
        """Standard input is not ours to close."""
