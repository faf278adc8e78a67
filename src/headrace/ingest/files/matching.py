"""Which file continues which partition: by content, so that a rotated or compressed file is known again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from headrace.ingest.files.columnar import Sheet, SheetLog, open_sheet
from headrace.ingest.files.compression import PlainStream, open_stream
from headrace.ingest.files.discover import Found
from headrace.ingest.files.log import Reading, TextLog
from headrace.ingest.files.mark import HEAD, Mark, digest
from headrace.ingest.files.sniff import sniff
from headrace.ingest.files.winding import exactly, wind
from headrace.ingest.formats import COLUMNAR
from headrace.ingest.formats.base import Damaged

Log: TypeAlias = "TextLog | SheetLog"


@dataclass(frozen=True, slots=True)
class Known:
    """How far a partition was read, and what is known of its file."""

    partition: str
    record: int
    mark: Mark

    @property
    def found(self) -> Found:
        return Found(self.mark.path, self.mark.member)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A file with its partition; `known` is where to go on, None at its start."""

    found: Found
    partition: str
    known: Known | None = None


@dataclass(slots=True)
class Roster:
    """All partitions known, and the highest epoch of each path."""

    known: dict[str, Known] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    _newest: dict[Found, Known] = field(default_factory=dict)

    def add(self, known: Known) -> None:
        before = self.known.get(known.partition)
        if before is not None and self._newest.get(before.found) is before:
            del self._newest[before.found]
        self.known[known.partition] = known
        newest = self._newest.get(known.found)
        if newest is None or _epoch(newest.partition) <= _epoch(known.partition):
            self._newest[known.found] = known
        name, _, epoch = known.partition.rpartition("#")
        if epoch.isdigit():
            self.epochs[name] = max(int(epoch), self.epochs.get(name, 0))

    def start(self, found: Found) -> Assignment:
        """A new incarnation of this path."""
        epoch = self.epochs.get(found.name, -1) + 1
        self.epochs[found.name] = epoch
        return Assignment(found, f"{found.name}#{epoch}")

    def own(self, found: Found) -> Known | None:
        """The newest partition whose file was last seen at this path."""
        return self._newest.get(found)

    def assign(self, files: Iterable[Found], busy: Iterable[str] = ()) -> list[Assignment]:
        """Partitions for these files; `busy` ones are being read and not to be had. Raises no OSError."""
        taken = set(busy)
        kept: list[Assignment] = []
        others: list[Found] = []
        for found in files:
            known = self.own(found)
            if known is not None and self._goes_on(known, found, taken):
                taken.add(known.partition)
                kept.append(Assignment(found, known.partition, known))
            else:
                others.append(found)
        moved = [self._moved(found, taken) for found in others]
        fresh = [self._begun(found) for found, match in zip(others, moved, strict=True) if match is None]
        rest = sorted([*kept, *fresh], key=lambda one: one.found)
        return [match for match in moved if match is not None] + rest

    def _goes_on(self, known: Known, found: Found, taken: set[str]) -> bool:
        """Whether the file at its own path is still the one known; of an unread one nothing says so."""
        if known.partition in taken or not known.mark.offset:
            return False
        return continues(found, known.mark, quick=True)

    def _begun(self, found: Found) -> Assignment:
        """A partition of which nothing was read yet can be had by whatever is at its path now."""
        known = self.own(found)
        if known is not None and not known.mark.offset:
            return Assignment(found, known.partition, known if known.mark.again else None)
        return self.start(found)

    def _moved(self, found: Found, taken: set[str]) -> Assignment | None:
        """The partition this file continues under another name, if its content says so."""
        for known in self._alike(found):
            if known.partition in taken or known.found == found:
                continue
            if continues(found, known.mark, quick=False):
                taken.add(known.partition)
                return Assignment(found, known.partition, known)
        return None

    def _alike(self, found: Found) -> list[Known]:
        """The partitions whose files began as this one does, those of which most is known first."""
        sizes = {known.mark.head_size for known in self.known.values()} - {0}
        if not sizes:
            return []
        head = first_bytes(found)
        beginnings = {(size, digest(head[:size])) for size in sizes if size <= len(head)}
        alike = [one for one in self.known.values() if (one.mark.head_size, one.mark.head) in beginnings]
        return sorted(alike, key=lambda known: known.mark.offset, reverse=True)


def roster(positions: Mapping[str, tuple[int, Mark]]) -> Roster:
    made = Roster()
    for partition, (record, mark) in positions.items():
        made.add(Known(partition, record, mark))
    return made


def _epoch(partition: str) -> int:
    epoch = partition.rpartition("#")[2]
    return int(epoch) if epoch.isdigit() else 0


def first_bytes(found: Found) -> bytes:
    """The head of a file, none if it cannot be read."""
    try:
        stream = open_stream(Path(found.path), found.member)
    except (OSError, Damaged):
        return b""
    try:
        return exactly(stream, HEAD)
    except (OSError, Damaged):
        return b""
    finally:
        stream.close()


def continues(found: Found, mark: Mark, *, quick: bool) -> bool:
    """Whether this file is the one the mark was made of. `quick` looks at compressed ones' heads only."""
    try:
        stream = open_stream(Path(found.path), found.member)
    except (OSError, Damaged):
        return False
    try:
        if quick and not isinstance(stream, PlainStream):
            return digest(exactly(stream, mark.head_size)) == mark.head
        return wind(stream, mark) is not None
    except (OSError, Damaged):
        return False
    finally:
        stream.close()


def open_log(assignment: Assignment, reading: Reading, *, follow: bool = False) -> Log | None:
    """The log, standing where it is to go on; None if its content has changed. Raises OSError, Damaged."""
    found, known = assignment.found, assignment.known
    stream = open_stream(Path(found.path), found.member)
    try:
        head = exactly(stream, 8)
        kind = reading.settings.format if reading.settings.format != "auto" else sniff(head, found.name)
        packed = not isinstance(stream, PlainStream)
    finally:
        stream.close()
    stream = open_stream(Path(found.path), found.member)
    if kind in COLUMNAR and head:
        try:
            sheet = open_sheet(found, kind, stream, packed=packed)
        finally:
            stream.close()
        return _open_sheet_log(assignment, sheet, reading)
    made = TextLog(found, assignment.partition, stream, reading, follow=follow and not packed)
    if known is None:
        return made
    trail = wind(stream, known.mark)
    if trail is None:
        made.close()
        return None
    made.resume(known.record, known.mark, trail)
    return made


def _open_sheet_log(assignment: Assignment, sheet: Sheet, reading: Reading) -> SheetLog | None:
    made = SheetLog(assignment.found, assignment.partition, sheet, reading)
    known = assignment.known
    if known is None:
        return made
    if not sheet.trail.matches(known.mark):
        made.close()
        return None
    made.resume(known.record, known.mark, sheet.trail)
    return made
