"""Large requests: piece by piece on the disk, and visible all at once or never."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened
from headrace.buffer.acks import subscribe
from headrace.buffer.base import Appended, BufferFull
from headrace.buffer.writer import Bounds
from headrace.core.errors import Retryable

pytestmark = pytest.mark.anyio


async def test_pieces_exist_for_nobody_until_the_request_is_finished(tmp_path: Path) -> None:
    """Other requests go before it, without a gap in the numbers (PROTOCOL 13)."""
    async with opened(tmp_path) as buffer:
        staged = buffer.stage(1000)
        await staged.add(entry("a", "s1", "s2"))
        await buffer.append([entry("a", "other")])
        await staged.add(entry("b", "s3"))
        assert ["other"] == bodies(tmp_path, "a")
        assert [Appended("a", 1, 3), Appended("b", 0, 1)] == await staged.finish()
        assert ["other", "s1", "s2"] == bodies(tmp_path, "a")
        assert ["s3"] == bodies(tmp_path, "b")
        await staged.abandon()
        assert ["other", "s1", "s2"] == bodies(tmp_path, "a")


async def test_pieces_of_an_unfinished_request_are_dropped_at_the_start(tmp_path: Path) -> None:
    """What was staged when the process ended is seen by nobody, and its file is not gone on with."""
    async with opened(tmp_path) as buffer:
        staged = buffer.stage(1000)
        await staged.add(entry("a", "never"))
        await buffer.append([entry("a", "kept")])
    async with opened(tmp_path) as buffer:
        assert ["kept"] == bodies(tmp_path, "a")
        assert [Appended("a", 1, 2)] == await buffer.append([entry("a", "next")])
        assert ["kept", "next"] == bodies(tmp_path, "a")
        assert 1 == await buffer.release_files()  # nobody subscribes


async def test_an_abandoned_request_frees_its_room(tmp_path: Path) -> None:
    """Room is reserved from the beginning of a large request to its end, and no longer."""
    bounds = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=MB)
    async with opened(tmp_path, bounds) as buffer:
        staged = buffer.stage(900_000)
        with pytest.raises(BufferFull, match=r"nothing of this request was accepted"):
            buffer.check_room(["a"], 200_000)
        await staged.abandon()
        await staged.abandon()
        buffer.check_room(["a"], 200_000)
        with pytest.raises(Retryable, match=r"abandoned"):
            await staged.finish()


async def test_a_request_that_never_ends_does_not_keep_its_file_for_ever(tmp_path: Path) -> None:
    """A file waits for large requests up to four times its size; then they have to be sent again."""
    subscribe(tmp_path, "p", "a")
    bounds = Bounds(max_bytes=100 * MB, log_bytes=100 * MB, max_age=None, file_bytes=100_000)
    async with opened(tmp_path, bounds) as buffer:
        staged = buffer.stage(1000)
        await staged.add(entry("a", "slow"))
        noise = "".join(map(chr, range(0x4E00, 0x9E00)))
        for _ in range(4):
            await buffer.append([entry("a", noise)])
        assert 1 == buffer.status().files
        for _ in range(6):
            await buffer.append([entry("a", noise)])
        with pytest.raises(Retryable, match=r"nothing of it was accepted"):
            await staged.finish()
        assert 10 == buffer.accepted("a")
        assert [noise] * 10 == bodies(tmp_path, "a")


async def test_more_than_was_announced_is_taken_only_where_there_is_room(tmp_path: Path) -> None:
    """A request that grows past what it reserved is refused at the piece that no longer fits."""
    subscribe(tmp_path, "p", "a")
    bounds = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=MB)
    async with opened(tmp_path, bounds) as buffer:
        staged = buffer.stage(10)
        await staged.add(entry("a", "x" * 600_000))
        with pytest.raises(BufferFull):
            await staged.add(entry("a", "x" * 600_000))
        await staged.abandon()
        assert 0 == buffer.accepted("a")
        assert 0 == buffer.room.reserved
        assert not buffer.room.of_log
