"""What is found in the folder when the buffer is opened: which files are sound, where the numbers go on.

A file that cannot be read is put aside, never deleted. Where that was the newest, nobody knows which
numbers it gave away: all logs then jump far ahead, so that no number is ever given twice.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from headrace.buffer import chain
from headrace.buffer.answers import Place
from headrace.buffer.holdings import FileFacts, Part
from headrace.core.errors import StoreError
from headrace.core.log import event
from headrace.core.state import explained

log = logging.getLogger("headrace.buffer")

JUMP: Final = 1 << 40
"""Far more records than one file can hold."""


class Missing(msgspec.Struct, frozen=True):
    """Records of a log that were accepted and cannot be read any more, though somebody still wanted them."""

    log: str
    first: int
    end: int


@dataclass(slots=True)
class Found:
    """The chain as it is when opened, its newest file open for writing."""

    incarnation: str
    files: list[FileFacts]
    reached: dict[str, int]
    sequence: int
    database: sqlite3.Connection
    answers: list[tuple[str, Place]] = field(default_factory=list)
    gaps: list[Missing] = field(default_factory=list)


@dataclass(slots=True)
class _Read:
    facts: FileFacts
    beginning: chain.Beginning
    sequence: int
    answers: list[tuple[str, Place]]
    unfinished: bool


def open_chain(directory: Path, at: float) -> Found:
    """Raises StoreError (a newer version's, no permission), Retryable (disk full)."""
    directory.mkdir(parents=True, exist_ok=True)
    _sweep(directory)
    sound = _of_one_buffer(list(_sound(directory)))
    reached, sequence = _numbers(sound)
    ahead = [chain.first_of(_name_of(path)) for path in chain.quarantined(directory)]
    lost_newest = max(ahead, default=-1) >= sequence or (not sound and bool(ahead))
    if lost_newest:
        reached = {name: number + JUMP for name, number in reached.items()}
        reached[chain.ANY_LOG] = reached.get(chain.ANY_LOG, JUMP)
        sequence = max(sequence, *ahead) + JUMP
    incarnation = sound[-1].beginning.incarnation if sound else str(uuid.uuid4())
    if not sound:
        reached = {}
    files = [read.facts for read in sound]
    # A file with pieces nobody will ever finish is not gone on with: they go when it goes.
    if sound and not lost_newest and not sound[-1].unfinished:
        database = chain.open_newest(files[-1].path)
    else:
        # Names must grow, also after a file that holds no entry.
        sequence = max(sequence, files[-1].first + 1 if files else 0)
        beginning = chain.Beginning(incarnation, sequence, reached)
        database = chain.create(directory, beginning, at)
        path = chain.file_of(directory, sequence)
        files.append(FileFacts(path, sequence, chain.size_of(path)))
    answers = [answer for read in sound for answer in read.answers]
    return Found(incarnation, files, reached, sequence, database, answers, list(_gaps(sound, reached)))


def put_aside(path: Path, reason: str) -> None:
    target = chain.quarantine(path)
    event(log.error, "buffer.file_quarantined", file=str(path), now=target.name, error=reason)


def _sweep(directory: Path) -> None:
    """What a kill left behind: a file under construction, logs of files that are gone."""
    chain.remove(directory / chain.STAGED)
    for suffix in chain.BESIDE:
        for path in directory.glob(f"*{chain.SUFFIX}{suffix}"):
            if not path.with_name(path.name.removesuffix(suffix)).exists():
                path.unlink(missing_ok=True)


def _sound(directory: Path) -> Iterable[_Read]:
    for path in chain.files(directory):
        try:
            if chain.has_log(path):
                chain.settle(chain.open_newest(path))
            yield _read(path)
        except StoreError as error:
            if not chain.is_damage(error):
                raise
            put_aside(path, str(error))


def _read(path: Path) -> _Read:
    database = chain.open_for_reading(path)
    if database is None:
        raise StoreError(f"{path}: damaged (empty)")
    with closing(database), explained(path):
        beginning = chain.beginning_of(database, path)
        if beginning.first != chain.first_of(path):
            raise StoreError(f"{path}: damaged (it says that it begins at {beginning.first})")
        facts = FileFacts(path, beginning.first, chain.size_of(path))
        sequence, blobs = beginning.first, 0
        rows = database.execute(
            "SELECT sequence, log, first, records, bytes, at FROM entry ORDER BY sequence"
        )
        for number, name, first, records, size, at in rows:
            part = facts.parts.setdefault(name, Part(first, first))
            part.add(first + records, size, at)
            sequence, blobs = number + 1, blobs + 1
        (unfinished,) = database.execute("SELECT count(*) > ? FROM blob", (blobs,)).fetchone()
        answers = database.execute("SELECT key, at, length(answer) FROM answer").fetchall()
    places = [(key, Place(beginning.first, at, size)) for key, at, size in answers]
    return _Read(facts, beginning, sequence, places, bool(unfinished))


def _of_one_buffer(found: list[_Read]) -> list[_Read]:
    """Only files of the newest one's buffer; others were put here by somebody, and are put aside."""
    for read in found[:-1]:
        if read.beginning.incarnation != found[-1].beginning.incarnation:
            put_aside(read.facts.path, f"belongs to another buffer, {read.beginning.incarnation}")
    return [read for read in found if read.beginning.incarnation == found[-1].beginning.incarnation]


def _numbers(sound: list[_Read]) -> tuple[dict[str, int], int]:
    if not sound:
        return {}, 0
    newest = sound[-1]
    ends = {name: part.end for name, part in newest.facts.parts.items()}
    return {**newest.beginning.starts, **ends}, newest.sequence


def _gaps(sound: list[_Read], reached: dict[str, int]) -> Iterable[Missing]:
    """Between what one file ends with and the next begins with; of some, everybody may have passed them."""
    ends: dict[str, int] = {}
    for starts, parts in [
        *((read.beginning.starts, read.facts.parts) for read in sound),
        (reached, dict[str, Part]()),
    ]:
        for name, start in starts.items():
            if name != chain.ANY_LOG and ends.get(name, 0) < start:
                yield Missing(name, ends.get(name, 0), start)
            ends[name] = start
        ends.update({name: part.end for name, part in parts.items()})


def _name_of(path: Path) -> Path:
    """The name a quarantined file had in the chain."""
    return path.with_name(path.name.partition(chain.SUFFIX)[0] + chain.SUFFIX)
