"""What can be asked of the buffer's thread: each piece of work writes its part of a shared transaction.

What a piece of work changes in memory it changes in `done`, after the transaction is on the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from headrace.buffer.answers import KEEP_BYTES, pack_answer
from headrace.buffer.base import Appended, Entry
from headrace.buffer.chain import start_of
from headrace.buffer.rows import Packed, checksum_at, pack
from headrace.core.errors import Retryable

BLOB = "INSERT INTO blob (kind, coding, head, size, content) VALUES (?, ?, ?, ?, ?)"
ENTRY = "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ANSWER = "INSERT OR REPLACE INTO answer VALUES (?, ?, ?)"


class Written(NamedTuple):
    """An entry in the newest file, as the accounts want it."""

    appended: Appended
    bytes: int
    at: float


@dataclass(slots=True)
class Draft:
    """One open transaction: numbers it has given away so far, which count only once it is on the disk."""

    database: sqlite3.Connection
    file: int
    at: float
    sequence: int
    reached: Mapping[str, int]
    moved: dict[str, int] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)

    def blob(self, packed: Packed) -> int:
        values = (packed.kind, packed.coding, packed.head, packed.size, packed.content)
        number = self.database.execute(BLOB, values).lastrowid
        assert number is not None
        return number

    def entry(self, log: str, records: int, blob: int, size: int, checksum: int) -> Appended:
        first = self.moved.get(log)
        if first is None:
            first = start_of(self.reached, log)
        place = checksum_at(checksum, log, first, records, self.at)
        self.database.execute(ENTRY, (self.sequence, log, first, records, self.at, blob, size, place))
        self.sequence += 1
        self.moved[log] = first + records
        appended = Appended(log, first, first + records)
        self.written.append(Written(appended, size, self.at))
        return appended

    def answer(self, key: str, stored: bytes) -> None:
        if len(stored) > KEEP_BYTES // 4:
            return
        self.database.execute(ANSWER, (key, self.at, stored))
        self.answers[key] = len(stored)


class Work(Protocol):
    """`prepare` before the transaction, `write` in it (perhaps twice), `done` after it."""

    @property
    def size(self) -> int: ...
    def prepare(self) -> None: ...
    def write(self, draft: Draft) -> object: ...
    def done(self) -> None: ...


class Append:
    """Entries of one request, all or nothing; with a key, also the answer to it."""

    def __init__(
        self,
        entries: Sequence[Entry],
        key: str = "",
        answer: Callable[[list[Appended]], bytes] | None = None,
    ) -> None:
        self._entries = entries
        self._packed: list[Packed] = []
        self._key = key
        self._answer = answer
        self.size = sum(len(entry.body) + len(entry.head) for entry in entries)

    def prepare(self) -> None:
        self._packed = [pack(entry) for entry in self._entries]

    def write(self, draft: Draft) -> list[Appended]:
        appended = [
            draft.entry(entry.log, entry.records, draft.blob(packed), packed.bytes, packed.checksum)
            for entry, packed in zip(self._entries, self._packed, strict=True)
        ]
        if self._answer is not None:
            draft.answer(self._key, pack_answer(self._answer(appended)))
        return appended

    def done(self) -> None:
        self._packed = []


class Piece(NamedTuple):
    log: str
    records: int
    blob: int
    bytes: int
    checksum: int


@dataclass(eq=False, slots=True)
class Stage:
    """A large request on its way: its pieces lie in `file`, and cannot be finished in another."""

    file: int = -1
    pieces: list[Piece] = field(default_factory=list)
    ended: bool = False

    def check(self, draft: Draft) -> None:
        if self.file >= 0 and self.file != draft.file:
            raise Retryable(
                "the request took so long that the buffer went on without it; "
                "nothing of it was accepted, send it again"
            )


class Add:
    """One piece: stored, and visible to nobody."""

    def __init__(self, stage: Stage, entry: Entry) -> None:
        self._stage = stage
        self._entry = entry
        self._packed: Packed | None = None
        self._written: tuple[int, Piece] | None = None
        self.size = len(entry.body) + len(entry.head)

    def prepare(self) -> None:
        self._packed = pack(self._entry)

    def write(self, draft: Draft) -> int:
        self._stage.check(draft)
        packed = self._packed
        assert packed is not None
        number = draft.blob(packed)
        piece = Piece(self._entry.log, self._entry.records, number, packed.bytes, packed.checksum)
        self._written = draft.file, piece
        return packed.bytes

    def done(self) -> None:
        assert self._written is not None
        self._stage.file, piece = self._written
        self._stage.pieces.append(piece)
        self._packed = None


class Finish:
    """All pieces become entries, in order."""

    size = 0

    def __init__(
        self, stage: Stage, key: str = "", answer: Callable[[list[Appended]], bytes] | None = None
    ) -> None:
        self._stage = stage
        self._key = key
        self._answer = answer

    def prepare(self) -> None:
        pass

    def write(self, draft: Draft) -> list[Appended]:
        if self._stage.ended:
            return []
        self._stage.check(draft)
        appended = [draft.entry(*piece) for piece in self._stage.pieces]
        if self._answer is not None:
            draft.answer(self._key, pack_answer(self._answer(appended)))
        return appended

    def done(self) -> None:
        self._stage.ended = True


class Remember:
    """Answers by key (see `answers`)."""

    size = 0

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self._answers = answers

    def prepare(self) -> None:
        pass

    def write(self, draft: Draft) -> None:
        for key, stored in self._answers.items():
            draft.answer(key, stored)

    def done(self) -> None:
        pass
