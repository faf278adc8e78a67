"""What the writer promises: exactly once, in order, last operation per id, and all of it across restarts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError, Rewound, StoreError
from headrace.index.base import IndexContext
from headrace.index.tantivy import create, examples, store
from headrace.index.tantivy.options import Settings
from headrace.index.tantivy.writer import Writer
from headrace.model import RECORD, Batch, Ledger, Position, Rejection
from headrace.units import decode
from writing import batch, documents, rows, settings, sources, writer

KEY = ("pipe", "p")

RECORDS = st.lists(
    st.fixed_dictionaries({"k": st.sampled_from("abcdef"), "v": st.integers(0, 9)}), min_size=1, max_size=12
)


def _cut(records: Sequence[dict[str, Any]], cuts: Sequence[int]) -> list[Batch]:
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    return [rows(*records[first:last], first=first) for first, last in pairwise(edges)]


def _sorted(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


@given(RECORDS, st.lists(st.integers(1, 12), max_size=4), st.sampled_from([None, "k"]))
def test_any_split_into_batches_gives_the_same_index(
    records: list[dict[str, Any]], cuts: list[int], key: str | None
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = []
        for number, cut in enumerate(([], cuts)):
            made = writer(Path(folder) / str(number), id=key, threads=1)
            for one in _cut(records, cut):
                assert made.write(one) == []
            made.commit()
            made.close()
            found.append(documents(Path(folder) / str(number)))
        assert found[0] == found[1]


@given(RECORDS, st.lists(st.integers(1, 12), max_size=4), st.sets(st.integers(0, 5)))
def test_an_upsert_is_an_assignment_to_a_dictionary(
    records: list[dict[str, Any]], cuts: list[int], commits: set[int]
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = writer(Path(folder) / "i", id="k", fields={"k": "keyword"}, threads=2)
        for number, one in enumerate(_cut(records, cuts)):
            made.write(one)
            if number in commits:
                made.commit()
        made.commit()
        made.close()
        assert documents(Path(folder) / "i") == {record["k"]: record for record in records}


@given(RECORDS, st.lists(st.integers(1, 12), max_size=4), st.integers(0, 4), st.sampled_from([None, "k"]))
def test_any_restart_point_gives_the_same_index(
    records: list[dict[str, Any]], cuts: list[int], restart: int, key: str | None
) -> None:
    """Committed up to some batch, then one more written and lost, then read again from the position."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = writer(Path(folder) / "i", id=key, threads=1)
        batches = _cut(records, cuts)
        for one in batches[:restart]:
            made.write(one)
            made.commit()
        for one in batches[restart : restart + 1]:
            made.write(one)
        made.close()
        committed = made.open().durable.get(KEY, Position(0)).record
        assert committed == sum(one.records for one in batches[:restart])
        made.write(rows(*records[committed:], first=committed))
        made.commit()
        made.close()
        expected = records if key is None else list({record["k"]: record for record in records}.values())
        found = sources(Path(folder) / "i")
        assert sorted(map(_sorted, found)) == sorted(map(_sorted, expected))


def test_rows_at_or_below_the_committed_position_are_skipped(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(rows({"a": 0}, {"a": 1}, {"a": 2}))
    made.commit()
    assert made.write(rows({"a": 0}, {"a": 1})) == []
    made.write(rows({"a": 1}, {"a": 2}, {"a": 3}, first=1))
    marks = made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"a": 0}, {"a": 1}, {"a": 2}, {"a": 3}]
    assert marks.ledgers[KEY] == Ledger(read=4, indexed=4)


def test_partitions_and_pipelines_do_not_skip_each_others_rows(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    frame = pl.DataFrame({RECORD: [0], "a": [1]})
    for pipeline, partition in (("x", "p"), ("x", "q"), ("y", "p"), ("x\0p", ""), ("x", "\0p")):
        made.write(batch(frame, first=0, records=1, pipeline=pipeline, partition=partition))
        made.commit()
    assert len(made.commit().durable) == 5
    made.close()
    assert len(sources(tmp_path / "i")) == 5


def test_frames_of_different_types_are_written_in_record_order(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id="k")
    numbers = pl.DataFrame({RECORD: [0, 3], "k": ["a", "b"], "v": [1, 2]})
    texts = pl.DataFrame({RECORD: [1, 2], "k": ["b", "a"], "v": ["x", "y"]})
    made.write(batch(numbers, texts, first=0, records=4))
    made.commit()
    made.close()
    assert documents(tmp_path / "i") == {"a": {"k": "a", "v": "y"}, "b": {"k": "b", "v": 2}}


def test_several_rows_of_one_record_are_several_documents(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(batch(pl.DataFrame({RECORD: [0, 0, 1], "a": [1, 2, 3]}), first=0, records=2))
    marks = made.commit()
    made.close()
    names = [name.split("-", 1)[1] for name in documents(tmp_path / "i")]
    assert sorted(names) == ["0", "0-1", "1"]
    assert marks.ledgers[KEY] == Ledger(read=2, indexed=2)


def test_derived_ids_are_the_same_in_every_index(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = writer(tmp_path / name)
        made.write(rows({"a": 1}, {"a": 2}))
        made.commit()
        made.close()
    assert documents(tmp_path / "a") == documents(tmp_path / "b")


def test_the_ledger_balances_whatever_happens_to_records(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"n": "integer"}, dynamic=False)
    before = Rejection(record=3, stage="decode", reason="bad_json", detail="line 4")
    frame = pl.DataFrame({RECORD: [0, 1], "n": ["x", None]})
    given_ = batch(frame, first=0, records=4, dropped=1).with_rejections((before,))
    assert [found.record for found in made.write(given_)] == [0]
    marks = made.commit()
    assert marks.ledgers[KEY] == Ledger(read=4, indexed=1, rejected=2, dropped=1)
    made.close()
    assert made.open() == marks
    made.close()


def test_a_batch_without_rows_moves_the_position_and_nothing_moved_makes_no_commit(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(batch(first=0, records=5, dropped=5))
    assert made.commit().durable == {KEY: Position(5)}
    meta = tmp_path / "i" / store.ENGINE / store.META
    before = meta.read_bytes()
    made.write(batch(first=0, records=5, dropped=5))
    made.commit()
    assert meta.read_bytes() == before
    made.close()


def test_the_sequence_goes_on_after_the_committed_one(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    for value in range(3):
        made.write(rows({"a": value}, first=value))
        made.commit()
        made.close()
        made.open()
    made.close()
    assert sources(tmp_path / "i") == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_what_was_not_committed_is_gone_after_close(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(rows({"a": 0}))
    made.close()
    made.close()
    assert made.open().durable == {}
    made.close()


def test_a_second_writer_is_told_who_has_the_index(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    with pytest.raises(StoreError, match="in use"):
        writer(tmp_path / "i")
    made.close()
    writer(tmp_path / "i").close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {"a": "text"}}, "a: keyword became text"),
        ({"fields": {"a": "keyword", "b": "date"}}, "b: nothing became date"),
        ({"id": ["a", "b"]}, r"id: \[a\] became \[a, b\]"),
        ({"dynamic": "strict"}, "dynamic: true became strict"),
    ],
)
def test_a_changed_mapping_is_refused_and_says_what_changed(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    original = {"fields": {"a": "keyword"}, "id": "a"}
    writer(tmp_path / "i", **original).close()
    with pytest.raises(StoreError, match=message):
        writer(tmp_path / "i", **{**original, **change})
    writer(tmp_path / "i", **original, threads=1, field_limit=5).close()


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    writer(tmp_path / "i").close()
    path = tmp_path / "i" / store.DESCRIPTION
    path.write_text('{"format": 2, "hologram": true}')
    leftover = tmp_path / "i" / store.ENGINE / ".tmpAAA"
    leftover.touch()
    with pytest.raises(StoreError, match="format 2, this version knows 1"):
        writer(tmp_path / "i")
    assert leftover.exists()
    assert path.read_text() == '{"format": 2, "hologram": true}'


def test_a_kill_while_an_index_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.close()
    (tmp_path / "i" / store.DESCRIPTION).unlink()
    (tmp_path / "i" / "engine.new").mkdir()
    writer(tmp_path / "i").close()


def test_documents_without_a_description_are_not_overwritten(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(rows({"a": 1}))
    made.commit()
    made.close()
    (tmp_path / "i" / store.DESCRIPTION).unlink()
    with pytest.raises(StoreError, match="restore that file"):
        writer(tmp_path / "i")


def test_fields_beyond_the_limit_are_kept_and_found(tmp_path: Path) -> None:
    from writing import matches

    made = writer(tmp_path / "i", fields={"a": "keyword", "b": "keyword"}, field_limit=1, dynamic=False)
    made.write(rows({"a": "x", "b": "y"}))
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"a": "x", "b": "y"}]
    assert matches(tmp_path / "i", "_dyn.b", "y") == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"fields": {"a": "keywrod"}}, ("fields", "a")),
        ({"fields": {"a": {"type": "text", "analyzer": "x"}}}, ("fields", "a", "analyzer")),
        ({"id": []}, ("id",)),
        ({"memory": "1MB"}, ("memory",)),
        ({"retention": {"max_age": "1d", "field": "a"}}, ("retention", "field")),
    ],
)
def test_options_that_cannot_work_name_their_place(
    tmp_path: Path, options: dict[str, Any], path: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as error:
        Writer("i", tmp_path, msgspec.convert(options, Settings, dec_hook=decode), SystemClock())
    assert error.value.path == path


def test_every_example_makes_an_index(tmp_path: Path) -> None:
    for example in examples:
        create(
            msgspec.convert(example, Settings, dec_hook=decode), IndexContext("i", tmp_path, SystemClock())
        )


@pytest.mark.anyio
async def test_the_owner_runs_the_writer_in_a_thread(tmp_path: Path) -> None:
    index = create(settings(fields={"a": "integer"}), IndexContext("i", tmp_path / "i", SystemClock()))
    await index.close()
    assert (await index.open()).durable == {}
    assert await index.write(rows({"a": 1})) == []
    marks = await index.commit()
    assert marks.visible == marks.durable == {KEY: Position(1)}
    await index.close()
    assert index.dynamic == "true"
    assert sources(tmp_path / "i") == [{"a": 1}]


def test_a_failure_anywhere_goes_back_to_the_last_commit_and_the_next_write_works(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(rows({"a": 0}))
    made.commit()
    made.write(rows({"a": 1}, first=1))
    broken = batch(pl.DataFrame({"no record column": [1]}), first=2, records=1)
    with pytest.raises(Rewound) as rewound:
        made.write(broken)
    assert rewound.value.positions == {KEY: Position(1)}
    assert not rewound.value.disk_full
    made.write(rows({"a": 1}, first=1))
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"a": 0}, {"a": 1}]


def test_a_record_that_is_read_again_replaces_what_a_part_of_it_became(tmp_path: Path) -> None:
    """Also where the first attempt was killed before its commit; its neighbours stay."""
    made = writer(tmp_path / "i", threads=1)
    made.write(rows({"n": 1}, {"n": 2}))
    made.commit()
    again = rows({"n": 23}, {"n": 4}, first=1)
    again = replace(again, raw=replace(again.raw, again=True))
    made.write(again)
    made.close()
    assert sources(tmp_path / "i") == [{"n": 1}, {"n": 2}]
    made.open()
    made.write(again)
    ledger = made.commit().ledgers["pipe", "p"]
    made.write(again)  # a replay of what is committed
    made.commit()
    made.close()
    assert sorted(documents(tmp_path / "i").values(), key=str) == [{"n": 1}, {"n": 23}, {"n": 4}]
    assert ledger == Ledger(read=4, indexed=4)
