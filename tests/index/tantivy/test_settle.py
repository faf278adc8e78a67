"""Killed at any step, a settlement leaves the disk at a commit: the one before, or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tantivy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.core.errors import StoreError
from headrace.index.tantivy import store
from headrace.index.tantivy.settle import Settled, link, meta_lock, settle
from headrace.index.tantivy.sweep import belongs, leftovers, managed_files, named_files
from headrace.index.tantivy.verify import verify
from headrace.index.tantivy.writer import Writer
from writing import documents, rows, writer


class Killed(BaseException):
    """Between two steps; nothing catches it, as nothing catches the real thing."""


@dataclass
class Folders:
    """An index that is written in one place and settled to another."""

    live: Path
    durable: Path
    staging: Path

    @property
    def engines(self) -> tuple[Path, Path, Path]:
        return self.live / store.ENGINE, self.durable / store.ENGINE, self.staging

    def settle(self) -> Settled | None:
        return settle(*self.engines)

    def killed_after(self, steps: int) -> bool:
        """Whether it came that far."""
        left = steps

        def step(_: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        try:
            settle(*self.engines, step=step)
        except Killed:
            return True
        return False

    def linked(self) -> set[str]:
        return {path.name for path in (self.live / store.ENGINE).iterdir() if path.is_symlink()}


def _folders(tmp_path: Path, **options: Any) -> Folders:
    """Both at the same empty beginning, as a live folder begins."""
    made = writer(tmp_path / "durable", **options)
    made.close()
    shutil.copytree(tmp_path / "durable", tmp_path / "live")
    return Folders(tmp_path / "live", tmp_path / "durable", tmp_path / "staging")


def _write(made: Writer, *keys: str, value: int) -> None:
    first = made._position(("pipe", "p")).position.record
    made.write(rows(*({"k": key, "v": value} for key in keys), first=first))
    made.commit()


def test_the_durable_folder_has_what_was_committed(tmp_path: Path) -> None:
    """And not what is only written."""
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    _write(made, "a", "b", value=1)
    made.write(rows({"k": "c", "v": 9}, first=2))
    settled = folders.settle()
    assert settled is not None
    assert settled.opstamp == store.read_meta(folders.durable / store.ENGINE)["opstamp"]
    assert {"a": {"k": "a", "v": 1}, "b": {"k": "b", "v": 1}} == documents(folders.durable)
    assert verify(folders.durable).problems == []
    made.close()


def test_a_state_that_is_not_ahead_is_never_published(tmp_path: Path) -> None:
    """Neither the same commit again, nor an older one of a live folder that was left behind."""
    folders = _folders(tmp_path, threads=1)
    made = writer(folders.live, threads=1)
    _write(made, "a", value=1)
    assert folders.settle() is not None
    assert folders.settle() is None
    made.close()
    ahead = writer(folders.durable, threads=1)
    _write(ahead, "b", value=2)
    ahead.close()
    assert folders.settle() is None
    assert len(documents(folders.durable)) == 2


def test_what_is_settled_is_no_longer_in_memory(tmp_path: Path) -> None:
    """Each file of the commit is a link to the disk, and the writer goes on with them."""
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    _write(made, "a", "b", value=1)
    folders.settle()
    meta = store.read_meta(folders.live / store.ENGINE)
    assert folders.linked() == {
        path.name for path in (folders.live / store.ENGINE).iterdir() if belongs(path.name, named_files(meta))
    }
    assert list(folders.staging.iterdir()) == []
    for value in range(2, 20):  # merges, deletes of documents in linked files, and their collection
        _write(made, "a", f"c{value}", value=value)
    folders.settle()
    assert documents(folders.durable) == documents(folders.live)
    assert documents(folders.durable)["a"] == {"k": "a", "v": 19}
    made.close()


def test_files_that_nobody_needs_any_more_are_unlinked(tmp_path: Path) -> None:
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    for value in range(30):
        _write(made, "a", f"b{value}", value=value)
        if value % 3 == 0:
            folders.settle()
    folders.settle()
    made.close()
    durable = folders.durable / store.ENGINE
    unneeded = leftovers(durable, store.read_meta(durable))
    assert all(os.path.lexists(folders.live / store.ENGINE / name) for name in unneeded)
    assert set(managed_files(durable) or ()) >= {store.META}
    assert verify(folders.durable, repair=True).sound
    assert documents(folders.durable) == documents(folders.live)


def test_an_old_file_that_the_live_folder_still_has_stays(tmp_path: Path) -> None:
    """A merge there may be about to open it."""
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    _write(made, "a", value=1)
    folders.settle()
    live, durable, _ = folders.engines
    stale = "0" * 32 + ".5.del"
    for name in (stale, "1" * 32 + ".idx"):
        (durable / name).write_bytes(b"x")
    link(live, durable, stale)
    _write(made, "a", value=2)
    folders.settle()
    assert (durable / stale).exists()
    assert not (durable / ("1" * 32 + ".idx")).exists()
    made.close()


def test_half_a_copy_under_the_right_name_is_copied_again(tmp_path: Path) -> None:
    """A file counts as copied only if the last settled list names it."""
    folders = _folders(tmp_path, threads=1)
    made = writer(folders.live, threads=1)
    _write(made, "a", value=1)
    live, durable, _ = folders.engines
    for path in live.iterdir():
        if belongs(path.name, None):
            (durable / path.name).write_bytes(b"half")
    folders.settle()
    assert len(documents(folders.durable)) == 1
    made.close()


def test_a_link_to_what_was_never_settled_is_not_published(tmp_path: Path) -> None:
    folders = _folders(tmp_path, threads=1)
    made = writer(folders.live, threads=1)
    _write(made, "a", value=1)
    live, durable, _ = folders.engines
    link(live, durable, next(path.name for path in live.iterdir() if path.suffix == ".idx"))
    with pytest.raises(StoreError, match="never settled"):
        folders.settle()
    assert documents(folders.durable) == {}
    made.close()


def test_the_engine_collects_no_garbage_while_files_are_taken(tmp_path: Path) -> None:
    """Its lock is ours: whoever opens the folder waits for it."""
    folders = _folders(tmp_path, threads=1)
    opened = threading.Event()

    def open_it() -> None:
        store.open_engine(folders.live).searcher()
        opened.set()

    opening = threading.Thread(target=open_it)
    with meta_lock(folders.live / store.ENGINE):
        opening.start()
        assert not opened.wait(0.2)
    opening.join()
    assert opened.is_set()


def _steps_of_a_settlement(tmp_path: Path) -> int:
    return next(steps for steps in range(200) if not _killed(tmp_path / str(steps), steps))


def _killed(folder: Path, steps: int) -> bool:
    folder.mkdir()
    folders = _folders(folder, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    _write(made, "a", "b", value=1)
    folders.settle()
    before = documents(folders.durable)
    _write(made, "a", "c", value=2)
    after = documents(folders.live)
    killed = folders.killed_after(steps)
    _is_one_of(folders.durable, before, after)
    # The next settlement finishes what this one has begun.
    _write(made, "d", value=3)
    folders.settle()
    assert documents(folders.durable) == documents(folders.live)
    assert folders.linked() == {
        path.name
        for path in (folders.live / store.ENGINE).iterdir()
        if belongs(path.name, named_files(store.read_meta(folders.live / store.ENGINE)))
    }
    made.close()
    return killed


def _is_one_of(durable: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert documents(durable) in (before, after)
    copy = durable.with_name("copy")  # what a start after a power loss would find, and sweep
    shutil.copytree(durable, copy)
    assert verify(copy, repair=True).sound
    opened = writer(copy, id="k", threads=1)
    _write(opened, "z", value=0)
    opened.close()
    assert documents(copy) in ({**before, "z": {"k": "z", "v": 0}}, {**after, "z": {"k": "z", "v": 0}})
    shutil.rmtree(copy)


def test_a_kill_after_each_step_leaves_a_commit(tmp_path: Path) -> None:
    """The one before or the new one, whole, and writable; and what is left undone is done by the next."""
    assert 10 < _steps_of_a_settlement(tmp_path) < 100


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(0, 60))), max_size=8))
def test_settled_again_and_again_it_moves_forward(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[int, int | None]]
) -> None:
    """Whatever is written between, and wherever each settlement is killed."""
    tmp_path = tmp_path_factory.mktemp("rounds")
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    seen = [documents(folders.durable)]
    at = 0
    for number, (commits, kill) in enumerate(rounds):
        for commit in range(commits):
            _write(made, "a", f"b{number % 3}", value=number * 10 + commit)
            seen.append(documents(folders.live))
        if kill is None:
            folders.settle()
        else:
            folders.killed_after(kill)
        found = seen.index(documents(folders.durable))
        assert found >= at
        at = found
    made.close()


KILLED_SETTLER = """
import os, sys
from pathlib import Path
from headrace.index.tantivy.settle import settle

left = int(sys.argv[4])

def step(_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)

settle(*map(Path, sys.argv[1:4]), step=step)
"""


@pytest.mark.parametrize("steps", [0, 3, 9, 12, 14])
def test_a_settler_that_is_killed_leaves_a_commit(tmp_path: Path, steps: int) -> None:
    """The same by the real signal."""
    folders = _folders(tmp_path, id="k", threads=1)
    made = writer(folders.live, id="k", threads=1)
    _write(made, "a", value=1)
    arguments = [*map(str, folders.engines), str(steps)]
    code = textwrap.dedent(KILLED_SETTLER)
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=30)
    assert done.returncode in (-9, 0)
    _is_one_of(folders.durable, {}, documents(folders.live))
    assert folders.settle() is not None or documents(folders.durable) == documents(folders.live)
    made.close()


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last settled commit stays, and the next settlement goes on when there is room."""
    folders = _folders(tmp_path, threads=1)
    made = writer(folders.live, threads=1)
    _write(made, "a", value=1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", _full)
        with pytest.raises(OSError, match="No space"):
            folders.settle()
    assert documents(folders.durable) == {}
    assert folders.settle() is not None
    assert len(documents(folders.durable)) == 1
    made.close()


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_engines_version_still_deletes_nothing_it_does_not_list(tmp_path: Path) -> None:
    """A link that the engine deletes is only a link."""
    folders = _folders(tmp_path, threads=1)
    made = writer(folders.live, threads=1)
    _write(made, "a", value=1)
    folders.settle()
    made.close()
    index = tantivy.Index.open(str(folders.live / store.ENGINE))
    engine = index.writer(20_000_000, 1)
    engine.delete_all_documents()
    engine.commit()
    engine.garbage_collect_files()
    engine.wait_merging_threads()
    assert len(documents(folders.durable)) == 1
