"""What a kill leaves behind is deleted before it is in the way, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.index.tantivy import store
from headrace.index.tantivy.sweep import MANAGED, leftovers, managed_files, sweep
from writing import documents, rows, sources, writer


def _upserted(directory: Path, rounds: int) -> None:
    made = writer(directory, id="k", threads=1)
    first = made.open().durable.get(("pipe", "p"))
    done = first.record if first else 0
    for number in range(done, done + rounds):
        made.write(rows({"k": "a", "v": number}, {"k": f"b{number}", "v": number}, first=2 * number))
        made.commit()
    made.close()


def test_only_files_that_the_last_commit_names_stay(tmp_path: Path) -> None:
    _upserted(tmp_path / "i", 3)
    engine = tmp_path / "i" / store.ENGINE
    before = {path.name for path in engine.iterdir()}
    strangers = {".tmpXyZ", "0" * 32 + ".idx", "0" * 32 + ".7.del", ".meta.json.new"}
    for name in strangers:
        (engine / name).write_bytes(b"x")
    (engine / "README").touch()
    sweep(engine)
    assert {path.name for path in engine.iterdir()} - {"README"} <= before
    assert leftovers(engine, store.read_meta(engine)) == []
    assert (engine / "README").exists()
    assert documents(tmp_path / "i")["a"] == {"k": "a", "v": 2}


def test_a_leftover_delete_file_of_a_commit_that_never_was_does_not_stop_the_replay(tmp_path: Path) -> None:
    """The engine counts operations anew, so the replayed commit needs the very name of the leftover."""
    _upserted(tmp_path / "i", 1)
    engine = tmp_path / "i" / store.ENGINE
    segment = store.read_meta(engine)["segments"][0]["segment_id"].replace("-", "")
    opstamp = store.read_meta(engine)["opstamp"]
    for ahead in range(1, 12):
        (engine / f"{segment}.{opstamp + ahead}.del").write_bytes(b"from a commit that never was")
    made = writer(tmp_path / "i", id="k", threads=1)
    made.write(rows({"k": "a", "v": 9}, first=2))
    made.commit()
    made.close()
    assert documents(tmp_path / "i")["a"] == {"k": "a", "v": 9}


def test_the_engines_list_of_its_files_is_made_to_match(tmp_path: Path) -> None:
    _upserted(tmp_path / "i", 2)
    engine = tmp_path / "i" / store.ENGINE
    (engine / MANAGED).write_text(json.dumps(["gone.idx"]))
    sweep(engine)
    listed = managed_files(engine)
    assert listed is not None
    assert store.META in listed
    assert all((engine / name).exists() for name in listed)
    _upserted(tmp_path / "i", 1)
    assert len(sources(tmp_path / "i")) == 4
