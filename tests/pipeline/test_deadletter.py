"""Dead letters: real only below what is durable, never doubled by a replay, bounded, readable by all."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.core.errors import StoreError
from headrace.model import PartitionKey
from headrace.pipeline.deadletter import (
    DETAIL_CHARACTERS,
    ORIGINAL_BYTES,
    DeadLetter,
    DeadLetters,
    DeadLettersFull,
    DeadLetterView,
)

A: PartitionKey = ("flights", "a.csv#1")
B: PartitionKey = ("flights", "b.csv#1")
OTHER: PartitionKey = ("weather", "w.csv#1")


def letter(record: int, key: PartitionKey = A, **more: object) -> DeadLetter:
    letter = DeadLetter(
        pipeline=key[0],
        partition=key[1],
        record=record,
        stage="validate",
        reason="missing_field",
        detail=f"price of {record}",
        original=b'{"price": null}',
        origin="data/a.csv",
        position=f"line {record + 1}",
        time=1_700_000_000.5,
        batch="b-1",
    )
    return msgspec.structs.replace(letter, **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deadletters.db"


@pytest.fixture
def letters(path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(path)) as store:
        store.open({})
        yield store


def records(path: Path, key: PartitionKey = A) -> list[int]:
    return [found.record for found in DeadLetterView(path).list(key[0]) if found.partition == key[1]]


def test_a_letter_is_shown_as_it_was_kept_once_its_commit_is_durable(
    letters: DeadLetters, path: Path
) -> None:
    letters.append([letter(3)])
    assert DeadLetterView(path).list() == []
    letters.confirm({A: 4})
    (found,) = DeadLetterView(path).list()
    assert msgspec.structs.replace(found, id=0) == letter(3)
    assert DeadLetterView(path).show(found.id) == found
    assert DeadLetterView(path).show(found.id + 1) is None


def test_the_letter_of_record_r_is_real_if_r_is_below_the_durable_number(
    letters: DeadLetters, path: Path
) -> None:
    letters.append([letter(3), letter(4)])
    letters.confirm({A: 3})
    assert records(path) == []
    letters.confirm({A: 4})
    assert records(path) == [3]
    assert letters.count("flights") == 1
    letters.confirm({A: 5})
    assert records(path) == [3, 4]


def test_a_crash_between_append_and_commit_leaves_no_letter(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(3), letter(8), letter(1, B), letter(1, OTHER)])
    letters.confirm({A: 5})
    letters.close()
    # Only record 5 and its like were committed: 8 comes again, B and OTHER were never committed at all.
    assert letters.open({A: 5}) == 3
    assert records(path) == [3]
    letters.confirm({A: 99, B: 99, OTHER: 99})
    assert (records(path), records(path, B), records(path, OTHER)) == ([3], [], [])


def test_letters_of_a_pipeline_that_is_not_judged_stay_as_they_are(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(3), letter(1, OTHER), letter(9, OTHER)])
    letters.confirm({A: 5, OTHER: 5})
    letters.close()
    assert letters.open({A: 5}, pipelines=["flights"]) == 0
    assert (records(path), records(path, OTHER)) == ([3], [1])
    assert letters.rewind({OTHER: 5}, pipelines=["weather"]) == 1
    letters.confirm({OTHER: 20})
    assert records(path, OTHER) == [1]


def test_after_a_rollback_letters_come_again_or_not_at_all(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(1), letter(6)])
    letters.confirm({A: 2})
    letters.rewind({A: 2})
    letters.confirm({A: 10})
    assert records(path) == [1]


def test_a_replay_doubles_nothing_and_keeps_the_newest_reason(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(3), letter(3, ordinal=1), letter(3, stage="index")])
    letters.append([letter(3, reason="bad_type")])
    letters.confirm({A: 9})
    found = DeadLetterView(path).list()
    assert [(each.ordinal, each.stage, each.reason) for each in found] == [
        (0, "validate", "bad_type"),
        (1, "validate", "missing_field"),
        (0, "index", "missing_field"),
    ]


def test_letters_are_found_by_pipeline_reason_and_stage_and_page_by_page(
    letters: DeadLetters, path: Path
) -> None:
    letters.append([letter(n, reason="bad_type" if n % 2 else "missing_field") for n in range(6)])
    letters.append([letter(0, OTHER, stage="decode")])
    letters.confirm({A: 6, OTHER: 1})
    view = DeadLetterView(path)
    assert [found.record for found in view.list("flights", "bad_type")] == [1, 3, 5]
    assert [found.pipeline for found in view.list(stage="decode")] == ["weather"]
    first = view.list(limit=4)
    assert [found.record for found in view.list(limit=4, after=first[-1].id)] == [4, 5, 0]
    assert view.reasons() == letters.reasons() == {"missing_field": 4, "bad_type": 3}
    assert (view.count("flights"), view.count()) == (6, 7)


@pytest.mark.parametrize("size", [0, 1, 256, 257, 5_000, ORIGINAL_BYTES])
def test_original_bytes_come_back_as_they_were(letters: DeadLetters, path: Path, size: int) -> None:
    original = random.Random(size).randbytes(size)
    letters.append([letter(0, original=original)])
    letters.confirm({A: 1})
    (found,) = DeadLetterView(path).list()
    assert (found.original, found.truncated) == (original, False)


def test_an_endless_record_is_cut_and_says_so(letters: DeadLetters, path: Path) -> None:
    letters.append(
        [letter(0, original=b"x" * (ORIGINAL_BYTES + 1), detail="y" * 10_000), letter(1, original=None)]
    )
    letters.confirm({A: 2})
    long, unknown = DeadLetterView(path).list()
    assert (long.original, long.truncated) == (b"x" * ORIGINAL_BYTES, True)
    assert (len(long.detail), long.detail[-1]) == (DETAIL_CHARACTERS, "…")
    assert (unknown.original, unknown.truncated) == (None, False)
    assert path.stat().st_size < ORIGINAL_BYTES


def test_text_that_is_no_valid_unicode_is_kept_readable(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(0, detail="found '\udc80\x00'", origin="data/\udcff.csv")])
    letters.confirm({A: 1})
    (found,) = DeadLetterView(path).list()
    assert (found.detail, found.origin) == ("found '\\udc80\x00'", "data/\\udcff.csv")


def test_at_the_limit_the_pipeline_is_told_to_pause_and_nothing_is_half_kept(path: Path) -> None:
    with closing(DeadLetters(path, limit=3)) as store:
        store.open({})
        store.append([letter(0), letter(1), letter(2)])
        with pytest.raises(DeadLettersFull, match="pipeline 'flights' keeps 3 dead letters, its limit is 3"):
            store.append([letter(3), letter(0, OTHER)])
        store.confirm({A: 9, OTHER: 9})
        assert (store.count("flights"), store.count("weather")) == (3, 0)
        # Other pipelines go on, a repetition passes, and so does everything once there is room.
        store.append([letter(0, OTHER)])
        store.append([letter(2)])
        assert store.purge("flights", "missing_field") == 3
        store.append([letter(3)])
        store.confirm({A: 9})
        assert records(path) == [3]


def test_the_limit_is_exact_whatever_was_repeated_purged_or_kept_before(path: Path) -> None:
    with closing(DeadLetters(path, limit=4)) as store:
        store.open({})
        for _ in range(3):
            store.append([letter(0), letter(1)])
        store.confirm({A: 2})
        store.purge("flights")
        for record in range(2, 6):
            store.append([letter(record)])
    with closing(DeadLetters(path, limit=4)) as store:
        assert store.open({A: 9}) == 0
        with pytest.raises(DeadLettersFull):
            store.append([letter(6)])
        assert records(path) == [2, 3, 4, 5]


def test_a_batch_with_more_letters_than_the_limit_is_not_stuck_for_ever(path: Path) -> None:
    with closing(DeadLetters(path, limit=3)) as store:
        store.open({})
        store.append([letter(n) for n in range(5)])
        store.confirm({A: 5})
        assert store.count("flights") == 5


def test_eviction_removes_the_oldest_of_that_pipeline_and_counts_them(path: Path) -> None:
    with closing(DeadLetters(path, limit=3, when_full="evict")) as store:
        store.open({})
        store.append([letter(0, OTHER)])
        assert store.append([letter(n) for n in range(3)]) == 0
        assert store.append([letter(3), letter(4)]) == 2
        store.confirm({A: 5, OTHER: 1})
        assert records(path) == [2, 3, 4]
        assert (store.evicted("flights"), store.evicted("weather"), store.count("weather")) == (2, 0, 1)


def test_purging_spares_what_is_not_real_yet(letters: DeadLetters, path: Path) -> None:
    letters.append([letter(0), letter(5)])
    letters.confirm({A: 3})
    assert letters.purge("flights") == 1
    letters.confirm({A: 6})
    assert records(path) == [5]


def test_without_a_file_there_are_no_letters_and_none_is_made(path: Path) -> None:
    view = DeadLetterView(path)
    assert (view.list(), view.show(1), view.count(), view.reasons()) == ([], None, 0, {})
    assert not path.exists()


def test_confirming_without_letters_touches_no_disk(letters: DeadLetters, path: Path) -> None:
    before = [file.stat().st_mtime_ns for file in path.parent.iterdir()]
    letters.confirm({A: 5, B: 7})
    assert [file.stat().st_mtime_ns for file in path.parent.iterdir()] == before


def test_a_newer_format_is_refused_untouched(letters: DeadLetters, path: Path) -> None:
    letters.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    for refused in (lambda: letters.open({}), DeadLetterView(path).list):
        with pytest.raises(StoreError, match="written by a newer headrace"):
            refused()
    assert path.read_bytes() == before


READER = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from headrace.pipeline.deadletter import DeadLetterView
    view = DeadLetterView(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps([letter.record for letter in view.list()]), flush=True)
""")


def test_another_process_sees_confirmed_letters_while_the_writer_is_at_work(
    letters: DeadLetters, path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def seen() -> object:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
            return json.loads(reader.stdout.readline())

        assert seen() == []
        letters.append([letter(1), letter(2)])
        assert seen() == []
        letters.confirm({A: 2})
        assert seen() == [1]
        letters.confirm({A: 3})
        assert seen() == [1, 2]
        reader.stdin.close()


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from headrace.pipeline.deadletter import DeadLetter, DeadLetters
    store = DeadLetters(Path(sys.argv[1]))
    store.open({})
    for record in range(10_000):
        store.append([DeadLetter(pipeline="flights", partition="a.csv#1", record=record, stage="s", reason="r", detail="")])
        store.confirm({("flights", "a.csv#1"): record + 1 if record % 2 else record})
        print(record, flush=True)
""")


def test_a_kill_loses_no_letter_that_was_kept(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
    with closing(DeadLetters(path)) as store:
        store.open({A: last + 1})
        assert records(path) == list(range(last + 1))


class Laws(RuleBasedStateMachine):
    """Against a model: whatever the order of batches, commits, rollbacks and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "deadletters.db"
        self.store = DeadLetters(self.path)
        self.store.open({})
        self.read = {A: 0, B: 0}
        self.durable: dict[PartitionKey, int] = {}
        self.kept: dict[tuple[PartitionKey, int], str] = {}

    @rule(
        key=st.sampled_from([A, B]),
        rejected=st.sets(st.integers(0, 4), max_size=3),
        reason=st.sampled_from("xy"),
    )
    def batch(self, key: PartitionKey, rejected: set[int], reason: str) -> None:
        first = self.read[key]
        self.store.append([letter(first + n, key, reason=reason) for n in sorted(rejected)])
        self.kept |= {(key, first + n): reason for n in rejected}
        self.read[key] = first + 5

    @rule(told=st.booleans())
    def commit(self, told: bool) -> None:
        """A crash may come between the commit and our hearing of it."""
        self.durable = dict(self.read)
        if told:
            self.store.confirm(self.durable)
        else:
            self.crash()

    @rule()
    def crash(self) -> None:
        self.store.close()
        self.store = DeadLetters(self.path)
        self.store.open(self.durable)
        self.forget()

    @rule()
    def roll_back(self) -> None:
        self.store.rewind(self.durable)
        self.forget()

    def forget(self) -> None:
        self.read = {key: self.durable.get(key, 0) for key in self.read}
        self.kept = self.real()

    def real(self) -> dict[tuple[PartitionKey, int], str]:
        return {(key, n): reason for (key, n), reason in self.kept.items() if n < self.durable.get(key, 0)}

    @invariant()
    def readers_see_exactly_the_real_letters(self) -> None:
        found = DeadLetterView(self.path).list(limit=10_000)
        assert len({each.id for each in found}) == len(found)
        assert {((each.pipeline, each.partition), each.record): each.reason for each in found} == self.real()
        assert self.store.count("flights") == len(found)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestLaws = Laws.TestCase
# Every step waits for the disk: short runs, so that the suite stays quick.
TestLaws.settings = settings(stateful_step_count=15, deadline=None)
