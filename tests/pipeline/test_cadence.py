"""When an index commits: early for sources that keep up, rarely for those that catch up."""

from __future__ import annotations

import pytest

from headrace.pipeline.cadence import Cadence
from headrace.pipeline.capacities import (
    COMMIT_LATE_SHARE,
    COMMIT_LIVE_RECORDS,
    COMMIT_RECORDS,
    COMMIT_SHARE,
    COMMIT_TARGET_SECONDS,
    READ_SECONDS,
)

INTERVAL = 1.0
START = 100.0


def after_a_commit(took: float) -> Cadence:
    """A cadence whose last commit ended at START."""
    cadence = Cadence(INTERVAL)
    cadence.committed(START - took, START)
    return cadence


def test_nothing_written_is_never_due() -> None:
    """Without a batch there is nothing to commit."""
    assert Cadence(INTERVAL).due(more=False) == float("inf")


def test_a_source_that_catches_up_waits_for_the_interval() -> None:
    """Bulk loading commits once per interval, however old its records are."""
    cadence = after_a_commit(took=0.01)
    cadence.wrote(10_000, now=START + 1, age=60, caught_up=False)
    assert START + 1 + INTERVAL == cadence.due(more=True)


def test_the_last_batch_for_now_is_committed_at_once() -> None:
    """A single push is searchable as soon as it is written, if the last commit is long ago."""
    cadence = after_a_commit(took=0.01)
    cadence.wrote(1, now=START + 5, age=0.001, caught_up=True)
    assert START + 5 >= cadence.due(more=False)


def test_commits_of_a_quiet_source_leave_four_fifths_of_the_time() -> None:
    """Right after a commit, a batch that nothing follows waits its share, if that is before the target."""
    cadence = after_a_commit(took=0.005)
    cadence.wrote(1, now=START, age=0, caught_up=True)
    assert pytest.approx(START + COMMIT_SHARE * 0.005) == cadence.due(more=False)


def test_the_oldest_record_waits_no_longer_than_the_target() -> None:
    """With more coming all the time, the age of the oldest record decides."""
    cadence = after_a_commit(took=0.005)
    cadence.wrote(500, now=START + 0.02, age=0.01, caught_up=True)
    cadence.wrote(500, now=START + 0.03, age=0.005, caught_up=True)
    assert pytest.approx(START + 0.01 + COMMIT_TARGET_SECONDS) == cadence.due(more=True)


def test_slow_commits_are_spread_even_when_records_are_late() -> None:
    """A disk that takes 200 ms for a commit is given as long without one."""
    cadence = after_a_commit(took=0.2)
    cadence.wrote(500, now=START + 0.02, age=0.3, caught_up=True)
    assert pytest.approx(START + COMMIT_LATE_SHARE * 0.2) == cadence.due(more=True)


def test_many_records_of_a_source_that_keeps_up_need_not_wait_for_the_target() -> None:
    """What takes long to commit begins early."""
    cadence = after_a_commit(took=0.001)
    cadence.wrote(COMMIT_LIVE_RECORDS, now=START + 0.01, age=0, caught_up=True)
    assert START + 0.01 == cadence.due(more=True)


def test_a_declared_interval_is_an_upper_bound() -> None:
    """No share of a slow commit puts it off beyond the interval."""
    cadence = after_a_commit(took=30)
    cadence.wrote(1, now=START, age=0, caught_up=True)
    assert START + INTERVAL == cadence.due(more=False)


def test_a_rollback_is_bounded_in_rows() -> None:
    """Very many rows force a commit whatever the interval."""
    cadence = Cadence(3600)
    cadence.wrote(COMMIT_RECORDS, now=START, age=0, caught_up=False)
    assert START >= cadence.due(more=True)


def test_a_clock_set_back_makes_no_record_younger_than_its_writing() -> None:
    """An age below nothing counts as nothing."""
    cadence = after_a_commit(took=0)
    cadence.wrote(1, now=START, age=-3600, caught_up=True)
    assert START + COMMIT_TARGET_SECONDS == cadence.due(more=True)


def test_after_a_rollback_nothing_is_due() -> None:
    """What went back is written again before it is committed."""
    cadence = after_a_commit(took=0.01)
    cadence.wrote(5, now=START, age=0, caught_up=True)
    cadence.restart()
    assert cadence.due(more=False) == float("inf")


def test_a_source_reads_so_that_its_batch_is_written_just_before_a_commit_may_begin() -> None:
    """What comes until then is in it, and nothing waits in line."""
    cadence = after_a_commit(took=0.04)
    due = START + COMMIT_LATE_SHARE * 0.04
    assert pytest.approx(due - 0.01 - READ_SECONDS) == cadence.read_at(0.01, START)


def test_during_a_commit_the_next_one_is_counted_from_its_usual_end() -> None:
    """A commit under way takes about as long as those before it."""
    cadence = after_a_commit(took=0.04)
    cadence.wrote(1, now=START + 0.02, age=0, caught_up=True, took=0.002)
    cadence.committing(START + 0.02)
    due = START + 0.02 + 0.04 * (1 + COMMIT_LATE_SHARE)
    assert pytest.approx(due - 0.01 - 0.002 - READ_SECONDS) == cadence.read_at(0.01, START + 0.03)


def test_who_comes_too_late_for_a_commit_that_is_due_reads_for_the_one_after_it() -> None:
    """A small batch on its own would cost as much as a large one."""
    cadence = after_a_commit(took=0.04)
    cadence.wrote(500, now=START + 0.015, age=0.05, caught_up=True)
    due = START + COMMIT_LATE_SHARE * 0.04
    assert pytest.approx(due + 0.04 * (1 + COMMIT_LATE_SHARE) - 0.01 - READ_SECONDS) == cadence.read_at(
        0.01, START + 0.03
    )


def test_a_source_that_was_idle_reads_at_once() -> None:
    """Long after a commit there is nothing to wait for."""
    assert START + 5 > after_a_commit(took=0.04).read_at(0.01, START + 5)


def test_one_slow_commit_hardly_changes_what_is_expected() -> None:
    """A stall of the disk is not taken for what commits take from now on."""
    cadence = after_a_commit(took=0.04)
    cadence.committed(START + 1, START + 2)
    cadence.wrote(500, now=START + 2, age=1, caught_up=True)
    assert START + 2 + 0.3 * COMMIT_LATE_SHARE > cadence.due(more=True)
