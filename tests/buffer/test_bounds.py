"""A full buffer refuses whole requests, says who holds it, and drains by itself (PROTOCOL 14)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened
from headrace.buffer.acks import acknowledge, subscribe
from headrace.buffer.base import BufferFull
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.errors import RequestError

pytestmark = pytest.mark.anyio

NOISE = random.Random(1).randbytes(60_000).hex()


class HeldClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def fill(buffer: Buffer, log: str = "a") -> tuple[int, BufferFull]:
    """Append until it is refused: how many were accepted, and the refusal."""
    for count in range(1000):
        try:
            await buffer.append([entry(log, NOISE)])
        except BufferFull as full:
            return count, full
    raise AssertionError("never full")


async def test_a_full_buffer_refuses_and_drains_by_itself(tmp_path: Path) -> None:
    """Once the subscriber has passed what was held, requests are accepted again, without a restart."""
    clock = HeldClock()
    subscribe(tmp_path, "push:shop", "a")
    bounds = Bounds(max_bytes=2 * MB, log_bytes=10 * MB, max_age=None, file_bytes=10 * MB)
    async with opened(tmp_path, bounds, clock=clock) as buffer:
        for _ in range(3):
            count, full = await fill(buffer)
            assert count > 5
            assert 429 == full.status
            assert full.retry_after is not None
            assert 1 <= full.retry_after <= 60
            for part in ("push:shop", "buffer.max_bytes", "nothing of this request was accepted"):
                assert part in str(full)
            acknowledge(tmp_path, "push:shop", {"a": buffer.accepted("a")}, incarnation=buffer.incarnation)
            clock.now += 2
            for _ in range(3):
                await buffer.heed_damage()
                await buffer.release_files()
        assert buffer.status().bytes < 2 * MB


async def test_one_log_may_hold_only_its_share(tmp_path: Path) -> None:
    """A stalled log is refused by name while the others go on."""
    for log in ("a", "b"):
        subscribe(tmp_path, f"p{log}", log)
    bounds = Bounds(max_bytes=10 * MB, log_bytes=MB, max_age=None, file_bytes=10 * MB)
    async with opened(tmp_path, bounds) as buffer:
        _, full = await fill(buffer, "a")
        for part in ("'a'", "'pa'", "buffer.log_bytes"):
            assert part in str(full)
        with pytest.raises(BufferFull):
            buffer.check_room(["a"], 200_000)
        buffer.check_room(["b"], 200_000)
        before = buffer.accepted("b")
        with pytest.raises(BufferFull):
            await buffer.append([entry("b", NOISE), entry("a", NOISE)])
        assert before == buffer.accepted("b")
        await buffer.append([entry("b", NOISE)])


async def test_a_log_whose_oldest_record_waits_too_long_is_refused(tmp_path: Path) -> None:
    """The age of the oldest record that somebody has yet to pass counts, not that of released ones."""
    clock = HeldClock()
    subscribe(tmp_path, "p", "a")
    bounds = Bounds(max_bytes=10 * MB, log_bytes=MB, max_age=60, file_bytes=10 * MB)
    async with opened(tmp_path, bounds, clock=clock) as buffer:
        await buffer.append([entry("a", "1")])
        clock.now += 59
        await buffer.append([entry("a", "2")])
        clock.now += 2
        with pytest.raises(BufferFull, match=r"waits for 61 s.*buffer\.max_age.*'p'"):
            await buffer.append([entry("a", "3")])
        acknowledge(tmp_path, "p", {"a": 1}, incarnation=buffer.incarnation)
        clock.now += 1
        await buffer.append([entry("a", "3")])


async def test_a_log_without_a_subscriber_holds_nothing(tmp_path: Path) -> None:
    """Nobody reads it, so nothing waits; its files go."""
    bounds = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=10 * MB)
    async with opened(tmp_path, bounds) as buffer:
        for _ in range(50):
            await buffer.append([entry("a", NOISE)])
        assert 0 == buffer.status().held_bytes
        await buffer.release_files()
        await buffer.release_files()
        assert buffer.status().bytes < MB


async def test_removing_a_subscription_releases_what_only_it_held(tmp_path: Path) -> None:
    """An explicit act, after which the file nobody else needs goes."""
    subscribe(tmp_path, "p", "a")
    subscribe(tmp_path, "gone", "a")
    async with opened(tmp_path) as buffer:
        await buffer.append([entry("a", "1")])
        acknowledge(tmp_path, "p", {"a": 1}, incarnation=buffer.incarnation)
        buffer.look()
        holder = buffer.status().holder
        assert holder is not None
        assert ("gone", "a") == (holder.subscriber, holder.log)
        buffer.release("gone")
        assert buffer.status().holder is None
        assert 0 == buffer.status().held_bytes


async def test_a_position_of_another_buffer_releases_nothing(tmp_path: Path) -> None:
    """Positions count for the incarnation they were said of (PROTOCOL 9)."""
    subscribe(tmp_path, "p", "a")
    async with opened(tmp_path) as buffer:
        await buffer.append([entry("a", "1")])
        acknowledge(tmp_path, "p", {"a": 1}, incarnation="another")
        buffer.look()
        assert buffer.status().held_bytes > 0


async def test_what_never_fits_is_told_so(tmp_path: Path) -> None:
    """Waiting would not help a request that is larger than the whole buffer: 413, not 429."""
    bounds = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=10 * MB)
    async with opened(tmp_path, bounds) as buffer:
        with pytest.raises(RequestError, match=r"smaller pieces") as refused:
            buffer.check_room(["a"], 2 * MB)
        assert 413 == refused.value.status


async def test_intake_stops_while_the_disk_has_only_its_reserve(tmp_path: Path) -> None:
    """The last bytes of the disk are for draining: intake stops first (PROTOCOL 14)."""
    free = [10 * MB]
    async with opened(tmp_path, free_space=lambda: free[0], reserve=5 * MB) as buffer:
        await buffer.append([entry("a", "1")])
        free[0] = 5 * MB
        with pytest.raises(BufferFull, match=r"disk_reserve"):
            await buffer.append([entry("a", "2")])
        free[0] = 10 * MB
        await buffer.append([entry("a", "2")])
    assert ["1", "2"] == bodies(tmp_path, "a")
