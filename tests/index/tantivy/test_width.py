"""Small commits are indexed by one thread, large ones by all."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.index.tantivy.heap import LEAST_PER_THREAD
from headrace.index.tantivy.width import AGREEING, LARGE, SMALL, Width
from writing import rows, sources, writer

FEW, MANY = SMALL - 1, LARGE


def narrowed(most: int = 2) -> Width:
    width = Width(most)
    for _ in range(AGREEING):
        width.committed(FEW)
    return width


def test_all_threads_index_until_small_commits_agree() -> None:
    width = Width(2)
    assert [False] * (AGREEING - 1) + [True] == [width.committed(FEW) for _ in range(AGREEING)]
    assert width.threads == 1


def test_one_large_commit_brings_all_threads_back() -> None:
    width = narrowed()
    assert width.committed(MANY)
    assert width.threads == 2


def test_a_narrow_writer_gets_the_least_memory() -> None:
    """What one declares is for all its threads, and one thread alone may have all of it."""
    assert 100 << 20 == Width(2).memory(100 << 20)
    assert LEAST_PER_THREAD == narrowed().memory(100 << 20)
    assert 100 << 20 == Width(1).memory(100 << 20)


def test_commits_between_large_and_small_change_nothing() -> None:
    """Also not the count: small ones have to follow each other."""
    width = Width(2)
    for _ in range(2 * AGREEING):
        assert not width.committed(FEW)
        assert not width.committed(SMALL)
    assert width.threads == 2
    assert not narrowed().committed(SMALL)


def test_one_thread_is_never_opened_anew() -> None:
    width = Width(1)
    assert not any(width.committed(rows) for rows in (*[FEW] * 9, MANY))


def test_a_writer_that_turns_narrow_and_wide_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change is a new engine writer: ids written before and after it are there once, with their last value."""
    monkeypatch.setattr("headrace.index.tantivy.width.SMALL", 3)
    monkeypatch.setattr("headrace.index.tantivy.width.LARGE", 6)
    made = writer(tmp_path / "i", id="k", threads=2)
    at, threads = 0, []
    for count in (1,) * (AGREEING + 2) + (7, 1):
        made.write(rows(*({"k": n, "v": at} for n in range(count)), first=at))
        at += count
        made.commit()
        threads.append(made._width.threads)
    made.close()
    assert threads == [2] * (AGREEING - 1) + [1] * 3 + [2] * 2
    expected = {0: at - 1} | dict.fromkeys(range(1, 7), at - 8)
    assert expected == {source["k"]: source["v"] for source in sources(tmp_path / "i")}
