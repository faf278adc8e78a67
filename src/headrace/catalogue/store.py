"""The catalogue's file: replaced whole with each change, by the server alone; others look whether it changed.

A kill between two writes leaves the old catalogue or the new one, and perhaps a file beside it that the
next change writes over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from headrace.catalogue.entry import Catalogue
from headrace.core.errors import Retryable, StoreError
from headrace.core.files import replace_file

FORMAT: Final = 1

_Seen: TypeAlias = "tuple[int, int, int, int] | None"


class _Versioned(msgspec.Struct):
    format: int = 1


def read(path: Path) -> Catalogue:
    """What the file holds; an absent one is an empty catalogue. Raises StoreError, the file untouched."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Catalogue()
    except OSError as error:
        raise StoreError(f"cannot read the catalogue {path}: {error.strerror}") from error
    try:
        found = msgspec.json.decode(text, type=_Versioned).format
        if found != FORMAT:
            raise StoreError(
                f"{path} has format {found}, this version knows {FORMAT}; "
                "use the version of headrace that wrote it (nothing was changed)"
            )
        return msgspec.json.decode(text, type=Catalogue)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is damaged: {error}; restore it from a backup (nothing was changed; without it the "
            "indexes made at run time are unknown, their documents are still in indexes/)"
        ) from error


class Keeper:
    """The writing side, one per data directory. Reads the file once; raises StoreError as `read` does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._current = read(path)

    @property
    def catalogue(self) -> Catalogue:
        """As it is on disk now."""
        return self._current

    def change(self, edit: Callable[[Catalogue], Catalogue]) -> Catalogue:
        """Replace the catalogue by `edit` of it, durably; what `edit` raises changes nothing.

        Edits run one after another, each on the result of the one before. An edit that returns its argument
        writes nothing. Blocks for a sync of the disk. Raises Retryable where the file cannot be written.
        """
        with self._lock:
            edited = edit(self._current)
            if edited == self._current:
                return self._current
            numbered = msgspec.structs.replace(edited, version=self._current.version + 1)
            try:
                self._write(numbered)
            except Retryable:
                # It may be in place all the same, where only the folder's sync failed.
                self._current = read(self._path)
                raise
            self._current = numbered
            return numbered

    def _write(self, catalogue: Catalogue) -> None:
        # Formatted: people read this file when something is wrong.
        # The format is said even where it is the default: the next one has another default.
        content = {"format": FORMAT, **msgspec.to_builtins(catalogue)}
        text = msgspec.json.format(msgspec.json.encode(content)) + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, text)
        except OSError as error:
            raise Retryable(f"cannot write the catalogue {self._path}: {error.strerror}") from error


class Watcher:
    """The reading side, in any process: says when there is something new. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: _Seen = None
        self._given: Catalogue | None = None

    def changed(self) -> Catalogue | None:
        """The catalogue, if it is another than was given last (at first: any). Raises StoreError."""
        state = self._state()
        if self._given is not None and state == self._seen:
            return None
        found = read(self._path)
        # The state from before the reading: a replacement in between is seen at the next call.
        self._seen = state
        if found == self._given:
            return None
        self._given = found
        return found

    def _state(self) -> _Seen:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read the catalogue {self._path}: {error.strerror}") from error
        return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
