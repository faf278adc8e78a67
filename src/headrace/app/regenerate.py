"""Makes the next generation of an index from its documents, for another mapping, beside the one in use.

PROTOCOL 27: a snapshot is copied at exactly its position, then the log is applied from there until nearly
nothing is left; only then the old generation pauses, the rest is applied, and the catalogue decides which of
the two is run. Killed at any point, the old generation is the index, and the new one a folder to be deleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import anyio.to_thread
import polars as pl

from headrace.app.parts import Parts, make_index, make_source
from headrace.catalogue.entry import Building, Made, folder_of
from headrace.core.errors import Fatal
from headrace.core.registry import kind
from headrace.fields import hints_of
from headrace.index.base import Index, Reader
from headrace.ingest import formats
from headrace.ingest.base import Source
from headrace.ingest.formats.base import FormatOptions, Hints
from headrace.layout import index_directory
from headrace.model import RECORD, Batch, Operations, Position, RawBatch, Rejection
from headrace.pipeline.commit import IndexOwner
from headrace.settings import IndexConfig, PipelineConfig
from headrace.settings.convert import convert
from headrace.units import Size

COPY_ROWS = 10_000
NEARLY_RECORDS = 5_000
"""What is left of the log when the old generation pauses: applied in well under a second."""

ONE_ENTRY = Size(1)
"""A batch size that merges no entries: positions of the two generations then meet exactly."""


class Regeneration:
    """One generation in the making. The server holds the log from before it begins until it has decided."""

    def __init__(self, parts: Parts, made: Made, building: Building, pipeline: PipelineConfig) -> None:
        self._parts = parts
        self._made = made
        self._pipeline = pipeline
        path = ("catalogue", made.name)
        options = convert(kind("index", made.kind).settings_type, building.options, path, {})
        self._config = IndexConfig(made.name, made.kind, options)
        self._new_folder = folder_of(made.uuid, building.generation)
        self._at = Position(0)
        self._partition: str | None = None
        self._count = 0

    async def run(self, owner: IndexOwner, pause: Callable[[], Awaitable[Position]]) -> None:
        """Build it, up to the position at which `pause` has stopped the old one. Raises Fatal, Retryable.

        Returns with the new generation complete, committed and closed."""
        index = make_index(self._config, self._parts.settings, self._parts.clock, folder=self._new_folder)
        try:
            await index.open()
            await self._copy(owner, index)
            await self._apply(
                index, self._pipeline.batch_bytes, lambda source: source.lag() or 0, NEARLY_RECORDS
            )
            end = await pause()
            await self._apply(index, ONE_ENTRY, lambda _: end.record - self._at.record, 0)
            if self._at.record != end.record:
                raise Fatal(f"the generations did not meet: {self._at.record} and {end.record}")
        finally:
            with anyio.CancelScope(shield=True):
                await index.close()

    async def _copy(self, owner: IndexOwner, index: Index) -> None:
        """The documents of one commit, with its position: all or nothing, in the first commit."""
        await owner.flush()
        settings = self._parts.settings
        reader: Reader = (
            kind("index", self._made.kind)
            .load()
            .open_reader(index_directory(settings.data_dir, self._made.folder))
        )
        try:
            view = reader.view()
            found = [
                (partition, position)
                for (name, partition), position in view.watermarks().visible.items()
                if name == self._pipeline.name
            ]
            if not found:
                return
            [(partition, position)] = found
            hints = hints_of(index.fields)
            rows = view.scan(None, COPY_ROWS)
            while (frame := await anyio.to_thread.run_sync(next, rows, None)) is not None:
                await self._write(index, self._copied(frame, partition, hints))
            await self._write(index, self._end(partition, position))
            await index.commit()
            self._at, self._partition = position, partition
        finally:
            reader.close()

    def _end(self, partition: str, position: Position) -> Batch:
        """No documents, and the position that all of them together stand for."""
        decoder = formats.create("ndjson", FormatOptions(), {})
        raw = RawBatch(partition, position.record, position, b"", decoder, 0, "", 0.0, numbered=True)
        return Batch("copied", self._pipeline.name, raw, (), 0)

    def _copied(self, frame: pl.DataFrame, partition: str, hints: Hints) -> Batch:
        """Documents as operations of the log, each at its own place in it: its `_seq`."""
        numbers = frame["_seq"]
        payload = "\n".join(frame["_source"]).encode() + b"\n"
        raw = RawBatch(
            partition,
            0,
            Position(int(numbers[-1]) + 1),
            payload,
            formats.create("ndjson", FormatOptions(), hints),
            len(payload),
            f"generation {self._made.generation} of {self._made.name}",
            0.0,
            numbered=True,
        )
        decoded = raw.decoder.decode(raw)
        _refuse(decoded.rejections)
        frames = tuple(
            each.with_columns(numbers.gather(each[RECORD]).alias(RECORD)) for each in decoded.frames
        )
        operations = frame.select(
            pl.col("_seq").alias(RECORD),
            pl.lit("index").alias("op"),
            pl.col("_id").alias("id"),
            pl.lit(None, dtype=pl.String).alias("body"),
            pl.lit(None, dtype=pl.Int64).alias("if_seq"),
            pl.lit(value=False).alias("exact"),
        )
        raw = replace(raw, first_record=int(numbers[0]), operations=Operations(operations))
        self._count += frame.height
        before = replace(decoded, frames=frames)
        return Batch(f"copy-{self._count}", self._pipeline.name, raw, frames, frame.height, decoded=before)

    async def _apply(
        self, index: Index, batch_bytes: Size, left: Callable[[Source], int], enough: int
    ) -> None:
        """Apply the log until no more than `enough` is left, and commit."""
        pipeline = replace(self._pipeline, batch_bytes=batch_bytes)
        source = make_source(pipeline, self._parts.settings, index, self._parts.clock)
        try:
            await source.open({} if self._partition is None else {self._partition: self._at})
            while left(source) > enough:
                raw = await source.read()
                decoded = await anyio.to_thread.run_sync(raw.decoder.decode, raw)
                self._count += 1
                batch = Batch(
                    f"apply-{self._count}",
                    pipeline.name,
                    raw,
                    decoded.frames,
                    decoded.records,
                    decoded.rejections,
                    decoded=decoded,
                )
                # What the mapping refuses is a dead letter of the old generation, or becomes one of this.
                await self._write(index, batch, strict=False)
                self._at, self._partition = raw.position, raw.partition
        finally:
            await source.close()
        await index.commit()

    async def _write(self, index: Index, batch: Batch, *, strict: bool = True) -> None:
        rejected = await index.write(batch)
        if strict:
            _refuse(rejected)


def _refuse(rejections: tuple[Rejection, ...] | list[Rejection]) -> None:
    if rejections:
        first = rejections[0]
        raise Fatal(
            f"{len(rejections)} documents do not fit the new mapping, the first at _seq {first.record}: "
            f"{first.detail}; nothing was changed"
        )
