"""Runs → one entry per log, and back: where each action's record stands in what was appended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.buffer.base import BULK, BulkHead, Entry, pack_head
from headrace.core.errors import RequestError
from headrace.serve.bulk.actions import Refusal
from headrace.serve.bulk.pieces import Run
from headrace.serve.names import Target
from headrace.serve.push import Push, Wanted, Written


@dataclass(slots=True)
class Section:
    """What one piece of a request brings to one log.

    searchable: it is asked for as searchable, so that durable is no answer
    exact:      its outcomes are waited for
    """

    target: Target
    searchable: bool
    exact: bool = False
    count: int = 0
    ops: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    bodies: dict[int, str] = field(default_factory=dict)
    if_seq: dict[int, int] = field(default_factory=dict)
    written: Written | None = None

    def add(self, run: Run) -> int:
        """Put a run at the end; the place of its first record."""
        first = self.count
        free = not run.if_seq and (run.op == "i" or (run.op == "c" and not any(run.ids)))
        # One outcome that is waited for makes all exact: the client waits anyway, and gets the truth of each.
        self.exact = self.exact or self.searchable or not free
        self.ops.append(run.op * run.count)
        self.ids += run.ids or [None] * run.count
        self.lines += run.documents
        for place, body in run.bodies.items():
            self.bodies[first + place] = body
        for place, seq in run.if_seq.items():
            self.if_seq[first + place] = seq
        self.count += run.count
        return first

    def entry(self) -> Entry:
        """The entry; what it is made of is let go."""
        ops = "".join(self.ops)
        if any(self.ids):
            ids = self.ids
        else:
            # Without an id there is nothing that a `create` could find already there.
            ids, ops = [], "" if not self.exact else ops
        if not ops.strip("i"):
            ops = ""
        head = BulkHead(ops, ids, self.bodies, self.if_seq, self.exact)
        packed = b"" if head == BulkHead() else pack_head(head)
        self.lines.append(b"")
        entry = Entry(self.target.log, self.count, BULK, b"\n".join(self.lines), packed)
        self.ops, self.ids, self.lines, self.bodies, self.if_seq = [], [], [], {}, {}
        return entry


@dataclass(slots=True)
class Placed:
    """A run, and where its records are: from place `first` of its section; refused ones are nowhere."""

    run: Run
    section: Section | None = None
    first: int = 0

    @property
    def index(self) -> str:
        return self.section.target.index if self.section is not None else self.run.index


class Resolved:
    """The targets of one request: each name is looked up, and its index made, once."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._known: dict[tuple[str, bool], Target | Refusal] = {}

    async def learn(self, runs: Sequence[Run]) -> None:
        """Look up all names; a delete makes no index."""
        wanted: dict[tuple[str, bool], bool] = {}
        for run in runs:
            if run.refusal is None:
                key = run.index, run.alias
                wanted[key] = wanted.get(key, False) or run.op != "d"
        for key, create in wanted.items():
            if not isinstance(self._known.get(key), Target):
                self._known[key] = await self._one(*key, create=create)

    async def _one(self, name: str, alias: bool, *, create: bool) -> Target | Refusal:
        try:
            return await self._push.target(name, require_alias=alias, create=create)
        except RequestError as error:
            if error.status not in (400, 403, 404):
                raise
            return Refusal(error.status, error.kind, error.reason)

    def place(self, runs: Sequence[Run], wanted: Wanted) -> tuple[list[Placed], list[Section]]:
        """Sort runs into sections, in order within each log."""
        sections: dict[str, Section] = {}
        placed = []
        for run in runs:
            if run.refusal is not None:
                placed.append(Placed(run))
                continue
            target = self._known[run.index, run.alias]
            if isinstance(target, Refusal):
                run.refusal = target
                run.documents, run.bodies = [], {}
                placed.append(Placed(run))
                continue
            section = sections.get(target.log)
            if section is None:
                searchable = wanted.level_for(target) == "indexed"
                section = sections[target.log] = Section(target, searchable)
            placed.append(Placed(run, section, section.add(run)))
            run.documents, run.bodies = [], {}
        return placed, list(sections.values())
