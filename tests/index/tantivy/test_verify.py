"""An offline check finds what is wrong and repairs what it safely can."""

from __future__ import annotations

from pathlib import Path

import pytest
import tantivy

from headrace.core.errors import StoreError
from headrace.index.tantivy import store
from headrace.index.tantivy.sweep import MANAGED
from headrace.index.tantivy.verify import verify
from headrace.model import Ledger
from writing import rows, writer


def _made(directory: Path, **options: object) -> Path:
    made = writer(directory, threads=1, **options)
    made.write(rows({"k": "a"}, {"k": "b"}, {"k": "a"}))
    made.commit()
    made.write(rows({"k": "c"}, first=3))
    made.commit()
    made.close()
    return directory / store.ENGINE


@pytest.mark.parametrize(("key", "documents"), [(None, 4), ("k", 3)])
def test_a_sound_index_is_said_to_be_sound(tmp_path: Path, key: str | None, documents: int) -> None:
    _made(tmp_path / "i", id=key)
    report = verify(tmp_path / "i")
    assert report.problems == []
    assert (report.documents, report.partitions, report.sound) == (documents, 1, True)
    assert report.ledger == Ledger(read=4, indexed=4)


def test_leftovers_are_reported_and_repaired_only_when_asked(tmp_path: Path) -> None:
    engine = _made(tmp_path / "i")
    (engine / ".tmpAAA").touch()
    (engine / MANAGED).write_text("[]")
    assert not verify(tmp_path / "i").sound
    assert (engine / ".tmpAAA").exists()
    report = verify(tmp_path / "i", repair=True)
    assert report.sound
    assert len(report.problems) == 2
    assert verify(tmp_path / "i").problems == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    engine = _made(tmp_path / "i")
    lost = next(engine.glob("*.store"))
    lost.unlink()
    report = verify(tmp_path / "i", repair=True)
    assert [problem.what.split()[0] for problem in report.problems] == [lost.name]
    assert not report.sound


def test_missing_documents_are_noticed_by_their_number(tmp_path: Path) -> None:
    _made(tmp_path / "i")
    index = store.open_engine(tmp_path / "i")
    engine = index.writer(20_000_000, 1)
    engine.delete_documents_by_query(tantivy.Query.term_query(index.schema, "_dyn.k", "b"))
    engine.commit()
    del engine
    report = verify(tmp_path / "i")
    assert [problem.what for problem in report.problems] == [
        "3 documents where the ledger says 4; index again"
    ]


def test_doubled_ids_strange_documents_and_unreadable_sources_are_noticed(tmp_path: Path) -> None:
    _made(tmp_path / "i", id="k")
    index = store.open_engine(tmp_path / "i")
    engine = index.writer(20_000_000, 1)
    engine.add_json('{"_id":"a","_seq":2,"_source":"bm90IGpzb24="}')
    engine.add_json('{"_id":"z"}')
    engine.commit()
    del engine
    found = " ".join(problem.what for problem in verify(tmp_path / "i").problems)
    assert "source of document 'a' cannot be read" in found
    assert "2 documents share their id" in found
    assert "1 documents are outside the sequence" in found


def test_an_open_index_and_a_folder_without_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index in"):
        verify(tmp_path / "i")
    made = writer(tmp_path / "i")
    with pytest.raises(StoreError, match="in use"):
        verify(tmp_path / "i")
    made.close()
