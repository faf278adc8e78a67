"""The catalogue's file survives kills, races and strangers."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from headrace.catalogue.entry import Alias, Catalogue, Made
from headrace.catalogue.store import Keeper, Watcher, read
from headrace.core.errors import RequestError, Retryable, StoreError


def adding(name: str) -> Made:
    return Made(name=name, uuid=f"uuid-{name}", created=1.5, options={"fields": {"a": "keyword"}})


def with_index(name: str, catalogue: Catalogue) -> Catalogue:
    return msgspec.structs.replace(catalogue, indexes={**catalogue.indexes, name: adding(name)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "catalogue.json"


def test_an_absent_file_is_an_empty_catalogue(path: Path) -> None:
    assert Catalogue() == read(path) == Keeper(path).catalogue
    assert not path.parent.exists()


def test_a_change_is_on_disk_when_it_returns(path: Path) -> None:
    """The folder is made as well, and everything of an entry comes back."""
    aliases = {"all": {"logs": Alias(filter={"term": {"a": 1}}, is_write_index=True)}}

    def edit(catalogue: Catalogue) -> Catalogue:
        return msgspec.structs.replace(with_index("logs", catalogue), aliases=aliases)

    changed = Keeper(path).change(edit)
    assert Catalogue(version=1, indexes={"logs": adding("logs")}, aliases=aliases) == changed == read(path)
    assert changed == Keeper(path).catalogue
    assert path.read_bytes().startswith(b'{\n  "format": 1,\n')


def test_the_version_grows_by_one_with_each_change_and_not_without_one(path: Path) -> None:
    keeper = Keeper(path)
    assert 1 == keeper.change(lambda c: with_index("a", c)).version
    assert 1 == keeper.change(lambda c: c).version
    assert 2 == keeper.change(lambda c: with_index("b", c)).version


def test_an_edit_that_raises_changes_nothing(path: Path) -> None:
    keeper = Keeper(path)
    before = keeper.change(lambda c: with_index("a", c))

    def refuse(_: Catalogue) -> Catalogue:
        raise RequestError(400, "x", "no")

    with pytest.raises(RequestError):
        keeper.change(refuse)
    assert before == keeper.catalogue == read(path)


def test_what_a_kill_left_beside_the_file_is_written_over(path: Path) -> None:
    """A kill before the rename leaves the old catalogue whole, and half a new one beside it."""
    before = Keeper(path).change(lambda c: with_index("a", c))
    leftover = path.with_name(f".{path.name}.new")
    leftover.write_bytes(b'{"format": 1, "indexes": {"b"')
    keeper = Keeper(path)
    assert before == keeper.catalogue
    assert {"a", "c"} == set(keeper.change(lambda c: with_index("c", c)).indexes) == set(read(path).indexes)
    assert not leftover.exists()


WRITER = """
import sys
from pathlib import Path
from msgspec.structs import replace
from headrace.catalogue.entry import Made
from headrace.catalogue.store import Keeper
keeper = Keeper(Path(sys.argv[1]))
while True:
    name = f"i{keeper.catalogue.version}"
    made = Made(name=name, uuid=name, created=0.0)
    changed = keeper.change(lambda c: replace(c, indexes={**c.indexes, name: made}))
    print(changed.version, flush=True)
"""


@pytest.mark.parametrize("after", [1, 20, 57])
def test_a_killed_writer_leaves_every_change_that_it_answered(path: Path, after: int) -> None:
    """Killed with no warning, somewhere between two changes or within one."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer:
        for _ in range(after):
            writer.stdout.readline()
        writer.kill()
        told = [after, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
    left = read(path)
    assert told <= left.version <= told + 1
    assert {f"i{number}" for number in range(left.version)} == set(left.indexes)
    assert left.version + 1 == Keeper(path).change(lambda c: with_index("next", c)).version


def test_changes_of_many_threads_all_count(path: Path) -> None:
    keeper = Keeper(path)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for turn in range(5):
            keeper.change(functools.partial(with_index, f"i{number}-{turn}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 == read(path).version == len(read(path).indexes)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"format": 1, "indexes": {"a": {"name": "a"}}}', "missing required field `uuid`"),
        (b'{"format": 2, "everything": "else"}', "has format 2, this version knows 1"),
    ],
)
def test_a_damaged_or_newer_file_is_refused_by_name_and_untouched(
    path: Path, content: bytes, told: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for opening in (read, Keeper, lambda p: Watcher(p).changed()):
        with pytest.raises(StoreError, match=r"catalogue\.json") as caught:
            opening(path)
        assert told in str(caught.value)
    assert content == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_a_catalogue_that_cannot_be_written_stays_as_it_was(path: Path) -> None:
    """Where the new file goes there is a folder: the change fails, and can be made once that is gone."""
    keeper = Keeper(path)
    before = keeper.change(lambda c: with_index("a", c))
    obstacle = path.with_name(f".{path.name}.new")
    obstacle.mkdir()
    with pytest.raises(Retryable, match=r"cannot write the catalogue .*catalogue\.json"):
        keeper.change(lambda c: with_index("b", c))
    assert before == keeper.catalogue == read(path)
    obstacle.rmdir()
    assert {"a", "b"} == set(keeper.change(lambda c: with_index("b", c)).indexes)


def test_a_watcher_sees_the_first_and_each_later_catalogue_once(path: Path) -> None:
    watcher, keeper = Watcher(path), Keeper(path)
    assert Catalogue() == watcher.changed()
    assert watcher.changed() is None
    for name in ("a", "b", "c"):
        changed = keeper.change(functools.partial(with_index, name))
        assert changed == watcher.changed()
        assert watcher.changed() is None


def test_a_file_touched_but_not_changed_is_nothing_new(path: Path) -> None:
    Keeper(path).change(lambda c: with_index("a", c))
    watcher = Watcher(path)
    watcher.changed()
    path.write_bytes(path.read_bytes() + b"\n")
    assert watcher.changed() is None
