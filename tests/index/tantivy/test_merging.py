"""Merges give way to feeding, and who writes gives way to merges that are far behind."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
import tantivy

from headrace.core.errors import Retryable
from headrace.index.tantivy import merging
from headrace.index.tantivy.merging import LOWEST, SEGMENTS, TASKS, Merges, give_way

linux = pytest.mark.skipif(not TASKS.is_dir(), reason="threads have priorities of their own on Linux only")


def priorities() -> dict[str, int]:
    """Name of each thread of the engine → its niceness."""
    found = {}
    for task in TASKS.iterdir():
        with suppress(OSError):  # one that ended meanwhile
            name = (task / "comm").read_text().strip()
            if name.startswith(("merge_thread_", "thrd-tantivy")):
                found[name] = os.getpriority(os.PRIO_PROCESS, int(task.name))
    return found


@linux
def test_merge_threads_run_at_the_lowest_priority_and_no_other(tmp_path: Path) -> None:
    """Only merging is slowed down: the threads that index keep the priority of the process."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("t", stored=True)
    index = tantivy.Index(builder.build(), str(tmp_path))
    writer = index.writer(heap_size=30_000_000, num_threads=1)
    writer.add_json('{"t": "x"}')
    writer.commit()
    assert give_way() > 0
    seen = priorities()
    assert {LOWEST} == {level for name, level in seen.items() if name.startswith(merging.THREADS)}
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    # Those of indexing end with a commit, and begin with the next document.
    assert {level for name, level in seen.items() if not name.startswith(merging.THREADS)} <= {mine}


def pile_up(folder: Path, segments: int) -> None:
    for number in range(segments):
        (folder / f"{number:032x}.store").touch()


def test_too_many_segments_cost_the_writer_one_breather_per_commit(tmp_path: Path) -> None:
    """A merger that gets no time is given some, and writing goes on all the same."""
    merges = Merges("i", tmp_path)
    pile_up(tmp_path, SEGMENTS + 1)
    merges.look()
    with pytest.raises(Retryable, match="wait to be merged"):
        merges.breathe()
    merges.breathe()
    merges.look()
    with pytest.raises(Retryable):
        merges.breathe()


def test_as_many_segments_as_the_policy_leaves_are_no_reason_to_wait(tmp_path: Path) -> None:
    """The bound is above what merges that keep up leave."""
    merges = Merges("i", tmp_path)
    pile_up(tmp_path, SEGMENTS)
    merges.look()
    merges.breathe()
