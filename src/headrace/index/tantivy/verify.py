"""Check an index offline: every file, every document, every position, and whether the numbers agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
import tantivy
from tantivy import FieldType, Query

from headrace.core.errors import StoreError
from headrace.core.lock import RoleLock
from headrace.index.tantivy import live, store
from headrace.index.tantivy.damage import damaged_files, readable
from headrace.index.tantivy.positions import PositionDocument, count, newest, stored_positions
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.index.tantivy.sweep import (
    MANAGED,
    expected_files,
    leftovers,
    managed_files,
    named_files,
    sweep,
)
from headrace.model import Ledger

CHUNK: Final = 50_000
"""Documents looked at together: their addresses and ids are held in memory."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is not as it should be. `repaired` says that it is now."""

    what: str
    repaired: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What was found. An index is sound if no problem is left unrepaired."""

    directory: str
    documents: int = 0
    partitions: int = 0
    segments: int = 0
    ledger: Ledger = Ledger()
    problems: list[Problem] = []

    @property
    def sound(self) -> bool:
        return all(problem.repaired for problem in self.problems)

    def add(self, what: str, *, repaired: bool = False) -> None:
        self.problems.append(Problem(what, repaired))


def verify(directory: Path, *, repair: bool = False) -> Report:
    """Look at everything; with `repair`, delete leftovers of a kill and correct the engine's file list.

    What a killed service left in memory is looked at there. Raises StoreError where there is no index of a
    known format, a writer has it open, or its newest commits are gone.
    """
    description = store.read_description(directory)
    report = Report(directory=str(directory))
    with RoleLock(directory, "writer") as _:
        engine = live.engine_folder(directory)
        if _files_are_sound(engine, report, repair=repair):
            _check_documents(directory, engine, description, report)
    return report


def refuse_damaged(directory: Path) -> None:
    """Raises StoreError where a file that is searched is damaged. Reads those whole, the documents' not."""
    engine = live.engine_folder(directory)
    names = [
        name for name in expected_files(named_files(store.read_meta(engine))) if not name.endswith(".store")
    ]
    for name, why in damaged_files(engine, names).items():
        raise StoreError(f"{engine / name} is damaged: {why}; see headrace verify")


def _files_are_sound(engine: Path, report: Report, *, repair: bool) -> bool:
    meta = store.read_meta(engine)
    report.segments = len(meta["segments"])
    missing = [name for name in expected_files(named_files(meta)) if not (engine / name).exists()]
    for name in missing:
        report.add(f"{name} is missing: its documents are lost; index again")
    present = [name for name in expected_files(named_files(meta)) if name not in missing]
    damaged = damaged_files(engine, present)
    for name, why in damaged.items():
        report.add(f"{name} is damaged: {why}; restore the index from a copy, or index again")
    unneeded = leftovers(engine, meta)
    listed = set(managed_files(engine) or ())
    needed = set(present)
    if repair and not missing:
        sweep(engine)
    done = repair and not missing
    for name in unneeded:
        report.add(f"{name} is a leftover of a kill", repaired=done)
    if not needed <= listed:
        report.add(f"{MANAGED} does not name {len(needed - listed)} files of the index", repaired=done)
    return not missing and not damaged


def _check_documents(directory: Path, engine: Path, description: store.Description, report: Report) -> None:
    try:
        readable(lambda: _look_at_documents(directory, engine, description, report), f"the index in {engine}")
    except StoreError as error:
        report.add(str(error))


def _look_at_documents(directory: Path, engine: Path, description: store.Description, report: Report) -> None:
    index = store.open_engine(directory, engine)
    searcher = index.searcher()
    stored = stored_positions(index, searcher)
    positions = list(newest(stored).values())
    report.partitions = len(positions)
    for document in positions:
        report.ledger = report.ledger + document.ledger
        if document.ledger.imbalance:
            report.add(f"the ledger of {document.term} does not balance: {document.ledger}")
    if len({(document.key, document.commit) for document in stored}) != len(stored):
        report.add("a partition has two positions; index again")
    _check_sources(index, searcher, positions, report)
    others = searcher.num_docs - report.documents - len(stored)
    if others:
        report.add(f"{others} documents are outside the sequence: they were not written by headrace")
    written = sum(document.rows for document in positions) - sum(document.deleted for document in positions)
    replaced = bool(description.id) or any(document.named for document in positions)
    if not replaced and report.documents != written:
        report.add(f"{report.documents} documents where the ledger says {written}; index again")


def _check_sources(
    index: tantivy.Index, searcher: tantivy.Searcher, positions: list[PositionDocument], report: Report
) -> None:
    hashes: list[pl.Series] = []
    end = max((document.next_seq for document in positions), default=0)
    for first in range(0, end, CHUNK):
        ids: list[str] = []
        for name, source in _documents(index, searcher, first):
            ids.append(name)
            problem = _unreadable(source)
            if problem:
                report.add(f"the source of document {name!r} cannot be read: {problem}")
        report.documents += len(ids)
        hashes.append(pl.Series(ids, dtype=pl.String).hash())
    doubled = int(pl.concat(hashes).is_duplicated().sum()) if hashes else 0
    if doubled:
        report.add(f"{doubled} documents share their id with another")


def _documents(index: tantivy.Index, searcher: tantivy.Searcher, first: int) -> Iterator[tuple[str, bytes]]:
    chunk = Query.range_query(
        index.schema, SEQ, FieldType.Integer, lower_bound=first, upper_bound=first + CHUNK - 1
    )
    for _, address in searcher.search(chunk, limit=max(1, count(searcher, chunk))).hits:
        document = searcher.doc(address)
        yield str(document.get_first(ID)), bytes(document.get_first(SOURCE) or b"")


def _unreadable(source: bytes) -> str:
    try:
        msgspec.json.decode(source, type=dict[str, object])
    except msgspec.DecodeError as error:
        return str(error)
    return ""
