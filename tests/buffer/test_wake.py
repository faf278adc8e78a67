"""Knocks: heard by who waits, never in the way of who sends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from buffer.buffers import entry, opened
from headrace.buffer.wake import Listener, Waker

pytestmark = pytest.mark.anyio


async def test_an_append_wakes_all_who_wait(tmp_path: Path) -> None:
    """After the commit, in whatever depth of folders, as often as there are appends."""
    path = tmp_path / ("deep" * 30) / "wake.sock"
    with Listener(path) as listener:
        waker = Waker(path)
        async with opened(tmp_path / "buffer", wake=waker) as buffer:
            for n in range(3):
                waiting = [asyncio.create_task(listener.wait(10)) for _ in range(3)]
                await asyncio.sleep(0)
                await buffer.append([entry("a", str(n))])
                assert [True, True, True] == await asyncio.gather(*waiting)
        waker.close()


async def test_nobody_need_listen(tmp_path: Path) -> None:
    """Without a listener, with one that never reads, and with a new one in its place."""
    path = tmp_path / "wake.sock"
    waker = Waker(path)
    waker()
    with Listener(path):
        for _ in range(5000):
            waker()
    waker()
    with Listener(path) as listener:
        assert not await listener.wait(0.001)
        waiting = asyncio.create_task(listener.wait(10))
        await asyncio.sleep(0)
        waker()
        waker()
        assert await waiting
    waker.close()
