"""An index holds the engine's threads and memory only while it is written to (PROTOCOL 28)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from headrace.index.tantivy.merging import TASKS
from writing import documents, rows, writer

INDEXES = 100

linux = pytest.mark.skipif(not TASKS.is_dir(), reason="threads have names on Linux only")


def threads() -> int:
    """Of the engine's writers, in this process."""
    found = 0
    for task in TASKS.iterdir():
        with suppress(OSError):  # one that ended meanwhile
            found += (task / "comm").read_text().startswith(("merge_thread_", "thrd-tantivy", "segment_upd"))
    return found


@linux
def test_an_index_that_is_only_open_has_no_threads(tmp_path: Path) -> None:
    """The engine's writer is made by the first write."""
    before = threads()
    made = writer(tmp_path, threads=1)
    assert before == threads()
    made.write(rows({"v": 1}))
    assert before < threads()
    made.close()


@linux
def test_a_hundred_resting_indexes_hold_no_thread_and_all_their_documents(tmp_path: Path) -> None:
    """All of them were written to, one after another; the locks are still theirs."""
    before, busiest = threads(), 0
    made = [writer(tmp_path / str(number), threads=1) for number in range(INDEXES)]
    for one in made:
        one.write(rows({"v": 1}))
        one.commit()
        busiest = max(busiest, threads())
        one.rest()
    left = threads()
    assert left < before + 10, f"{left - before} threads of {INDEXES} indexes at rest"  # some are just ending
    assert busiest < before + 20, f"{busiest - before} threads while one of {INDEXES} is written to"
    assert all(len(documents(tmp_path / str(number))) == 1 for number in range(INDEXES))
    for one in made:
        one.close()


def test_a_write_after_a_rest_goes_on_where_the_index_was(tmp_path: Path) -> None:
    """Positions, numbers and upserts are those of before."""
    made = writer(tmp_path, id="k", threads=1)
    made.write(rows({"k": "a", "v": 1}, {"k": "b", "v": 1}))
    made.commit()
    made.rest()
    made.write(rows({"k": "b", "v": 2}, first=2))
    assert 3 == made.commit().durable["pipe", "p"].record
    made.close()
    assert {1, 2} == {found["v"] for found in documents(tmp_path).values()}


def test_what_is_not_committed_is_no_rest(tmp_path: Path) -> None:
    """Rows that were written stay written."""
    made = writer(tmp_path, threads=1)
    made.write(rows({"v": 1}))
    made.rest()
    made.commit()
    made.close()
    assert 1 == len(documents(tmp_path))
