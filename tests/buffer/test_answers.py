"""Answers by `Idempotency-Key`: remembered with their append, for an hour, whatever file goes meanwhile."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from buffer.buffers import MB, entry, opened
from buffer.test_bounds import HeldClock
from headrace.buffer.answers import KEEP_ANSWERS, KEEP_SECONDS, Answers, Place
from headrace.buffer.base import Appended
from headrace.buffer.writer import Bounds

pytestmark = pytest.mark.anyio


def told(appended: list[Appended]) -> bytes:
    return json.dumps([at.first for at in appended]).encode()


async def test_an_answer_is_remembered_with_its_append(tmp_path: Path) -> None:
    """One transaction holds both, so that a crash leaves both or none; also after a restart (PROTOCOL 13)."""
    async with opened(tmp_path) as buffer:
        assert None is await buffer.answer("k")
        await buffer.append([entry("a", "0"), entry("b", "0")])
        await buffer.append([entry("a", "1"), entry("b", "1")], key="k", answer=told)
        await buffer.remember("later", b"said apart")
        staged = buffer.stage(100)
        await staged.add(entry("a", "2"))
        await staged.finish(key="large", answer=told)
        for _ in range(2):
            assert b"[1, 1]" == await buffer.answer("k")
    async with opened(tmp_path) as buffer:
        assert b"[1, 1]" == await buffer.answer("k")
        assert b"said apart" == await buffer.answer("later")
        assert b"[2]" == await buffer.answer("large")


async def test_an_answer_outlives_the_file_it_was_in(tmp_path: Path) -> None:
    """Releasing a file moves the answers that still count; after their hour they are forgotten."""
    clock = HeldClock()
    bounds = Bounds(max_bytes=10 * MB, log_bytes=MB, max_age=None, file_bytes=20_000)
    async with opened(tmp_path, bounds, clock=clock) as buffer:
        await buffer.append([entry("a", "1")], key="k", answer=told)
        for _ in range(6):
            await buffer.append([entry("a", random.Random(1).randbytes(5000).hex())])
        assert await buffer.release_files() > 0
        assert b"[0]" == await buffer.answer("k")
        clock.now += KEEP_SECONDS - 1
    async with opened(tmp_path, bounds, clock=clock) as buffer:
        assert b"[0]" == await buffer.answer("k")
        clock.now += 2
        assert None is await buffer.answer("k")


def test_only_so_many_answers_are_kept() -> None:
    """The oldest go first; what a key said last counts."""
    answers = Answers()
    for n in range(KEEP_ANSWERS + 10):
        answers.add(str(n), Place(0, 1.0, 10))
    assert None is answers.find("9", 2.0)
    assert Place(0, 1.0, 10) == answers.find("10", 2.0)
    answers.add("10", Place(1, 2.0, 5))
    assert Place(1, 2.0, 5) == answers.find("10", 2.0)
