"""One settlement: what a live folder has committed is copied to the disk, where it survives a power loss.

The order of its steps is the promise (PROTOCOL 23): killed at any of them, the durable folder holds the last
settled commit whole, or the new one. Segment files never change once written, so a copy may take its time
beside a writer that goes on; only the list of them is taken, as hard links, while the engine's own lock keeps
it from deleting any.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.core.errors import StoreError
from headrace.core.files import replace_file, sync_folder
from headrace.index.tantivy.store import META, read_meta
from headrace.index.tantivy.sweep import MANAGED, belongs, expected_files, named_files

META_LOCK: Final = ".tantivy-meta.lock"


class Settled(msgspec.Struct, frozen=True):
    """What a settlement did: the commit that is durable now, and what was copied for it."""

    opstamp: int
    files: int
    bytes: int


def settle(
    live: Path, durable: Path, staging: Path, *, step: Callable[[str], None] = lambda _: None
) -> Settled | None:
    """Make the last commit of the engine folder `live` that of the engine folder `durable`.

    None where it is so already: a state that is not ahead is never published. `staging` is on the same
    tmpfs. One settlement at a time. `step` is told what was just done, for tests that kill in between.
    Raises OSError (the disk is full, the live folder vanished), StoreError.
    """
    clear(staging)
    taken = _take(live, durable, staging)
    if taken is None:
        return None
    meta, content, new = taken
    step("taken")
    size = _copy(staging, durable, new, step)
    named = named_files(meta)
    with meta_lock(durable):  # whoever opens the durable folder meanwhile finds all that its list names
        _manage(durable, named)
        sync_folder(durable)
        step("files synced")
        replace_file(durable / META, content)
        step("published")
        _link(live, durable, named)
        step("linked")
        _unlink_old(live, durable, named)
    step("old unlinked")
    clear(staging)
    return Settled(int(meta["opstamp"]), len(new), size)


@contextmanager
def meta_lock(engine: Path) -> Iterator[None]:
    """The engine's lock against its own collection of garbage, and against readers that are just opening."""
    descriptor = os.open(engine / META_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take(live: Path, durable: Path, staging: Path) -> tuple[Mapping[str, Any], bytes, list[str]] | None:
    """Hard links to the files that the disk lacks, and the list that names them all."""
    with meta_lock(live):
        content = (live / META).read_bytes()
        meta: Mapping[str, Any] = json.loads(content)
        settled = read_meta(durable)
        if meta["opstamp"] <= settled["opstamp"]:
            return None
        # What lies there under the right name may be half a copy, or of a commit that never was: only what
        # the last settled list names is known to be whole.
        there, named = named_files(settled), named_files(meta)
        new = sorted(name for name in expected_files(named) if not belongs(name, there))
        for name in new:
            if (live / name).is_symlink():
                raise StoreError(
                    f"{live / name} is a link to a file that was never settled; it is not copied"
                )
            os.link(live / name, staging / name)
    return meta, content, new


def _copy(staging: Path, durable: Path, names: Sequence[str], step: Callable[[str], None]) -> int:
    """All at once, then synced: the disk writes them together."""
    size = 0
    for name in names:
        shutil.copyfile(staging / name, _beside(durable, name))
        size += (staging / name).stat().st_size
        step(f"copied {name}")
    for name in names:
        descriptor = os.open(_beside(durable, name), os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        _beside(durable, name).replace(durable / name)
        step(f"renamed {name}")
    return size


def _beside(folder: Path, name: str) -> Path:
    return folder / f".{name}.new"


def _manage(durable: Path, named: Mapping[str, int | None]) -> None:
    """The engine's list of its files: those of both commits, whichever is the one after a kill."""
    known = named_files(read_meta(durable))
    names = [entry.name for entry in os.scandir(durable)]
    files = sorted(name for name in names if belongs(name, named) or belongs(name, known))
    replace_file(durable / MANAGED, json.dumps([META, *files]).encode())


def _link(live: Path, durable: Path, named: Mapping[str, int | None]) -> None:
    """Links to the disk instead of what was copied, now or by a settlement that was killed before this.

    That memory is free once nobody has it mapped."""
    with meta_lock(live):
        for entry in list(os.scandir(live)):
            if belongs(entry.name, named) and not entry.is_symlink():
                link(live, durable, entry.name)


def link(live: Path, durable: Path, name: str) -> None:
    """Have a name of the live folder mean the durable file of that name."""
    _beside(live, name).unlink(missing_ok=True)
    _beside(live, name).symlink_to(durable / name)
    _beside(live, name).replace(live / name)


def _unlink_old(live: Path, durable: Path, named: Mapping[str, int | None]) -> None:
    """What neither the settled commit names nor the live folder has: a merge there may still read it."""
    for entry in list(os.scandir(durable)):
        needed = belongs(entry.name, named) or os.path.lexists(live / entry.name)
        if not needed and belongs(entry.name, None):
            (durable / entry.name).unlink(missing_ok=True)


def clear(staging: Path) -> None:
    """Give back what a settlement holds: its links keep memory that the engine has deleted."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
