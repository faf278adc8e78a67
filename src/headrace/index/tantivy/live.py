"""Where an index's engine folder is: in the index's own folder, or on tmpfs with that one behind it.

`live` in the index's folder is a symbolic link to the live folder: `engine/` with the newest commits, and
`owner`, which says whose it is. While the link leads nowhere, or to what is not this folder's (a power loss
emptied the tmpfs, the folder was copied), the newest commits are gone: then the index is not searched until
its sources have been read again as far as somebody was told.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.core.errors import StoreError
from headrace.core.files import sync_folder
from headrace.core.lock import RoleLock
from headrace.index.tantivy.settle import Settled, clear, link, meta_lock, settle
from headrace.index.tantivy.store import ENGINE, META, read_meta
from headrace.index.tantivy.sweep import MANAGED, belongs, named_files

POINTER: Final = "live"
OWNER: Final = "owner"
STAGING: Final = "staging"
PREFIX: Final = "headrace-"
REMOVALS: Final = 3
SETTLER_SECONDS: Final = 60.0
"""How long a settlement under way is waited for."""


class Gone(StoreError):
    """The live folder of an index is not there any more, or is not its own."""


@dataclass(frozen=True, slots=True)
class Live:
    """A live folder that stands, and the index's folder it belongs to."""

    root: Path
    directory: Path

    @property
    def engine(self) -> Path:
        return self.root / ENGINE

    @property
    def durable(self) -> Path:
        return self.directory / ENGINE

    def settle(self, *, wait: float = 0.0) -> Settled | None:
        """Make its last commit durable; None if it is. Raises StoreError where another is at it, OSError."""
        with settling(self.directory, wait):
            if pointed(self.directory) != str(self.root):
                return None
            return settle(self.engine, self.durable, self.root / STAGING)

    def leave(self) -> None:
        """Settle it and remove it, with no engine's writer open: from now on the index is on the disk.

        Raises StoreError, OSError: then it stands as it is."""
        with settling(self.directory, SETTLER_SECONDS):
            settle(self.engine, self.durable, self.root / STAGING)
            behind = read_meta(self.durable)["opstamp"] - read_meta(self.engine)["opstamp"]
            if behind:
                raise StoreError(
                    f"{self.root} is not the live folder of {self.durable}: {behind:+} operations"
                )
            unpoint(self.directory)
        self.remove()

    def remove(self) -> None:
        """Give its memory back. What the last writer's merges still write, the settler deletes later."""
        for _ in range(REMOVALS):
            shutil.rmtree(self.root, ignore_errors=True)
            if not self.root.exists():
                return


def settling(directory: Path, wait: float) -> _Settling:
    """Held by whoever settles this index: one at a time, over all processes."""
    return _Settling(directory, wait)


class _Settling:
    def __init__(self, directory: Path, wait: float) -> None:
        self._lock = RoleLock(directory, "settler")
        self._wait = wait

    def __enter__(self) -> None:
        self._lock.acquire(wait=self._wait)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def pointed(directory: Path) -> str | None:
    """What the link says; None where the index is on the disk."""
    try:
        return os.readlink(directory / POINTER)  # noqa: PTH115  looked at with each search: half the time
    except OSError:
        return None


def find(directory: Path) -> Live | None:
    """The live folder of the index, None where it has none. Raises Gone."""
    target = pointed(directory)
    if target is None:
        return None
    root = Path(target)
    try:
        is_own = (root / OWNER).read_text() == _owner(directory)
        is_ours = root.lstat().st_uid == directory.stat().st_uid and not root.is_symlink()
    except OSError:
        is_own = is_ours = False
    if is_own and is_ours:
        return Live(root, directory)
    if pointed(directory) != target:  # it was left or made anew in this moment
        return find(directory)
    raise Gone(
        f"the newest commits of the index in {directory} were in memory, in {root}, and are gone (a power "
        "loss, or somebody emptied it); start its service: the index is searched again when its sources "
        "have been read as far as before"
    )


def engine_folder(directory: Path) -> Path:
    """The engine folder with the newest commit. Raises Gone."""
    found = find(directory)
    return directory / ENGINE if found is None else found.engine


def make(directory: Path, base: Path) -> Live:
    """A live folder below `base` at the commit of the durable one, with no engine's writer open.

    Raises OSError; then nothing has changed."""
    durable = (directory / ENGINE).resolve()
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        (root / OWNER).write_text(_owner(directory))
        root.chmod(directory.stat().st_mode & 0o777)  # who may read the index may read it here
        live = Live(root, directory)
        live.engine.mkdir()
        clear(root / STAGING)
        with meta_lock(durable):
            content = (durable / META).read_bytes()
            named = named_files(json.loads(content))
            files = sorted(entry.name for entry in os.scandir(durable) if belongs(entry.name, named))
        for name in files:
            link(live.engine, durable, name)
        (live.engine / MANAGED).write_text(json.dumps([META, *files]))
        (live.engine / META).write_bytes(content)
        _point(directory, root)
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    return live


def _point(directory: Path, root: Path) -> None:
    new = directory / f".{POINTER}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(root)
    new.replace(directory / POINTER)
    # Before anything is told that only the live folder has: else a power loss would be forgotten.
    sync_folder(directory)


def unpoint(directory: Path) -> None:
    """From now on the index is what its durable folder holds."""
    (directory / POINTER).unlink(missing_ok=True)
    sync_folder(directory)


def give_up(directory: Path) -> None:
    """Have the index wait for its sources, at its durable commit; no settlement of it comes any more."""
    with settling(directory, SETTLER_SECONDS):
        # A name that no live folder has: the one there was may come back, and is too old then.
        _point(directory, Path(f"{PREFIX}gone"))


def _owner(directory: Path) -> str:
    """A folder that was copied or moved to another place is another one: its links would lead astray."""
    stat = directory.stat()
    return f"{stat.st_dev}:{stat.st_ino}:{directory.resolve()}"


def live_indexes(indexes: Path) -> Iterator[Live]:
    """Those below the folder of all indexes that have a live folder now."""
    for pointer in sorted(indexes.glob(f"*/{POINTER}")):
        with suppress(Gone, OSError):
            found = find(pointer.parent)
            if found is not None:
                yield found


def remove_orphans(indexes: Path, bases: Iterable[Path], *, older_than: float) -> list[Path]:
    """Delete live folders of indexes below `indexes` which these do not lead to (any more).

    Only those older than that moment: one that is just being made has no link yet."""
    removed = []
    for root in {root for base in bases for root in base.glob(f"{PREFIX}*")}:
        with suppress(OSError):
            directory = Path((root / OWNER).read_text().split(":", 2)[2])
            is_old = root.stat().st_mtime < older_than
            if directory.parent == indexes.resolve() and is_old and pointed(directory) != str(root):
                shutil.rmtree(root)
                removed.append(root)
    return removed
