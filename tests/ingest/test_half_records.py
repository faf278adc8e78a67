"""A file that ends in the midst of a record is read, and that record again when the file has grown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.index.tantivy.verify import verify
from headrace.ingest.files.source import FileSource
from headrace.layout import index_directory
from headrace.model import RECORD, Position
from headrace.pipeline.deadletter import DeadLetterView
from ingest.test_files import make, read_all

pytestmark = pytest.mark.anyio

FILES = {
    "a.ndjson": b'{"n":1,"t":"ab"}\n{"n":23,"t":"c\\nd"}\n\n{"n":4567}\n',
    "a.csv": b'n,t\n1,ab\n23,"c ""x""\nd"\n45,e67\n',
    "b.csv": b'n,t,u\r\n1,"2\r\n,""x""",3\r\n4,5,66',
    "a.txt": b"one\ntwo three\r\nfour",
}
FORMATS = {".ndjson": "ndjson", ".csv": "csv", ".txt": "lines"}

Read = dict[tuple[str, int], Any]


def bare(row: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that only its neighbours in the batch have."""
    return {name: value for name, value in row.items() if value is not None}


def options(path: Path) -> dict[str, Any]:
    return {"format": FORMATS[path.suffix], **({"header": True} if path.suffix == ".csv" else {})}


def source(path: Path, **more: Any) -> FileSource:
    return make(path.parent, paths=[path.name], **options(path), **more)


async def read(path: Path, found: Read, resume: dict[str, Position], **more: Any) -> dict[str, Position]:
    """Read on, as an index would: by number, a record that is read again in place of what it was."""
    batches, positions = await read_all(source(path, **more), resume)
    for raw in batches:
        if raw.again:
            found.pop((raw.partition, raw.first_record), None)
        decoded = raw.decoder.decode(raw)
        rejected = {(raw.partition, one.record): one.reason for one in decoded.rejections}
        rows = {
            (raw.partition, row.pop(RECORD)): bare(row)
            for frame in decoded.frames
            for row in frame.to_dicts()
        }
        assert not found.keys() & (rows.keys() | rejected.keys()), "a record came twice"
        found |= {**rows, **rejected}
    return positions


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("follow", [False, True], ids=["once", "then followed"])
async def test_a_file_that_was_cut_at_any_byte_is_read_as_if_it_had_been_whole(
    tmp_path: Path, name: str, follow: bool
) -> None:
    """Each record once, under its number, with all of its bytes; nothing else, no dead letter."""
    path, data = tmp_path / name, FILES[name] + (b"" if FILES[name].endswith(b"\n") or not follow else b"\n")
    path.write_bytes(data)
    whole: Read = {}
    await read(path, whole, {})
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        found: Read = {}
        positions = await read(path, found, {})
        path.write_bytes(data)
        positions = await read(path, found, positions, follow=follow)
        assert found == whole, cut
        await read(path, found, positions)
        assert found == whole, f"{cut}: read once more"


@given(st.sampled_from(sorted(FILES)), st.lists(st.integers(0, 60), max_size=6), st.integers(1, 40))
async def test_cut_as_often_as_it_may_be_it_is_read_as_if_it_had_been_whole(
    tmp_path_factory: pytest.TempPathFactory, name: str, cuts: list[int], batch_bytes: int
) -> None:
    """Whatever the batches, and packed just as well."""
    path, data = tmp_path_factory.mktemp("cut") / name, FILES[name]
    path.write_bytes(data)
    whole: Read = {}
    await read(path, whole, {})
    for pack in (bytes, gzip.compress):
        found: Read = {}
        positions: dict[str, Position] = {}
        for cut in [*sorted(cuts), len(data)]:
            path.write_bytes(pack(data[:cut]))
            positions = await read(path, found, positions, batch_bytes=batch_bytes)
        assert found == whole


async def test_a_record_too_large_is_one_however_its_file_grew(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    line = json.dumps({"t": "x" * 3000}).encode()
    path.write_bytes(line[:1500])
    found: Read = {}
    positions = await read(path, found, {}, max_record_bytes=1000)
    path.write_bytes(line + b'\n{"t":"y"}\n')
    await read(path, found, positions, max_record_bytes=1000)
    assert list(found.values()) == ["record_too_large", {"t": "y"}]


def documents(folder: Path) -> dict[str, Any]:
    with headrace.open(folder) as index:
        found = index.search({"query": {"match_all": {}}, "size": 100})
        return {hit.id: json.loads(hit.source) for hit in found}


def letters(folder: Path) -> list[tuple[int, str]]:
    path = folder / "dead_letters.sqlite"
    return [(one.record, one.reason) for one in DeadLetterView(path).list()] if path.exists() else []


def index(path: Path, into: Path, **more: Any) -> None:
    headrace.index(path, into=into, name="i", options=options(path), **more).close()


@pytest.mark.parametrize(
    ("name", "cut", "half", "dead"),
    [
        ("a.csv", 10, None, [(1, "wrong_columns")]),
        ("a.csv", 28, {"n": 45, "t": "e"}, []),
        ("a.csv", 21, None, []),
        ("a.ndjson", 24, None, [(1, "malformed")]),
        ("a.ndjson", 39, None, [(3, "malformed")]),
        ("a.txt", 7, None, []),
    ],
)
async def test_an_index_has_one_document_of_a_record_that_was_cut_and_no_dead_letter(
    tmp_path: Path, name: str, cut: int, half: Any, dead: list[tuple[int, str]]
) -> None:
    path, data = tmp_path / name, FILES[name]
    path.write_bytes(data)
    index(path, tmp_path / "whole")
    path.write_bytes(data[:cut])
    index(path, tmp_path / "cut")
    assert letters(tmp_path / "cut") == dead
    assert half is None or half in documents(tmp_path / "cut").values()
    path.write_bytes(data)
    for _ in range(2):
        index(path, tmp_path / "cut")
        assert documents(tmp_path / "cut") == documents(tmp_path / "whole")
        assert letters(tmp_path / "cut") == []
    report = verify(index_directory(tmp_path / "cut", "i"))
    assert report.sound, report.problems


async def test_a_record_that_turns_out_bad_leaves_a_dead_letter_in_place_of_its_half(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"n,t\n1,a\n2,b")
    index(path, tmp_path / "i")
    assert [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}] == list(documents(tmp_path / "i").values())
    path.write_bytes(b"n,t\n1,a\n2,b,c\n")
    index(path, tmp_path / "i")
    assert [{"n": 1, "t": "a"}] == list(documents(tmp_path / "i").values())
    assert [(1, "wrong_columns")] == letters(tmp_path / "i")


async def test_with_a_declared_id_the_whole_record_replaces_its_half(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"n,t\n1,a\n2,b")
    index(path, tmp_path / "i", id="n")
    path.write_bytes(b"n,t\n1,a\n2,bcd\n")
    index(path, tmp_path / "i", id="n")
    assert {"1": {"n": 1, "t": "a"}, "2": {"n": 2, "t": "bcd"}} == documents(tmp_path / "i")
