"""Appending to the buffer: durable, numbered for ever, all or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened, stored
from headrace.buffer import chain
from headrace.buffer.acks import acknowledge, subscribe
from headrace.buffer.base import Appended
from headrace.buffer.writer import Bounds
from headrace.core.clock import SystemClock
from headrace.core.errors import Retryable, StoreError

pytestmark = pytest.mark.anyio


async def test_what_was_appended_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Entries come back in order, with the numbers that the append answered."""
    async with opened(tmp_path) as buffer:
        first = await buffer.append([entry("a", "one", "two", head=b"h"), entry("b", "x" * 1000)])
        second = await buffer.append([entry("a", "three")])
        assert [Appended("a", 0, 2), Appended("b", 0, 1)] == first
        assert [Appended("a", 2, 3)] == second
        assert 3 == buffer.accepted("a")
        assert ["one", "two", "three"] == bodies(tmp_path, "a")
        assert b"h" == stored(tmp_path, "a")[0].entry.head
        assert ["x" * 1000] == bodies(tmp_path, "b")


async def test_appends_at_the_same_time_keep_their_order(tmp_path: Path) -> None:
    """Requests are numbered in the order in which they asked, however they share a transaction."""
    async with opened(tmp_path) as buffer:
        answers = await asyncio.gather(*(buffer.append([entry("a", str(n))]) for n in range(200)))
        assert list(range(200)) == [answer[0].first for answer in answers]
    assert [str(n) for n in range(200)] == bodies(tmp_path, "a")


async def test_numbers_go_on_when_everything_was_released(tmp_path: Path) -> None:
    """Numbers never start again, whatever is released, also after a restart (PROTOCOL 12)."""
    small = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=20_000)
    subscribe(tmp_path, "p", "a")
    for round_ in range(3):
        async with opened(tmp_path, small) as buffer:
            for n in range(10):
                [at] = await buffer.append(
                    [entry("a", f"{round_}-{n}-" + "".join(map(chr, range(33, 2000))))]
                )
                assert round_ * 10 + n == at.first
            acknowledge(tmp_path, "p", {"a": buffer.accepted("a")}, incarnation=buffer.incarnation)
            buffer.look()
            assert await buffer.release_files() > 0
            await buffer.release_files()
            await buffer.release_files()
            assert 1 == buffer.status().files
            assert 0 == buffer.status().held_bytes


async def test_an_append_cancelled_under_way_harms_nothing(tmp_path: Path) -> None:
    """Accepted or not, whole; the numbers go on without a gap, and no room stays taken."""
    async with opened(tmp_path) as buffer:
        tasks = [asyncio.create_task(buffer.append([entry("a", f"{n}.1", f"{n}.2")])) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        [at] = await buffer.append([entry("a", "last")])
        found = bodies(tmp_path, "a")
        assert at.end == len(found)
        assert {f"{n}.{i}" for n in range(1, 20, 2) for i in (1, 2)} <= set(found)
        assert [line[:-1] for line in found[:-1:2]] == [line[:-1] for line in found[1:-1:2]]
        assert 0 == buffer.room.reserved


async def test_a_closed_buffer_takes_nothing(tmp_path: Path) -> None:
    """What was submitted before is finished; what comes after may be tried again elsewhere."""
    async with opened(tmp_path) as buffer:
        under_way = asyncio.create_task(buffer.append([entry("a", "1")]))
        await asyncio.sleep(0)
    assert [Appended("a", 0, 1)] == await under_way
    with pytest.raises(Retryable, match=r"closed"):
        await buffer.append([entry("a", "2")])
    assert ["1"] == bodies(tmp_path, "a")


async def test_files_of_a_newer_version_are_left_untouched(tmp_path: Path) -> None:
    """Not damaged, only not ours to judge: the buffer does not open, and says which file."""
    async with opened(tmp_path) as buffer:
        await buffer.append([entry("a", "1")])
    [path] = chain.files(tmp_path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"written by a newer headrace"):
        async with opened(tmp_path):
            pass
    assert [path] == chain.files(tmp_path)


async def test_the_background_task_releases_what_all_have_passed(tmp_path: Path) -> None:
    """About once a second, and only whole files (PROTOCOL 12)."""
    subscribe(tmp_path, "fast", "a")
    subscribe(tmp_path, "slow", "a")
    bounds = Bounds(max_bytes=MB, log_bytes=MB, max_age=None, file_bytes=20_000)
    clock = SteppedClock()
    async with opened(tmp_path, bounds, clock=clock) as buffer:
        running = asyncio.create_task(buffer.run())
        for n in range(10):
            await buffer.append([entry("a", f"{n}-" + "".join(map(chr, range(0x4E00, 0x5600))))])
        await clock.step()
        await clock.step()
        before = len(chain.files(tmp_path))
        assert before > 2
        acknowledge(tmp_path, "fast", {"a": 10}, incarnation=buffer.incarnation)
        await clock.step()
        await clock.step()
        assert before == len(chain.files(tmp_path))
        acknowledge(tmp_path, "slow", {"a": 10}, incarnation=buffer.incarnation)
        for _ in range(3):
            await clock.step()
        assert 1 == len(chain.files(tmp_path))
        running.cancel()


class SteppedClock(SystemClock):
    """Sleeps end when they are told to: `step` ends one, and returns when the next begins."""

    def __init__(self) -> None:
        self._slept: asyncio.Queue[None] = asyncio.Queue()
        self._asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._asleep.set()
        await self._slept.get()

    async def step(self) -> None:
        await self._asleep.wait()
        self._asleep.clear()
        self._slept.put_nowait(None)
        await self._asleep.wait()
