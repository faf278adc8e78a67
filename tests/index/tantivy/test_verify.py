"""An offline check finds what is wrong and repairs what it safely can."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest
import tantivy

from headrace.core.errors import RequestError, StoreError
from headrace.index.tantivy import open_reader, store
from headrace.index.tantivy.damage import damaged_files
from headrace.index.tantivy.sweep import MANAGED
from headrace.index.tantivy.verify import verify
from headrace.model import Ledger
from headrace.serve.requests import parsed
from writing import rows, writer


def _made(directory: Path, **options: object) -> Path:
    made = writer(directory, threads=1, **options)
    made.write(rows({"k": "a"}, {"k": "b"}, {"k": "a"}))
    made.commit()
    made.write(rows({"k": "c"}, first=3))
    made.commit()
    made.close()
    return directory / store.ENGINE


def _flip(path: Path, sound: bytes, at: int, bits: int) -> None:
    """As another file: one that is mapped must not become shorter, not for a moment."""
    path.unlink()
    path.write_bytes(sound[:at] + bytes([sound[at] ^ bits]) + sound[at + 1 :])


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


@pytest.mark.parametrize("kind", ["del", "fast", "fieldnorm", "idx", "pos", "store", "term"])
def test_any_flipped_byte_of_any_file_is_found(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "headrace.index.tantivy.positions.OLDER", 0
    )  # so that the second commit deletes something
    engine = _made(tmp_path / "i", id="k")
    names = [path.name for path in engine.iterdir() if len(path.name) > 33]
    assert damaged_files(engine, names) == {}
    path = next(engine.glob(f"*.{kind}"))
    sound = path.read_bytes()
    version = sound.rindex(b'{"version"'), sound.rindex(b',"crc"')
    for at in range(len(sound)):
        if kind == "del" and version[0] < at < version[1]:
            continue  # a later engine may have written the deletes
        _flip(path, sound, at, 1)
        assert list(damaged_files(engine, names)) == [path.name], at


def test_a_damaged_file_is_named_and_the_engine_is_not_asked_of_it(tmp_path: Path) -> None:
    engine = _made(tmp_path / "i")
    path = next(engine.glob("*.store"))
    path.write_bytes(b"?" + path.read_bytes()[1:])
    report = verify(tmp_path / "i", repair=True)
    assert [problem.what for problem in report.problems] == [
        f"{path.name} is damaged: its checksum is another one; restore the index from a copy, or index again"
    ]
    assert not report.sound


def test_a_cut_file_and_one_that_is_no_file_are_damaged(tmp_path: Path) -> None:
    engine = _made(tmp_path / "i")
    first, second, *_ = sorted(engine.glob("*.term")) + sorted(engine.glob("*.idx"))
    first.write_bytes(first.read_bytes()[:5])
    second.unlink()
    second.mkdir()
    assert damaged_files(engine, [first.name, second.name]) == {
        first.name: "it has 5 bytes, fewer than a footer",
        second.name: "it cannot be read: Is a directory",
    }


def _refusal(directory: Path) -> RequestError | None:
    """What a search is refused with. Raises StoreError where the index cannot be opened."""
    with closing(open_reader(directory)) as reader:
        try:
            reader.search(parsed({"query": {"term": {"k": "b"}}}, {}))
            reader.watermarks()
        except RequestError as error:
            return error
    return None


def test_what_the_engine_cannot_read_is_an_error_of_the_store_and_no_panic(tmp_path: Path) -> None:
    """Whatever byte is wrong, a reader says so in words or answers; nothing else comes through."""
    engine = _made(tmp_path / "i", fields={"k": "keyword"})
    for path in [path for path in engine.iterdir() if len(path.name) > 33]:
        sound = path.read_bytes()
        for at in range(0, len(sound), 5):
            _flip(path, sound, at, 0x55)
            with suppress(StoreError):
                told = _refusal(tmp_path / "i")
                assert told is None or told.status == 500, told
        _flip(path, sound, 0, 0)


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
