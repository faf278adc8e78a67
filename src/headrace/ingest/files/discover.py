"""Which files there are: paths, globs and folders, resolved against the folder relative paths start from."""

# Paths are text here: looking at thousands of them many times a second is cheaper so.
# ruff: noqa: PTH110, PTH111, PTH112, PTH113, PTH118, PTH207

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from headrace.core.errors import ConfigError
from headrace.ingest.files.compression import EMPTY_ZIP, MAGIC, members

STDIN = "-"


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file, or a member of a ZIP archive."""

    path: str
    member: str = ""

    @property
    def name(self) -> str:
        return f"{self.path}!{self.member}" if self.member else self.path


def find(paths: Sequence[str], base: Path) -> list[str]:
    """Absolute paths of all files, sorted, each once; hidden files in folders and globs are left out."""
    found: set[str] = set()
    for given in paths:
        if given != STDIN:
            found.update(os.path.normpath(path) for path in _expand(given, base))
    return sorted(found)


def _expand(given: str, base: Path) -> Iterator[str]:
    path = str(base.absolute() / os.path.expanduser(given))
    if has_magic(given) and not os.path.exists(path):
        yield from (match for match in glob(path, recursive=True) if os.path.isfile(match))
    elif os.path.isdir(path):
        for folder, inner, names in os.walk(path):
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from (os.path.join(folder, name) for name in names if not name.startswith("."))
    elif os.path.exists(path):
        yield path


def check_literal(paths: Sequence[str], base: Path) -> None:
    """Raise ConfigError for a path without wildcards that does not exist."""
    for at, given in enumerate(paths):
        path = base.absolute() / Path(given).expanduser()
        if given == STDIN or has_magic(given) or path.exists():
            continue
        hint = (
            f"relative paths start from {base.absolute()}"
            if not Path(given).is_absolute()
            else "check the path"
        )
        raise ConfigError(f"no such file: {given!r}, {hint}", path=("paths", at))


def open_members(path: str) -> list[Found]:
    """The file itself, or the members of a ZIP archive. Raises OSError, Damaged."""
    with open(path, "rb") as file:
        head = file.read(4)
    if head.startswith((MAGIC["zip"], EMPTY_ZIP)):
        return [Found(path, member) for member in members(Path(path))]
    return [Found(path)]
