"""Commits in memory are searchable at once, durable once settled, and never lost unnoticed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.core.clock import SystemClock
from headrace.core.errors import Retryable, Rewound, StoreError
from headrace.index.tantivy import live as places
from headrace.index.tantivy import open_reader, store
from headrace.index.tantivy.live import Gone, Live
from headrace.index.tantivy.marks import MARKS, Marks
from headrace.index.tantivy.room import (
    DEFAULT_BASE,
    ROOM,
    available_memory,
    bytes_in_memory,
    is_tmpfs,
    largest_merge,
    usable,
)
from headrace.index.tantivy.verify import verify
from headrace.index.tantivy.writer import Writer
from headrace.model import Position
from writing import documents, rows, settings

KEY = ("pipe", "p")


class Hands(SystemClock):
    """A clock that is set by hand, for what never sleeps."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


pytestmark = pytest.mark.skipif(not is_tmpfs(DEFAULT_BASE), reason="there is no tmpfs at /dev/shm")


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder on a tmpfs."""
    made = Path(tempfile.mkdtemp(dir=DEFAULT_BASE))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """96 MB of tmpfs; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if mount else None
    if done is None or done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip() if done else 'no mount command'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def live_writer(
    directory: Path, base: Path | None, clock: Hands | None = None, total: int = 1 << 28, **options: Any
) -> Writer:
    """An opened writer that may work below `base`."""
    given = settings(**{"threads": 1, **options})
    made = Writer("i", directory, given, clock or Hands(), base=base, live_bytes=total)
    made.open()
    return made


def write(made: Writer, *keys: str, value: int = 1) -> None:
    first = made._position(KEY).position.record
    made.write(rows(*({"k": key, "v": value} for key in keys), first=first))
    made.commit()


def is_live(made: Writer) -> bool:
    return made.home.is_live


def found(directory: Path) -> int:
    """What a search finds now."""
    reader = open_reader(directory)
    try:
        return reader.count(None)
    finally:
        reader.close()


def the_live(directory: Path) -> Live:
    stands = places.find(directory)
    assert stands is not None
    return stands


def killed(made: Writer) -> None:
    """As `kill -9` leaves it: the folders stand, the locks are free."""
    made._drop()
    made._lock.release()
    ROOM.give_back(made.home)


def power_lost(made: Writer) -> None:
    """Killed, and the memory is empty."""
    root = the_live(made.directory).root
    killed(made)
    shutil.rmtree(root)


def test_a_commit_is_searchable_at_once_and_durable_when_it_is_settled(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base)
    write(made, "a", "b")
    marks = made.settled()
    assert (Position(2), None) == (marks.visible[KEY], marks.durable.get(KEY))
    assert (2, 0) == (found(tmp_path), len(documents(tmp_path)))
    the_live(tmp_path).settle()
    marks = made.settled()
    assert (Position(2), Position(2)) == (marks.visible[KEY], marks.durable[KEY])
    assert 2 == marks.ledgers[KEY].read
    assert 2 == len(documents(tmp_path))
    made.close()


def test_what_is_durable_is_that_of_the_settled_commit(tmp_path: Path, base: Path) -> None:
    """Later commits are visible, and not yet durable."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    write(made, "b")
    the_live(tmp_path).settle()
    write(made, "c")
    marks = made.settled()
    assert (3, 2) == (marks.visible[KEY].record, marks.durable[KEY].record)
    made.close()


def test_closed_it_is_on_the_disk_alone(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base, id="k")
    for value in range(20):
        write(made, "a", f"b{value}", value=value)
    made.close()
    assert [] == list(base.iterdir())
    assert places.pointed(tmp_path) is None
    assert [] == verify(tmp_path).problems
    assert 21 == len(documents(tmp_path)) == found(tmp_path)


def test_at_rest_it_is_on_the_disk_alone(tmp_path: Path, base: Path) -> None:
    """And the next write moves in again, after a while."""
    clock = Hands()
    made = live_writer(tmp_path, base, clock)
    write(made, "a")
    made.rest()
    assert [] == list(base.iterdir())
    marks = made.settled()
    assert marks.durable == marks.visible
    clock.pass_(60)
    write(made, "b")
    assert is_live(made)
    assert 2 == found(tmp_path)
    made.close()
    assert 2 == len(documents(tmp_path))


def test_killed_it_goes_on_from_what_was_in_memory(tmp_path: Path, base: Path) -> None:
    """Nothing is read again that was committed, though nobody had settled it."""
    made = live_writer(tmp_path, base)
    write(made, "a", "b")
    killed(made)
    assert 2 == found(tmp_path)
    assert verify(tmp_path).sound
    again = live_writer(tmp_path, base)
    marks = again.settled()
    assert (2, 2) == (marks.visible[KEY].record, marks.durable[KEY].record)
    assert 2 == len(documents(tmp_path))
    again.close()


def test_a_start_that_may_not_be_live_takes_up_what_a_live_one_left(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base)
    write(made, "a", "b")
    killed(made)
    again = live_writer(tmp_path, None)
    write(again, "c")
    assert not is_live(again)
    again.close()
    assert 3 == len(documents(tmp_path))
    assert [] == list(base.iterdir())


def test_after_a_power_loss_it_starts_from_what_was_settled(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base)
    write(made, "a")
    the_live(tmp_path).settle()
    write(made, "b")
    power_lost(made)
    again = live_writer(tmp_path, base)
    assert 1 == again.settled().visible[KEY].record
    assert "" == again.home.catching_up  # nobody was told of more
    assert 1 == found(tmp_path)
    write(again, "b", "c")
    again.close()
    assert 3 == len(documents(tmp_path))


def test_after_a_power_loss_it_is_not_searched_before_it_has_come_as_far_as_somebody_was_told(
    tmp_path: Path, base: Path
) -> None:
    """Neither before the start, nor while the sources are read again; then it is, and in memory again."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    the_live(tmp_path).settle()
    write(made, "b", "c")
    assert made.home.promise(KEY, 3)
    write(made, "d")
    power_lost(made)
    with pytest.raises(Gone, match="power loss"):
        found(tmp_path)
    again = live_writer(tmp_path, base)
    assert "read as far as before" in again.home.catching_up
    write(again, "b")
    with pytest.raises(Gone):
        found(tmp_path)
    killed(again)  # once more, before it has caught up
    again = live_writer(tmp_path, base)
    assert again.home.catching_up
    write(again, "c")
    assert "" == again.home.catching_up
    assert 3 == found(tmp_path)
    assert not (tmp_path / MARKS).exists()
    write(again, "d")
    again.close()
    assert 4 == len(documents(tmp_path))


def test_an_open_reader_refuses_while_it_catches_up_and_then_answers(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base)
    write(made, "a")
    reader = open_reader(tmp_path)
    assert 1 == reader.count(None)
    made.home.promise(KEY, 1)
    power_lost(made)
    with pytest.raises(Gone):
        reader.count(None)
    again = live_writer(tmp_path, base)
    with pytest.raises(Gone):
        reader.count(None)
    write(again, "a")
    assert 1 == reader.count(None)
    again.close()
    assert 1 == reader.count(None)
    reader.close()


def test_what_is_durable_needs_no_promise(tmp_path: Path, base: Path) -> None:
    """Nothing is written for it; nor twice for what was promised before."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    assert not made.home.is_promised(KEY, 1)
    assert made.home.promise(KEY, 1)
    assert made.home.is_promised(KEY, 1)
    size = (tmp_path / MARKS).stat().st_size
    assert made.home.promise(KEY, 1)
    the_live(tmp_path).settle()
    made.settled()
    write(made, "b")
    the_live(tmp_path).settle()
    made.settled()
    assert made.home.promise(KEY, 2)
    assert size == (tmp_path / MARKS).stat().st_size
    made.close()
    assert not (tmp_path / MARKS).exists()


def test_a_reader_follows_wherever_the_index_moves(tmp_path: Path, base: Path) -> None:
    clock = Hands()
    made = live_writer(tmp_path, None, clock)
    write(made, "a")
    made.close()
    reader = open_reader(tmp_path)
    made = live_writer(tmp_path, base, clock)
    counts = [reader.count(None)]
    for number in range(3):
        write(made, f"b{number}")
        counts.append(reader.count(None))
        the_live(tmp_path).settle()
        counts.append(reader.count(None))
        made.rest()
        counts.append(reader.count(None))
        clock.pass_(60)
    made.close()
    assert [1, 2, 2, 2, 3, 3, 3, 4, 4, 4] == counts
    assert 4 == reader.count(None)
    reader.close()


def test_a_view_stays_at_its_commit_wherever_the_index_moves(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base, id="k")
    write(made, "a", "b")
    reader = open_reader(tmp_path)
    view = reader.view()
    write(made, "a", "c", value=2)
    the_live(tmp_path).settle()
    made.rest()
    made.close()
    assert [1, 1] == sorted(json.loads(hit.source)["v"] for hit in view.get(["a", "b"]) if hit)
    assert (2, 3) == (view.count(None), reader.count(None))
    reader.close()


def test_a_folder_that_vanishes_costs_what_was_not_settled_and_no_more(tmp_path: Path, base: Path) -> None:
    """As when somebody is logged out, and the system empties the tmpfs of all that was his."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    the_live(tmp_path).settle()
    write(made, "b")
    made.home.promise(KEY, 2)
    shutil.rmtree(the_live(tmp_path).root)
    with pytest.raises(Rewound) as caught:
        made.settled()
    assert {KEY: Position(1)} == caught.value.positions == caught.value.durable
    assert made.home.catching_up
    with pytest.raises(Gone):
        found(tmp_path)
    write(made, "b", "c")
    assert "" == made.home.catching_up
    assert 3 == found(tmp_path)
    made.close()
    assert 3 == len(documents(tmp_path))


@pytest.mark.parametrize("emptied", ["all of it", "a segment", "all but the owner"])
def test_a_write_into_a_folder_that_vanished_goes_back(tmp_path: Path, base: Path, emptied: str) -> None:
    """Whatever is left of it."""
    made = live_writer(tmp_path, base, id="k")
    write(made, "a")
    the_live(tmp_path).settle()
    write(made, "b")
    engine = the_live(tmp_path).engine
    if emptied == "all of it":
        shutil.rmtree(engine.parent)
    elif emptied == "a segment":
        for path in engine.iterdir():
            if path.suffix in {".idx", ".term", ".store", ".fast"} and not path.is_symlink():
                path.unlink()
    else:
        shutil.rmtree(engine)
    with pytest.raises(Rewound) as caught:
        _write_until_it_is_seen(made)
    assert {KEY: Position(1)} == caught.value.positions
    write(made, "b")
    made.close()
    assert {"a", "b"} == set(documents(tmp_path))
    assert 2 == found(tmp_path)


def _write_until_it_is_seen(made: Writer) -> None:
    for number in range(10):
        write(made, "b", f"c{number}")
    made.rest()


def test_a_lost_list_is_written_again(tmp_path: Path, base: Path) -> None:
    """By the next commit: the engine knows it by heart."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    (the_live(tmp_path).engine / store.META).unlink()
    write(made, "b")
    made.close()
    assert 2 == len(documents(tmp_path))


def test_a_copy_of_an_index_is_not_at_home_in_the_live_folder_of_the_original(
    tmp_path: Path, base: Path
) -> None:
    made = live_writer(tmp_path / "i", base)
    write(made, "a")
    the_live(tmp_path / "i").settle()
    write(made, "b")
    shutil.copytree(tmp_path / "i", tmp_path / "copy", symlinks=True)
    with pytest.raises(Gone):
        found(tmp_path / "copy")
    copy = live_writer(tmp_path / "copy", base)
    assert 1 == copy.settled().visible[KEY].record
    write(copy, "c")
    copy.close()
    assert 2 == found(tmp_path / "i")
    made.close()
    assert {2} == {len(documents(tmp_path / name)) for name in ("i", "copy")}


def test_an_index_leaves_memory_before_its_merges_need_more_than_there_is(tmp_path: Path, base: Path) -> None:
    """At a commit; nothing is lost, and it moves in again when the merge is done."""
    clock = Hands()
    made = live_writer(tmp_path, base, clock, total=64 << 20)
    write(made, "a")
    assert is_live(made)
    made.home._total = 0
    clock.pass_(1)
    write(made, "b")
    assert not is_live(made)
    assert [] == list(base.iterdir())
    made.home._total = 64 << 20
    clock.pass_(1)
    write(made, "c")
    assert not is_live(made)
    clock.pass_(60)
    write(made, "d")
    write(made, "e")
    assert is_live(made)
    assert 5 == found(tmp_path)
    made.close()
    assert 5 == len(documents(tmp_path))


@pytest.mark.service
def test_an_index_goes_on_upon_the_disk_when_memory_is_full(tmp_path: Path, small: Path) -> None:
    """Somebody else fills the tmpfs: what was committed is kept, and what was not is read again."""
    made = live_writer(tmp_path / "i", small, id="k")
    write(made, "a")
    assert is_live(made)
    with suppress(OSError), (small / "other").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with pytest.raises(Rewound) as caught:
        write(made, *(f"k{number}" for number in range(5_000)))
    assert ({KEY: Position(1)}, False) == (caught.value.positions, caught.value.disk_full)
    assert not is_live(made)
    write(made, *(f"k{number}" for number in range(5_000)))
    made.close()
    assert 5_001 == len(documents(tmp_path / "i")) == found(tmp_path / "i")
    assert [small / "other"] == list(small.iterdir())


def test_an_index_that_nobody_settles_settles_itself(tmp_path: Path, base: Path) -> None:
    clock = Hands()
    made = live_writer(tmp_path, base, clock)
    write(made, "a")
    clock.pass_(31)
    write(made, "b")
    marks = made.settled()
    assert marks.durable == marks.visible
    assert 2 == len(documents(tmp_path))
    made.close()


def test_what_cannot_be_settled_stays_in_memory(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: it goes on, and a start waits, until there is room."""
    clock = Hands()
    made = live_writer(tmp_path, base, clock)
    write(made, "a")
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfile", _full)
        made.rest()
        assert is_live(made)
        write(made, "b")
        made.close()
        assert 2 == found(tmp_path)
        with pytest.raises(Retryable, match="cannot settle"):
            live_writer(tmp_path, base)
    again = live_writer(tmp_path, base)
    assert 2 == again.settled().durable[KEY].record
    again.close()
    assert 2 == len(documents(tmp_path))


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_settlement_under_way_is_waited_for(tmp_path: Path, base: Path) -> None:
    """Two at once would publish what the other one has not copied."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    with places.settling(tmp_path, 0), pytest.raises(StoreError, match="in use"):
        the_live(tmp_path).settle()
    made.close()


def test_a_live_folder_that_was_left_is_not_settled_any_more(tmp_path: Path, base: Path) -> None:
    """Not even if it is all still there."""
    made = live_writer(tmp_path, base)
    write(made, "a")
    left = the_live(tmp_path)
    shutil.copytree(left.root, tmp_path / "kept", symlinks=True)
    made.close()
    shutil.copytree(tmp_path / "kept", left.root, symlinks=True)
    assert left.settle() is None
    assert [] == list(places.live_indexes(tmp_path.parent))


def test_orphans_are_removed_and_nothing_else(tmp_path: Path, base: Path) -> None:
    indexes = tmp_path / "indexes"
    made = live_writer(indexes / "i", base)
    write(made, "a")
    stands = the_live(indexes / "i").root
    orphan = base / "headrace-orphan"
    shutil.copytree(stands, orphan, symlinks=True)
    stranger = base / "headrace-stranger"
    stranger.mkdir()
    (stranger / "owner").write_text("1:2:/somewhere/else/indexes/i")
    young = stands.stat().st_mtime - 10
    assert [] == places.remove_orphans(indexes, [base], older_than=young)
    assert [orphan] == places.remove_orphans(indexes, [base], older_than=young + 3600)
    assert stands.exists()
    assert stranger.exists()
    made.close()


def test_marks_are_the_highest_of_each_partition(tmp_path: Path) -> None:
    """A line that was cut off had not been answered."""
    marks = Marks(tmp_path)
    marks.note({("p", "a"): 3})
    marks.note({("p", "a"): 2, ("p", "b"): 1})
    marks.note({("p", "a"): 9})
    assert {("p", "a"): 9, ("p", "b"): 1} == Marks(tmp_path).read()
    with (tmp_path / MARKS).open("ab") as file:
        file.write(b'\n[["p","a",9999')
    assert {("p", "a"): 9, ("p", "b"): 1} == Marks(tmp_path).read()
    for at in range(10, 20_000, 60):
        marks.note({("p", "a"): at})
    assert 19_990 == Marks(tmp_path).read()["p", "a"]
    marks.forget()
    assert {} == Marks(tmp_path).read()


def test_a_folder_that_is_on_no_tmpfs_is_refused(tmp_path: Path, base: Path) -> None:
    """The index is on the disk then, as if nothing had been asked."""
    assert "" == usable(base)
    assert "not on a tmpfs" in usable(Path(__file__).parent)
    assert "no folder" in usable(base / "missing")
    made = live_writer(tmp_path, Path(__file__).parent)
    write(made, "a")
    assert not is_live(made)
    made.close()


def test_memory_is_that_of_files_which_are_no_links(tmp_path: Path, base: Path) -> None:
    made = live_writer(tmp_path, base)
    write(made, "a")
    engine = the_live(tmp_path).engine
    before = bytes_in_memory(engine)
    the_live(tmp_path).settle()
    assert bytes_in_memory(engine) < before / 2
    assert available_memory() > 1 << 20
    made.close()


@pytest.mark.parametrize(
    ("segments", "expected"), [([], 0), ([100] * 5, 0), ([100] * 6, 6), ([10**6] * 7, 7)]
)
def test_the_largest_merge_is_that_of_a_class_that_is_nearly_full(
    tmp_path: Path, segments: list[int], expected: int
) -> None:
    """Counted in segments of one byte each."""
    entries = [
        {"segment_id": f"{number:032x}", "max_doc": count, "deletes": None}
        for number, count in enumerate([*segments, 50_000, 90_000])
    ]
    for entry in entries:
        (tmp_path / f"{entry['segment_id']}.idx").write_bytes(b"x")
    assert expected == largest_merge(tmp_path, {"segments": entries})


def test_links_lead_to_the_index_wherever_it_was_named_from(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative data_dir is another folder to the next process."""
    monkeypatch.chdir(tmp_path)
    made = live_writer(Path("i"), base)
    write(made, "a")
    monkeypatch.chdir("/")
    the_live(tmp_path / "i").settle()
    links = [path for path in the_live(tmp_path / "i").engine.iterdir() if path.is_symlink()]
    assert links
    assert all(path.readlink().is_relative_to(tmp_path) for path in links)
    assert 1 == found(tmp_path / "i")
    monkeypatch.chdir(tmp_path)
    made.close()
