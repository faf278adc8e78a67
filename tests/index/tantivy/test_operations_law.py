"""The law of operations: however the log is cut, committed, rolled back and replayed, a dictionary comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.model import Batch, Position
from pushing import KEY, Model, Op, derived, plain, push, stored, told
from writing import writer

IDS = st.sampled_from(["a", "b", "a", "b", "#0", "#1", "#2", "#5"])
"""`#n` stands for the id that record n got by itself."""

DOCS = st.dictionaries(
    st.sampled_from(["x", "y"]),
    st.one_of(
        st.integers(0, 2),
        st.booleans(),
        st.sampled_from(["t", "ü"]),
        st.dictionaries(st.sampled_from(["p", "q"]), st.integers(0, 1), min_size=1, max_size=2),
    ),
    max_size=2,
)


@st.composite
def operations(draw: st.DrawFn) -> Op:
    op = draw(st.sampled_from(["append", "index", "index", "create", "update", "update", "delete"]))
    if op == "append":
        return Op("index", None, draw(DOCS))
    name: str | None = draw(IDS)
    exact = draw(st.booleans())
    if_seq = draw(st.one_of(st.none(), st.none(), st.integers(0, 10)))
    if op == "index":
        return Op(op, name, draw(DOCS), if_seq=if_seq, exact=exact)
    if op == "create":
        return Op(op, draw(st.sampled_from([name, name, None])), draw(DOCS), exact=exact)
    if op == "delete":
        return Op(op, name, if_seq=if_seq, exact=exact)
    upsert = draw(st.one_of(st.none(), DOCS))
    as_upsert = upsert is None and draw(st.booleans())
    return Op(
        op,
        name,
        draw(DOCS),
        upsert,
        as_upsert,
        draw(st.booleans()),
        None if upsert is not None or as_upsert else if_seq,
        exact,
    )


def _named(ops: Sequence[Op]) -> list[Op]:
    """With ids in place of `#n`, those of records still to come left out."""
    return [
        replace(op, id=derived(int(op.id[1:])) if int(op.id[1:]) < record else "a")
        if op.id is not None and op.id.startswith("#")
        else op
        for record, op in enumerate(ops)
    ]


def _batch(ops: Sequence[Op], first: int) -> Batch:
    if all(op.op == "index" and op.id is None and not op.exact for op in ops):
        return plain(*(op.doc or {} for op in ops), first=first)
    return push(*ops, first=first)


CUTS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["commit", "go on", "kill", "go on"])), max_size=12
)


@settings(deadline=None, max_examples=60)
@given(st.lists(operations(), min_size=1, max_size=24), CUTS)
def test_any_operations_in_any_batches_with_any_commits_and_kills_are_those_of_a_dictionary(
    drawn: list[Op], cuts: list[tuple[int, str]]
) -> None:
    model, ops = Model(), _named(drawn)
    for record, op in enumerate(ops):
        model.apply(record, op)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = writer(Path(folder) / "i", threads=1)
        outcomes: dict[int, Any] = {}
        at, steps = 0, iter(cuts)
        while at < len(ops):
            size, then = next(steps, (len(ops), "go on"))
            batch = _batch(ops[at : at + size], at)
            assert made.write(batch) == []
            for record, found in told(made.outcomes).items():
                # A replay tells the same.
                assert outcomes.setdefault(record, found) == found
            at += size
            if then == "commit":
                made.commit()
            if then == "kill":
                made.close()
                at = made.open().durable.get(KEY, Position(0)).record
        marks = made.commit()
        made.close()
        assert outcomes == model.outcomes
        assert stored(Path(folder) / "i") == model.documents
        ledger = marks.ledgers[KEY]
        applied = [
            found for found in model.outcomes.values() if found[0] in ("created", "updated", "deleted")
        ]
        untold = sum(not op.told for op in ops)
        assert (ledger.read, ledger.indexed, ledger.rejected, ledger.dropped) == (
            len(ops),
            len(applied) + untold,
            0,
            len(ops) - len(applied) - untold,
        )
