"""The first operation of a writer reaches every segment, whatever is being merged: nothing deleted comes back.

The engine gives it the number of the last commit again, and a merge of what is committed goes by that number.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.index.tantivy import positions, store
from headrace.index.tantivy.positions import stored_positions
from headrace.index.tantivy.writer import Writer
from writing import rows, searcher, sources, writer

TO_MERGE = 8
"""Segments of one size that the engine merges."""

LARGEST, BEFORE_LAST = "large-1", "small-5"
"""One document of the largest segment, and one of the last commit but one."""


@pytest.fixture(autouse=True)
def _each_commit_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No older position document is kept, so that every commit deletes something."""
    monkeypatch.setattr(positions, "OLDER", 0)


def _other_segment(directory: Path) -> str:
    """The only segment of an index that is made just for it."""
    made = writer(directory, id="k", threads=1)
    made.write(replace(rows({"k": "other", "v": 0}), pipeline="elsewhere"))
    made.commit()
    made.close()
    return str(store.read_meta(directory / store.ENGINE)["segments"][0]["segment_id"])


def _killed_before_a_merge(directory: Path) -> Writer:
    """A writer opened on eight segments, as a kill leaves them after a commit and before the end of its merge.

    Seven were committed, the eighth is another index's: nothing is left to how fast a merge is.
    """
    made = writer(directory, id="k", threads=1)
    made.write(rows(*({"k": f"large-{n}", "v": 0} for n in range(10))))
    made.commit()
    for n in range(1, TO_MERGE - 1):
        made.write(rows(*({"k": f"small-{n}{end}", "v": 0} for end in ("", "'")), first=8 + 2 * n))
        if n == TO_MERGE - 3:
            made.write(replace(rows({"k": "q", "v": 0}), pipeline="q"))
        made.commit()
    made.close()
    name = _other_segment(directory.parent / "other")
    engine, other = directory / store.ENGINE, directory.parent / "other" / store.ENGINE
    for path in other.glob(f"{name.replace('-', '')}.*"):
        path.rename(engine / path.name)
    meta = store.read_meta(engine)
    meta["segments"] += store.read_meta(other)["segments"]
    (engine / store.META).write_text(json.dumps(meta))
    deleted = [(segment["deletes"] or {}).get("opstamp") for segment in meta["segments"]]
    assert len(deleted) == TO_MERGE
    assert meta["opstamp"] in deleted[1:], "the last commit deleted something, and not in the largest segment"
    return writer(directory, id="k", threads=1)


def _let_it_merge(made: Writer, directory: Path) -> None:
    made._ready()[1].wait_merging_threads()
    made.close()
    assert len(store.read_meta(directory / store.ENGINE)["segments"]) < TO_MERGE


def _values(directory: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for source in sources(directory):
        found.setdefault(source["k"], []).append(source["v"])
    return found


def test_what_the_first_operation_replaces_does_not_come_back_with_a_merge(tmp_path: Path) -> None:
    """On the bare engine the older one of them is there again when the merge ends: one document, twice."""
    made = _killed_before_a_merge(tmp_path / "i")
    made.write(rows({"k": BEFORE_LAST, "v": 1}, {"k": LARGEST, "v": 1}, first=22))
    made.commit()
    _let_it_merge(made, tmp_path / "i")
    found = _values(tmp_path / "i")
    assert [1] == found.pop(BEFORE_LAST)
    assert [1] == found.pop(LARGEST)
    assert {(0,)} == {tuple(each) for each in found.values()}
    assert 22 == len(found)


def test_what_is_not_committed_is_not_deleted_by_a_merge(tmp_path: Path) -> None:
    """On the bare engine it is gone, durably: a partial update that is replayed would find nothing to update."""
    made = _killed_before_a_merge(tmp_path / "i")
    made.write(rows({"k": BEFORE_LAST, "v": 1}, {"k": LARGEST, "v": 1}, first=22))
    _let_it_merge(made, tmp_path / "i")
    found = _values(tmp_path / "i")
    assert [0] == found[BEFORE_LAST]
    assert [0] == found[LARGEST]
    assert 24 == len(found)


def test_a_partition_has_one_position_when_it_moves_first(tmp_path: Path) -> None:
    """Its older position document lies where the last commit deleted another partition's."""
    made = _killed_before_a_merge(tmp_path / "i")
    made.write(replace(rows({"v": "no id"}, first=1), pipeline="q"))
    made.commit()
    _let_it_merge(made, tmp_path / "i")
    found = [
        (document.pipeline, document.position.record)
        for document in stored_positions(*searcher(tmp_path / "i"))
    ]
    assert [("elsewhere", 1), ("pipe", 22), ("q", 2)] == sorted(found)
