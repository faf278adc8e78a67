"""What every index promises, as tests to inherit: documents and positions together, nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import polars as pl

from headrace.index.base import Index
from headrace.model import RECORD, Batch, Decoded, Ledger, Position, RawBatch, Watermarks
from headrace.testing.options import refused

Row = Mapping[str, object]

KEY = ("contract", "p#0")


class IndexContract:
    """Inherit, and say how to make the index and what it holds::

        class TestMine(IndexContract):
            def index(self, folder): return mine.create(mine.Settings(...), IndexContext("i", folder, clock))
            def stored(self, folder): ...   # values of the field `n` of all committed documents, in any order

    The index must accept rows with an integer field `n`. `bad` is a row that it has to reject (declare `b`
    as an integer, strictly, say); without one that test shows nothing. `kind` is the kind's module.
    """

    bad: Row | None = None
    kind: object = None

    def index(self, folder: Path) -> Index:
        raise NotImplementedError

    def stored(self, folder: Path) -> Sequence[int]:
        raise NotImplementedError

    def test_documents_and_their_position_are_committed_together(self, tmp_path: Path) -> None:
        async def committed() -> tuple[Watermarks, Watermarks]:
            index = self.index(tmp_path)
            await index.open()
            await index.write(batch(0, 1, 2))
            await index.write(batch(3, 4))
            said = await index.commit()
            await index.close()
            return said, await _opened(self.index(tmp_path))

        said, found = anyio.run(committed)
        assert said == found
        assert {KEY: Position(5, {"at": 5})} == dict(found.durable)
        assert dict(found.visible) == dict(found.durable)
        assert {KEY: Ledger(read=5, indexed=5)} == dict(found.ledgers)
        assert sorted(self.stored(tmp_path)) == [0, 1, 2, 3, 4]

    def test_ended_between_write_and_commit_the_last_commit_stands(self, tmp_path: Path) -> None:
        async def ended() -> Watermarks:
            index = self.index(tmp_path)
            await index.open()
            await index.write(batch(0, 1))
            await index.commit()
            await index.write(batch(2, 3))
            await index.close()
            return await _opened(self.index(tmp_path))

        assert {KEY: Position(2, {"at": 2})} == dict(anyio.run(ended).durable)
        assert sorted(self.stored(tmp_path)) == [0, 1]

    def test_read_again_after_that_everything_is_there_once(self, tmp_path: Path) -> None:
        """Replayed from the start, and in other batches: committed rows are skipped."""

        async def replayed() -> Watermarks:
            index = self.index(tmp_path)
            await index.open()
            await index.write(batch(0, 1, 2))
            await index.commit()
            await index.write(batch(3, 4))
            await index.close()
            again = self.index(tmp_path)
            await again.open()
            await again.write(batch(0, 1))
            await again.write(batch(2, 3, 4))
            await again.write(batch(5))
            said = await again.commit()
            await again.close()
            return said

        said = anyio.run(replayed)
        assert {KEY: Position(6, {"at": 6})} == dict(said.durable)
        assert {KEY: Ledger(read=6, indexed=6)} == dict(said.ledgers)
        assert sorted(self.stored(tmp_path)) == [0, 1, 2, 3, 4, 5]

    def test_each_partition_of_each_pipeline_has_its_own_position(self, tmp_path: Path) -> None:
        async def several() -> Watermarks:
            index = self.index(tmp_path)
            await index.open()
            await index.write(batch(0, 1, partition="p#0"))
            await index.write(batch(0, partition="q#0"))
            await index.write(batch(0, 1, 2, pipeline="other"))
            said = await index.commit()
            await index.close()
            return said

        positions = {key: at.record for key, at in anyio.run(several).durable.items()}
        assert positions == {("contract", "p#0"): 2, ("contract", "q#0"): 1, ("other", "p#0"): 3}
        assert len(self.stored(tmp_path)) == 6

    def test_a_batch_of_which_nothing_is_left_moves_the_position(self, tmp_path: Path) -> None:
        async def moved() -> Watermarks:
            index = self.index(tmp_path)
            await index.open()
            await index.write(batch(0))
            await index.write(batch(1, 2, dropped=True))
            said = await index.commit()
            await index.close()
            return said

        said = anyio.run(moved)
        assert {KEY: Position(3, {"at": 3})} == dict(said.durable)
        assert {KEY: Ledger(read=3, indexed=1, dropped=2)} == dict(said.ledgers)

    def test_a_bad_document_costs_only_itself_and_is_named(self, tmp_path: Path) -> None:
        if self.bad is None:
            return
        bad = pl.DataFrame([{RECORD: 1, **self.bad}], schema_overrides={RECORD: pl.Int64})

        async def written() -> tuple[list[int], Watermarks]:
            index = self.index(tmp_path)
            await index.open()
            good = batch(0, 2, numbers=3)
            rejected = await index.write(batch(0, 2, numbers=3, frames=(*good.frames, bad)))
            said = await index.commit()
            await index.close()
            return [rejection.record for rejection in rejected], said

        rejected, said = anyio.run(written)
        assert rejected == [1]
        assert {KEY: Ledger(read=3, indexed=2, rejected=1)} == dict(said.ledgers)
        assert sorted(self.stored(tmp_path)) == [0, 2]

    def test_a_commit_of_nothing_changes_nothing(self, tmp_path: Path) -> None:
        async def twice() -> tuple[Watermarks, Watermarks]:
            index = self.index(tmp_path)
            await index.open()
            await index.commit()
            await index.write(batch(0))
            first = await index.commit()
            second = await index.commit()
            await index.close()
            return first, second

        first, second = anyio.run(twice)
        assert first == second

    def test_closing_is_safe_without_opening_and_twice(self, tmp_path: Path) -> None:
        async def closed() -> None:
            index = self.index(tmp_path)
            await index.close()
            await index.open()
            await index.close()
            await index.close()

        anyio.run(closed)

    def test_unknown_options_are_refused(self) -> None:
        assert self.kind is None or refused(self.kind)


class _NoOriginals:
    """For batches that never were bytes."""

    def decode(self, raw: RawBatch) -> Decoded:
        raise NotImplementedError

    def original(self, raw: RawBatch, record: int) -> bytes | None:  # noqa: ARG002
        return None


def batch(
    *records: int,
    pipeline: str = KEY[0],
    partition: str = KEY[1],
    numbers: int | None = None,
    dropped: bool = False,
    frames: tuple[pl.DataFrame, ...] | None = None,
) -> Batch:
    """A batch of these record numbers, each a row `{"n": number}`; its position is behind the last one."""
    first = records[0]
    read = numbers if numbers is not None else len(records)
    end = first + read
    raw = RawBatch(
        partition=partition,
        first_record=first,
        position=Position(end, {"at": end}),
        payload=b"",
        decoder=_NoOriginals(),
        size=1,
        origin="contract",
        accepted_at=0.0,
    )
    if frames is None:
        rows = [] if dropped else list(records)
        frames = (pl.DataFrame({RECORD: rows, "n": rows}, schema={RECORD: pl.Int64, "n": pl.Int64}),)
    gone = len(records) if dropped else 0
    return Batch(f"contract-{first}", pipeline, raw, frames, read, dropped=gone)


async def _opened(index: Index) -> Watermarks:
    found = await index.open()
    await index.close()
    return found
