"""Appending to the buffer: durable, numbered for ever, all or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from buffer.buffers import MB, bodies, entry, opened, stored
from headrace.buffer.acks import acknowledge, subscribe
from headrace.buffer.base import Appended
from headrace.buffer.writer import Bounds

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
