"""What every source promises, as tests to inherit: order, restart, cancellation, nothing lost or repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec

from headrace.core.errors import ConfigError, EndOfInput
from headrace.ingest.base import Source
from headrace.model import RECORD, Position, RawBatch
from headrace.testing.options import refused

Row = Mapping[str, object]
Identity = tuple[str, int]
Found = list[tuple[Identity, dict[str, object]]]

CHECKPOINTS = 12
"""How far a read is let go before it is cancelled: 0, 1, 2… steps of the event loop."""


class SourceContract:
    """Inherit, and say how to make the source and what it holds::

        class TestMine(SourceContract):
            rows = [{"n": 1}, {"n": 2}]
            def source(self, folder): return mine.create(mine.Settings(...), context(folder))

    `source` is called several times in a test and must find the same input each time. `empty` makes one
    over an input that holds nothing; `kind` is the kind's module, whose `Settings` must refuse the unknown.
    Make the batches small, so that there are several to be restarted between.
    """

    rows: Sequence[Row]
    kind: object = None

    def source(self, folder: Path) -> Source:
        raise NotImplementedError

    def empty(self, folder: Path) -> Source | None:  # noqa: ARG002
        return None

    def test_every_record_comes_once_and_in_order(self, tmp_path: Path) -> None:
        batches = anyio.run(_read, self.source(tmp_path), {})
        assert [dict(row) for row in self.rows] == [row for _, row in _rows(batches)]

    def test_positions_say_how_many_records_are_done(self, tmp_path: Path) -> None:
        done: dict[str, int] = {}
        for raw in anyio.run(_read, self.source(tmp_path), {}):
            assert raw.first_record >= done.get(raw.partition, 0), "a batch begins before the last one's end"
            assert raw.position.record > raw.first_record, "a batch that moves nothing"
            for (_, number), _ in _rows([raw]):
                assert raw.first_record <= number < raw.position.record, f"record {number} is outside"
            done[raw.partition] = raw.position.record

    def test_restarted_after_each_batch_nothing_is_lost_or_repeated(self, tmp_path: Path) -> None:
        whole = anyio.run(_read, self.source(tmp_path), {})
        assert len(whole) > 1, "give it batches small enough that there are several"
        pieces: list[RawBatch] = []
        positions: dict[str, Position] = {}
        for _ in range(len(whole) + 1):
            got = anyio.run(_read, self.source(tmp_path), _stored(positions), 1)
            positions |= {raw.partition: raw.position for raw in got}
            pieces += got
        assert _rows(whole) == _rows(pieces)
        assert anyio.run(_read, self.source(tmp_path), _stored(positions)) == []

    def test_closed_and_opened_again_it_resumes_where_it_is_told(self, tmp_path: Path) -> None:
        async def twice() -> tuple[list[RawBatch], list[RawBatch], list[RawBatch]]:
            source = self.source(tmp_path)
            first = await _read(source, {}, 1)
            positions = _stored({raw.partition: raw.position for raw in first})
            return first, await _read(source, positions), await _read(source, {})

        first, rest, whole = anyio.run(twice)
        assert _rows(whole) == _rows([*first, *rest])

    def test_a_cancelled_read_loses_nothing(self, tmp_path: Path) -> None:
        for steps in range(CHECKPOINTS):
            got = anyio.run(_read_cancelling, self.source(tmp_path), steps)
            assert [dict(row) for row in self.rows] == [row for _, row in _rows(got)], f"after {steps} steps"

    def test_the_end_stays_the_end(self, tmp_path: Path) -> None:
        async def ends() -> int:
            source = self.source(tmp_path)
            await source.open({})
            await _until_the_end(source)
            again = await _until_the_end(source)
            await source.close()
            return len(again)

        assert anyio.run(ends) == 0

    def test_a_sample_does_not_move(self, tmp_path: Path) -> None:
        async def sampled() -> tuple[RawBatch | None, list[RawBatch]]:
            source = self.source(tmp_path)
            before = await source.sample()
            await source.open({})
            await source.sample()
            return before, await _read(source, {})

        sample, batches = anyio.run(sampled)
        assert sample is not None, "there is input, so there is a sample"
        assert [dict(row) for row in self.rows] == [row for _, row in _rows(batches)]

    def test_acknowledging_moves_nothing(self, tmp_path: Path) -> None:
        async def acknowledged() -> list[RawBatch]:
            source = self.source(tmp_path)
            await source.open({})
            got = [await source.read()]
            await source.acknowledge({got[0].partition: got[0].position})
            got += await _until_the_end(source)
            lag = source.lag()
            assert lag is None or lag == 0, f"everything is read, and yet {lag} are left"
            await source.close()
            return got

        assert len(self.rows) == len(_rows(anyio.run(acknowledged)))

    def test_the_bytes_of_a_record_are_known_or_said_to_be_unknown(self, tmp_path: Path) -> None:
        for raw in anyio.run(_read, self.source(tmp_path), {}):
            for (_, number), _ in _rows([raw]):
                original = raw.decoder.original(raw, number)
                assert original is None or isinstance(original, bytes)

    def test_an_empty_input_ends_at_once(self, tmp_path: Path) -> None:
        source = self.empty(tmp_path)
        if source is not None:
            assert anyio.run(_read, source, {}) == []

    def test_closing_is_safe_without_opening_and_twice(self, tmp_path: Path) -> None:
        async def closed() -> None:
            source = self.source(tmp_path)
            await source.close()
            await source.open({})
            await source.close()
            await source.close()

        anyio.run(closed)

    def test_unknown_options_are_refused(self) -> None:
        assert self.kind is None or refused(self.kind)


async def _read(source: Source, resume: Mapping[str, Position], most: int | None = None) -> list[RawBatch]:
    """Open, read (at most so many batches), close. An input that is gone by now is a ConfigError."""
    try:
        await source.open(resume)
        return await _until_the_end(source, most)
    except ConfigError as error:
        raise AssertionError(f"the source could not be opened: {error}") from error
    finally:
        await source.close()


async def _until_the_end(source: Source, most: int | None = None) -> list[RawBatch]:
    got: list[RawBatch] = []
    try:
        while most is None or len(got) < most:
            got.append(await source.read())
    except EndOfInput:
        pass
    return got


async def _read_cancelling(source: Source, steps: int) -> list[RawBatch]:
    """Each read is cancelled once, `steps` checkpoints after its start, and then done in earnest."""
    got: list[RawBatch] = []
    await source.open({})
    try:
        while True:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_after, steps, scope)
                    got.append(await source.read())
            got.append(await source.read())
    except* EndOfInput:
        pass
    finally:
        await source.close()
    return got


async def _cancel_after(steps: int, scope: anyio.CancelScope) -> None:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


def _rows(batches: Sequence[RawBatch]) -> Found:
    """Every record with its identity; per batch in the order of its numbers."""
    found: Found = []
    for raw in batches:
        decoded = raw.decoder.decode(raw)
        assert not decoded.rejections, f"the input was to be good: {decoded.rejections[0]}"
        rows = [row for frame in decoded.frames for row in frame.iter_rows(named=True)]
        assert decoded.records == len(rows)
        found += [
            ((raw.partition, row.pop(RECORD)), row) for row in sorted(rows, key=lambda r: int(r[RECORD]))
        ]
    assert len(found) == len({identity for identity, _ in found}), "a record came twice"
    return found


def _stored(positions: Mapping[str, Position]) -> dict[str, Position]:
    """Positions as they come back from an index: through JSON."""
    through = {name: msgspec.json.decode(msgspec.json.encode(at)) for name, at in positions.items()}
    return {name: Position(plain["record"], plain["state"]) for name, plain in through.items()}
