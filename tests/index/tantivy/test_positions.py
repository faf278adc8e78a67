"""Position documents: the newest of each partition counts, and the older ones are bounded in number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headrace.index.tantivy.positions import OLDER, PositionDocument, Positions, newest, stored_positions
from headrace.index.tantivy.verify import verify
from headrace.model import PartitionKey, Position
from writing import rows, searcher, writer

MOVES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), max_size=60)
"""Which partitions move in each commit."""


def _moved(partition: str, record: int) -> PositionDocument:
    return PositionDocument(pipeline="p", partition=partition, position=Position(record))


@given(MOVES, st.integers(0, 59))
def test_whatever_moves_the_newest_counts_and_few_are_older(commits: list[list[str]], restart: int) -> None:
    """What the index holds is read back as what was written last, also by a writer that was opened anew."""
    log = Positions()
    stored: list[PositionDocument] = []
    committed: dict[PartitionKey, PositionDocument] = {}
    expected: dict[str, int] = {}
    for number, partitions in enumerate(commits):
        pending = {("p", each): _moved(each, number) for each in partitions}
        added, terms = log.moved(committed, pending)
        stored = [each for each in stored if each.term not in terms] + list(added.values())
        log.committed()
        committed |= added
        expected |= dict.fromkeys(partitions, number)
        assert expected == {each.partition: each.position.record for each in newest(stored).values()}
        assert len(expected) + OLDER >= len(stored)
        if number == restart:
            log = Positions()
            assert committed == log.recalled(stored)


def test_a_commit_that_fails_changes_nothing() -> None:
    """What was to be written is written again, under the same number."""
    log = Positions()
    first, _ = log.moved({}, {("p", "a"): _moved("a", 1)})
    again, _ = log.moved({}, {("p", "a"): _moved("a", 1)})
    assert first == again


def test_an_index_goes_on_after_the_newest_of_several_positions(tmp_path: Path) -> None:
    """Reopened between any two commits, it is where it was, and it is sound."""
    for number in range(2 * OLDER):
        made = writer(tmp_path / "i")
        assert number == made._position(("pipe", "p")).position.record
        made.write(rows({"n": number}, first=number))
        if number % 3 == 0:
            made.write(replace(rows({"n": number}, first=number), pipeline="other"))
        made.commit()
        made.close()
    assert 2 + OLDER >= len(stored_positions(*searcher(tmp_path / "i")))
    # What a merge leaves behind that ended after its writer is repaired.
    assert verify(tmp_path / "i", repair=True).sound
