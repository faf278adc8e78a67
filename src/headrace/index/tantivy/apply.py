"""Applies a batch's operations in log order: only ids that a conditional operation names are looked at alone.

All other rows stay columns. Operations on different ids do not see each other, so merged documents are
rendered by the round: the next one of each id together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import msgspec
import polars as pl

from headrace.index.tantivy.given import GIVEN, mismatch
from headrace.index.tantivy.lines import encoded, sequence
from headrace.index.tantivy.operations import (
    FAULTS,
    Done,
    Merge,
    Step,
    finish,
    has_document,
    refuse,
    refused,
    take,
)
from headrace.index.tantivy.rows import BODY, ORDINAL, STAGE
from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.index.tantivy.uncommitted import Document
from headrace.model import RECORD, Outcome, Rejection

Known: TypeAlias = Mapping[str, Document | None]
Render: TypeAlias = Callable[[Sequence[int], Sequence[bytes]], tuple[pl.DataFrame, list[Rejection]]]
"""Merged documents by record number → rows as any others, and those the mapping refuses."""

Merged: TypeAlias = tuple[int, str, int, str, str | None]
"""RECORD, ID, SEQ, SOURCE and BODY of a merged document."""

_STEP: Final = (RECORD, ORDINAL, ID, SEQ, "op", "body", "if_seq", SOURCE)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch comes to.

    rows:       what is to be added, an id at most once, in order; GIVEN where an older document goes first
    deleted:    further ids whose documents go
    outcomes:   one per conditional operation, in record order
    rejections: of merged documents
    """

    rows: pl.DataFrame
    deleted: list[str]
    outcomes: list[Outcome]
    rejections: list[Rejection]


def in_sequence(
    rows: pl.DataFrame, operations: pl.DataFrame, first: int, *, numbered: bool
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows and operations with their SEQ (without a row, too), and the one that follows."""
    alone = operations.join(rows, on=RECORD, how="anti").select(
        RECORD, pl.lit(0, dtype=pl.Int64).alias(ORDINAL)
    )
    places = pl.concat([rows.select(RECORD, ORDINAL), alone]).sort(RECORD, ORDINAL)
    places = places.with_columns(sequence(first, numbered=numbered))
    rows = rows.join(places, on=[RECORD, ORDINAL], how="left", maintain_order="left")
    firsts = places.unique(RECORD, keep="first")
    operations = operations.join(firsts.select(RECORD, SEQ), on=RECORD, how="left", maintain_order="left")
    return rows, operations, first if not places.height else int(places[SEQ][-1]) + 1


def named_ids(rows: pl.DataFrame, conditional: pl.DataFrame) -> list[str]:
    """The ids whose documents decide an outcome."""
    written = rows.filter(pl.col(GIVEN)).join(conditional, on=RECORD, how="semi")[ID]
    return pl.concat([conditional["id"].drop_nulls(), written]).unique(maintain_order=True).to_list()


def bare(conditional: pl.DataFrame) -> set[int]:
    """Records that are operations without a document of their own."""
    may_be = conditional.filter(pl.col("op").is_in(["update", "delete"]))
    return {
        record
        for record, op, body in may_be.select(RECORD, "op", "body").iter_rows()
        if not has_document(op, body)
    }


class Application:
    """One batch's conditional operations and, on the same ids, its others."""

    def __init__(self, known: Known, refusals: Mapping[int, Rejection], render: Render) -> None:
        self._known = known
        self._state: dict[str, Document | None] = dict(known)
        self._refusals = refusals
        self._render = render
        self._written: dict[str, tuple[int, int] | None] = {}
        self._merged: dict[str, Merged | None] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._rejections: list[Rejection] = []

    def run(self, rows: pl.DataFrame, conditional: pl.DataFrame, barred: Collection[int]) -> Applied:
        """Rows have GIVEN and SEQ, operations SEQ; those that are `barred` are only told of their refusal."""
        looked_at = rows[ID].is_in(pl.Series(list(self._known), dtype=pl.String).implode())
        asked = conditional.filter(~pl.col(RECORD).is_in(list(barred)))
        queues: dict[str, deque[Step]] = {}
        for step in self._steps(rows.filter(looked_at), asked):
            queues.setdefault(step.id, deque()).append(step)
        while queues:
            self._settle([merge for queue in queues.values() if (merge := self._until_merge(queue))])
            queues = {name: queue for name, queue in queues.items() if queue}
        self._tell_the_others(rows, conditional)
        return Applied(
            pl.concat([*self._left(rows, looked_at), self._merged_rows(rows)]).sort(SEQ),
            [name for name in self._written if self._known[name] is not None],
            [self._outcomes[record] for record in sorted(self._outcomes)],
            self._rejections,
        )

    def _steps(self, rows: pl.DataFrame, conditional: pl.DataFrame) -> Iterator[Step]:
        here = pl.col("id").is_not_null() | pl.col(RECORD).is_in(rows[RECORD].implode())
        asked = conditional.filter(here).select(
            RECORD, "op", "body", "if_seq", pl.col("id").alias("_asked"), pl.col(SEQ).alias("_place")
        )
        steps = (
            rows.select(RECORD, ORDINAL, ID, SEQ, SOURCE)
            .join(asked, on=RECORD, how="full", coalesce=True)
            .with_columns(
                pl.col(ORDINAL).fill_null(0),
                pl.coalesce(ID, "_asked").alias(ID),
                pl.coalesce(SEQ, "_place").alias(SEQ),
            )
            .sort(RECORD, ORDINAL)
        )
        for row in steps.select(_STEP).iter_rows():
            yield Step._make((*row, self._refusals.get(row[0])))

    def _until_merge(self, queue: deque[Step]) -> Merge | None:
        """Take steps of one id until one has to be rendered."""
        while queue:
            step = queue.popleft()
            before = self._state[step.id]
            try:
                found = take(step, before)
            except FAULTS as error:
                found = self._refuse(step, before, _unfit(step, error))
            if isinstance(found, Merge):
                return found
            self._note(step, found, None)
        return None

    def _settle(self, merges: Sequence[Merge]) -> None:
        """Render merged documents; one that the mapping refuses leaves the old one as it is."""
        encoded: dict[int, bytes] = {}
        refusals: dict[int, Rejection] = {}
        for merge in merges:
            try:
                encoded[merge.step.record] = msgspec.json.encode(merge.fields)
            except FAULTS as error:
                refusals[merge.step.record] = _unfit(merge.step, error)
        rendered: dict[int, tuple[str | None, str, str | None]] = {}
        if encoded:
            frame, found = self._render(list(encoded), list(encoded.values()))
            refusals |= {rejection.record: rejection for rejection in found}
            rendered = {row[0]: row[1:] for row in frame.select(RECORD, ID, SOURCE, BODY).iter_rows()}
        for merge in merges:
            record = merge.step.record
            self._merge(merge, rendered.get(record), refusals.get(record))

    def _merge(
        self, merge: Merge, rendered: tuple[str | None, str, str | None] | None, rejection: Rejection | None
    ) -> None:
        step = merge.step
        if rejection is None and rendered is None:
            rejection = _unfit(step, "it is no document")
        if rejection is None and rendered is not None and rendered[0] not in (None, step.id):
            rejection = mismatch(step.record, step.id, str(rendered[0]))
        if rejection is not None or rendered is None:
            assert rejection is not None
            self._note(step, self._refuse(step, merge.before, rejection), None)
            return
        _, source, body = rendered
        self._note(step, finish(merge, source), (step.record, step.id, step.seq, source, body))

    def _refuse(self, step: Step, before: Document | None, rejection: Rejection) -> Done:
        self._rejections.append(replace(rejection, original=(step.body or "").encode()))
        return refuse(step, before, rejection)

    def _note(self, step: Step, done: Done, merged: Merged | None) -> None:
        if done.outcome is not None:
            self._outcomes.setdefault(step.record, done.outcome)
        if not done.changed:
            return
        self._state[step.id] = done.document
        self._merged[step.id] = merged
        is_row = merged is None and done.document is not None
        self._written[step.id] = (step.record, step.ordinal) if is_row else None

    def _left(self, rows: pl.DataFrame, looked_at: pl.Series) -> Iterator[pl.DataFrame]:
        """The rows that are still to be added: of those looked at, the last one of each id that counts."""
        yield rows.filter(~looked_at).unique(ID, keep="last", maintain_order=True)
        places = [place for place in self._written.values() if place is not None]
        kept = pl.DataFrame(places, schema={RECORD: pl.Int64, ORDINAL: pl.Int64}, orient="row")
        yield rows.filter(looked_at).join(kept, on=[RECORD, ORDINAL], how="semi")

    def _merged_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        found = [merged for merged in self._merged.values() if merged is not None]
        types = {RECORD: pl.Int64, ID: pl.String, SEQ: pl.Int64, SOURCE: pl.String, BODY: pl.String}
        frame = pl.DataFrame(found, schema=types, orient="row")
        return frame.with_columns(
            pl.lit(0, dtype=pl.Int64).alias(ORDINAL), pl.lit(value=True).alias(GIVEN), encoded()
        ).select(rows.columns)

    def _tell_the_others(self, rows: pl.DataFrame, conditional: pl.DataFrame) -> None:
        """Of operations that met no document: refused ones, and those under an id of their record's own."""
        alone = conditional.filter(~pl.col(RECORD).is_in(list(self._outcomes)))
        if not alone.height:
            return
        firsts = rows.filter(pl.col(ORDINAL) == 0).join(alone, on=RECORD, how="semi")
        found = {record: (name, seq) for record, name, seq in firsts.select(RECORD, ID, SEQ).iter_rows()}
        for record, asked in alone.select(RECORD, "id").iter_rows():
            if record in found:
                name, seq = found[record]
                self._outcomes[record] = Outcome(record, name, "created", 201, seq=seq)
            elif record in self._refusals:
                self._outcomes[record] = refused(record, asked or "", self._refusals[record])
            else:
                self._outcomes[record] = Outcome(record, asked or "", "noop", 200)


def _unfit(step: Step, why: object) -> Rejection:
    return Rejection(step.record, STAGE, "unsupported_value", f"the merged document cannot be kept: {why}")
