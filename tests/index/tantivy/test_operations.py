"""What becomes of a push's operations, one at a time: results, Elasticsearch's words, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace.core.clock import SystemClock
from headrace.core.errors import Rewound
from headrace.index.base import Applying, IndexContext
from headrace.index.tantivy import create as create_index
from headrace.index.tantivy.uncommitted import Uncommitted
from headrace.index.tantivy.verify import verify
from headrace.index.tantivy.writer import Writer
from headrace.model import RECORD, Batch, Ledger, Outcome, Position, Rejection
from pushing import KEY, Op, create, delete, derived, index, plain, push, stored, told, update
from writing import batch, matches, reasons, rows, settings, writer

CONFLICT = "version_conflict_engine_exception"


def _after(
    directory: Path, *batches: Batch, **options: Any
) -> tuple[list[Outcome], dict[str, tuple[int, Any]]]:
    """The outcomes of the last batch, the others committed before it, and the documents."""
    made = writer(directory, threads=1, **options)
    for one in batches:
        made.commit()
        assert made.write(one) == []
    outcomes = made.outcomes
    made.commit()
    made.close()
    return outcomes, stored(directory)


@pytest.fixture(params=["in one batch", "in one commit", "committed"])
def apply(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Applies operations one after another, and gives the last one's outcome and the documents."""

    def run(*ops: Op, **options: Any) -> tuple[Outcome, dict[str, Any]]:
        made = writer(tmp_path / "i", threads=1, **options)
        size = len(ops) if request.param == "in one batch" else 1
        for first in range(0, len(ops), size):
            assert made.write(push(*ops[first : first + size], first=first)) == []
            if request.param == "committed":
                made.commit()
        outcome = made.outcomes[-1]
        made.commit()
        made.close()
        return outcome, {name: source for name, (_, source) in stored(tmp_path / "i").items()}

    return run


def test_an_id_is_created_once_and_a_conflict_is_told_in_elasticsearchs_words(apply: Any) -> None:
    outcome, documents = apply(index("a", x=1), create("a", x=2))
    reason = "[a]: version conflict, document already exists (current version [1])"
    assert outcome == Outcome(1, "a", "error", 409, kind=CONFLICT, reason=reason)
    assert documents == {"a": {"x": 1}}


def test_what_was_deleted_can_be_created(apply: Any) -> None:
    outcome, documents = apply(index("a", x=1), delete("a"), create("a", x=2))
    assert outcome == Outcome(2, "a", "created", 201, seq=2)
    assert documents == {"a": {"x": 2}}


def test_what_is_created_can_be_deleted(apply: Any) -> None:
    assert apply(delete("a"), create("a", x=2), delete("a")) == (Outcome(2, "a", "deleted", 200, seq=2), {})


def test_a_delete_of_nothing_is_not_found(apply: Any) -> None:
    assert apply(index("b"), delete("a")) == (Outcome(1, "a", "not_found", 404, seq=1), {"b": {}})


def test_an_update_merges_objects_and_replaces_everything_else(apply: Any) -> None:
    outcome, documents = apply(
        index("a", o={"p": 1, "q": {"r": 1}}, l=[1, 2], x="t"), update("a", o={"q": {"s": 2}}, l=[3], x=5)
    )
    assert outcome == Outcome(1, "a", "updated", 200, seq=1)
    assert documents == {"a": {"o": {"p": 1, "q": {"r": 1, "s": 2}}, "l": [3], "x": 5}}


def test_an_update_with_null_takes_a_field_away(apply: Any) -> None:
    assert apply(index("a", x=1, y=2), update("a", x=None))[1] == {"a": {"y": 2}}


def test_updates_of_updates_see_each_other(apply: Any) -> None:
    _, documents = apply(index("a", x=1), update("a", y=2), update("a", z=3), update("a", x=4))
    assert documents == {"a": {"x": 4, "y": 2, "z": 3}}


def test_an_update_that_changes_nothing_is_no_operation(apply: Any) -> None:
    outcome, _ = apply(
        index("a", x=1, t="2024-01-01"), update("a", x=1, t="2024-01-01"), fields={"t": "date"}
    )
    assert outcome == Outcome(1, "a", "noop", 200, seq=0)


def test_an_update_that_changes_nothing_writes_where_it_is_told_to(apply: Any) -> None:
    again = replace(update("a", x=1), detect_noop=False)
    assert apply(index("a", x=1), again)[0] == Outcome(1, "a", "updated", 200, seq=1)


def test_an_update_of_what_is_missing_says_so(apply: Any) -> None:
    missing = Outcome(1, "a", "error", 404, kind="document_missing_exception", reason="[a]: document missing")
    assert apply(delete("a"), update("a", x=1)) == (missing, {})


def test_an_update_creates_what_is_missing_from_its_upsert(apply: Any) -> None:
    op = Op("update", "a", {"x": 1}, {"y": 2})
    assert apply(delete("a"), op) == (Outcome(1, "a", "created", 201, seq=1), {"a": {"y": 2}})


def test_an_upsert_changes_nothing_that_is_there(apply: Any) -> None:
    op = Op("update", "a", None, {"y": 2})
    assert apply(index("a", x=1), op) == (Outcome(1, "a", "noop", 200, seq=0), {"a": {"x": 1}})


def test_a_document_as_upsert_is_merged_or_created(apply: Any) -> None:
    op = Op("update", "a", {"x": 1}, doc_as_upsert=True)
    outcome, documents = apply(op, replace(op, doc={"y": 2}))
    assert (outcome.result, documents) == ("updated", {"a": {"x": 1, "y": 2}})


@pytest.mark.parametrize("op", [index("a", x=2), update("a", x=2), delete("a")], ids=lambda op: str(op.op))
def test_an_operation_on_another_state_than_required_is_a_conflict(apply: Any, op: Op) -> None:
    outcome, documents = apply(index("a", x=0), index("a", x=1), replace(op, if_seq=0))
    reason = (
        "[a]: version conflict, required seqNo [0], primary term [1]. "
        "current document has seqNo [1] and primary term [1]"
    )
    assert outcome == Outcome(2, "a", "error", 409, kind=CONFLICT, reason=reason)
    assert documents == {"a": {"x": 1}}


def test_an_operation_on_the_required_state_is_done(apply: Any) -> None:
    outcome, _ = apply(index("a", x=0), index("a", x=1), replace(index("a", x=2), if_seq=1))
    assert outcome == Outcome(2, "a", "updated", 200, seq=2)


def test_a_state_is_required_of_what_is_missing(apply: Any) -> None:
    outcome, _ = apply(delete("a"), replace(index("a", x=1), if_seq=4))
    expected = "[a]: version conflict, required seqNo [4], primary term [1]. but no document was found"
    assert (outcome.status, outcome.reason) == (409, expected)


@pytest.mark.parametrize(
    "name", ['"', "\\", "a b", "ü€😀", "\t\n", "*", "_id", '["push:i","log"]', "x" * 512]
)
def test_any_text_is_an_id(apply: Any, name: str) -> None:
    """Also the very term of a position document, which no delete touches."""
    outcome, documents = apply(index("b", x=1), delete(name), index(name, x=1), update(name, y=2))
    assert outcome == Outcome(3, name, "updated", 200, seq=3)
    assert documents == {"b": {"x": 1}, name: {"x": 1, "y": 2}}


def test_the_last_of_unconditional_operations_on_an_id_wins_and_nobody_is_told(tmp_path: Path) -> None:
    outcomes, documents = _after(tmp_path / "i", push(index("a", x=1), index("b", x=2), index("a", x=3)))
    assert outcomes == []
    assert documents == {"b": (1, {"x": 2}), "a": (2, {"x": 3})}


def test_an_awaited_document_under_an_id_of_its_own_is_told_that_id(tmp_path: Path) -> None:
    outcomes, documents = _after(tmp_path / "i", push(Op("index", None, {"x": 1}, exact=True)))
    assert outcomes == [Outcome(0, derived(0), "created", 201, seq=0)]
    assert documents == {derived(0): (0, {"x": 1})}


def test_what_got_an_id_of_its_own_can_be_changed_before_and_after_its_commit(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1)
    made.write(plain({"x": 0}, {"x": 1}))
    made.write(push(update(derived(0), y=1), delete(derived(1)), first=2))
    assert told(made.outcomes) == {2: ("updated", 200, 2), 3: ("deleted", 200, 3)}
    made.commit()
    made.write(push(update(derived(0), z=1), first=4))
    made.commit()
    made.close()
    assert stored(tmp_path / "i") == {derived(0): (4, {"x": 0, "y": 1, "z": 1})}


def test_bad_ids_are_refused_and_cost_only_their_records(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1)
    future = derived(9)
    found = made.write(
        push(index("", x=1), index("ü" * 257, x=1), delete(""), create(future, x=1), index("a", x=1))
    )
    expected = [(0, "missing_id"), (1, "id_too_long"), (2, "missing_id"), (3, "id_reserved")]
    assert sorted(reasons(found)) == expected
    assert [(one.record, one.status, one.kind) for one in made.outcomes] == [
        (2, 400, "illegal_argument_exception"),
        (3, 400, "illegal_argument_exception"),
    ]
    marks = made.commit()
    made.close()
    assert list(stored(tmp_path / "i")) == ["a"]
    assert marks.ledgers[KEY] == Ledger(read=5, indexed=1, rejected=4)


def test_a_declared_key_decides_and_another_id_is_refused(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1, id="k", fields={"k": "keyword"})
    assert reasons(made.write(push(index("a", k="a", x=1), index("b", k="a"), index(None, k="c")))) == [
        (1, "id_mismatch")
    ]
    found = made.write(push(update("a", k="b"), update("c", x=2), delete("a"), first=3))
    assert reasons(found) == [(3, "id_mismatch")]
    assert [one.result for one in made.outcomes] == ["error", "updated", "deleted"]
    made.commit()
    made.close()
    assert stored(tmp_path / "i") == {"c": (4, {"k": "c", "x": 2})}


def test_declared_keys_of_other_sources_are_seen_before_they_are_committed(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1, id="k")
    made.write(rows({"k": "a", "x": 1}))
    made.write(push(create("a", k="a", x=2)))
    assert [one.status for one in made.outcomes] == [409]
    made.close()
    assert {key[0]: found for key, found in made.open().durable.items()} == {"pipe": Position(1)}
    made.close()


def test_one_id_names_one_document(tmp_path: Path) -> None:
    """A transform made two documents of a record that has an id."""
    made = writer(tmp_path / "i", threads=1)
    whole = push(index("a", x=1), index(None, x=2))
    exploded = (pl.concat([whole.frames[0], whole.frames[0]]).sort(RECORD),)
    assert reasons(made.write(replace(whole, frames=exploded))) == [(0, "several_documents")]
    made.commit()
    made.close()
    assert sorted(stored(tmp_path / "i")) == [derived(1), f"{derived(1)}-1"]


def test_a_merged_document_that_the_mapping_refuses_leaves_the_old_one(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1, fields={"n": "integer"}, dynamic="strict")
    found = made.write(push(index("a", n=1), update("a", n="x"), update("a", m=1), update("a", n=2)))
    assert reasons(found) == [(1, "wrong_type"), (2, "unknown_field")]
    assert [one.original for one in found] == [b'{"doc": {"n": "x"}}', b'{"doc": {"m": 1}}']
    assert told(made.outcomes) == {1: ("error", 400, -1), 2: ("error", 400, -1), 3: ("updated", 200, 3)}
    assert made.outcomes[0].kind == "document_parsing_exception"
    assert made.outcomes[0].reason.startswith("wrong_type: ")
    marks = made.commit()
    made.close()
    assert stored(tmp_path / "i") == {"a": (3, {"n": 2})}
    assert marks.ledgers[KEY] == Ledger(read=4, indexed=2, rejected=2)


def test_an_update_that_can_never_be_a_document_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1)
    found = made.write(push(index("a", x=1), update("a", x="\ud800"), update("a", _seq=1), update("a", x=2)))
    assert reasons(found) == [(1, "unsupported_value"), (2, "reserved_field")]
    assert [one.status for one in made.outcomes] == [400, 400, 200]
    made.close()


def test_a_document_that_a_transform_rejected_is_told_and_one_that_it_dropped_is_no_operation(
    tmp_path: Path,
) -> None:
    made = writer(tmp_path / "i", threads=1)
    given = push(create("a", x=1), create("b", x=2), index("c", x=3), dropped=[1])
    rejection = Rejection(record=0, stage="validate", reason="too_small", detail="x")
    first = replace(given, frames=tuple(one.filter(pl.col(RECORD) > 0) for one in given.frames))
    assert made.write(first.with_rejections((rejection,))) == []
    refused = Outcome(0, "a", "error", 400, kind="document_parsing_exception", reason="too_small: x")
    assert made.outcomes == [refused, Outcome(1, "b", "noop", 200)]
    marks = made.commit()
    made.close()
    assert marks.ledgers[KEY] == Ledger(read=3, indexed=1, rejected=1, dropped=1)


def test_an_upsert_that_is_not_needed_may_be_unfit(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1, fields={"n": "integer"}, dynamic="strict")
    made.write(push(index("a", n=1)))
    assert made.write(push(Op("update", "a", {"n": 2}, {"n": "x"}), first=1)) == []
    assert told(made.outcomes) == {1: ("updated", 200, 1)}
    assert made.commit().ledgers[KEY] == Ledger(read=2, indexed=2)
    made.close()


def test_conflicts_and_missing_documents_are_no_dead_letters_and_the_ledger_balances(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1)
    ops = (index("a"), create("a"), update("b", x=1), delete("b"), update("a"), delete("a"), create("b", x=1))
    assert made.write(push(*ops)) == []
    made.close()
    made.open()
    made.write(push(*ops[:3]))
    made.commit()
    made.write(push(*ops[1:], first=1))
    assert [one.record for one in made.outcomes] == [3, 4, 5, 6]
    marks = made.commit()
    made.close()
    assert marks.ledgers[KEY] == Ledger(read=7, indexed=3, dropped=4)
    assert stored(tmp_path / "i") == {"b": (6, {"x": 1})}


def test_the_sequence_is_the_records_number_and_goes_on_after_others(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", threads=1)
    made.write(plain({"x": 0}, {"x": 1}, first=3))
    made.write(push(index("a", x=2), delete("b"), index("c", x=3), first=7))
    made.write(rows({"x": 4}))
    made.write(push(index("d", x=5), first=10))
    made.commit()
    made.close()
    found = sorted((seq, source["x"]) for seq, source in stored(tmp_path / "i").values())
    assert found == [(3, 0), (4, 1), (7, 2), (9, 3), (10, 4), (11, 5)]


def test_a_row_that_the_engine_refuses_is_left_out_when_it_is_read_again(tmp_path: Path) -> None:
    """Nesting deeper than the engine reads; its predecessor is deleted by then, so the commit goes back."""
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    made = writer(tmp_path / "i", threads=1)
    made.write(push(index("a", x=1), index("b", x=1)))
    made.commit()
    ops = push(update("a", deep=deep), index("b", x=2), first=2)
    with pytest.raises(Rewound) as rewound:
        made.write(ops)
    assert rewound.value.positions == {KEY: Position(2)}
    assert reasons(made.write(ops)) == [(2, "engine_refused")]
    assert told(made.outcomes) == {2: ("error", 400, -1)}
    made.commit()
    made.close()
    assert stored(tmp_path / "i") == {"a": (0, {"x": 1}), "b": (3, {"x": 2})}


def test_an_early_commit_covers_only_what_was_written_before(tmp_path: Path) -> None:
    """A kill after it loses the batch that asked for it, and nothing else."""
    made = writer(tmp_path / "i", threads=1)
    made.write(plain({"x": 0}))
    made.write(push(update(derived(0), y=1), first=1))
    made.close()
    assert made.open().durable == {KEY: Position(1)}
    assert made.write(push(update(derived(0), y=1), first=1)) == []
    assert told(made.outcomes) == {1: ("updated", 200, 1)}
    made.commit()
    made.close()


def test_more_than_is_held_is_committed_before_it_is_asked_for(tmp_path: Path) -> None:
    made: Writer = writer(tmp_path / "i", threads=1)
    made._uncommitted = Uncommitted(limit=1)
    made.write(push(index("a", x=1)))
    made.write(push(index("b", x=1), first=1))
    made.write(push(update("a", y=1), first=2))
    assert told(made.outcomes) == {2: ("updated", 200, 2)}
    made.close()
    assert made.open().durable == {KEY: Position(2)}
    made.close()


def test_an_index_whose_documents_were_replaced_by_id_is_sound(tmp_path: Path) -> None:
    _after(
        tmp_path / "i", push(index("a", x=1), index(None, x=1)), push(index("a", x=2), delete("b"), first=2)
    )
    assert verify(tmp_path / "i").problems == []
    assert matches(tmp_path / "i", "_id", "a") == 1


@pytest.mark.anyio
async def test_the_owner_tells_the_outcomes_of_its_last_write(tmp_path: Path) -> None:
    made = create_index(settings(), IndexContext("i", tmp_path / "i", SystemClock()))
    assert isinstance(made, Applying)
    await made.open()
    await made.write(push(delete("a")))
    assert made.outcomes() == [Outcome(0, "a", "not_found", 404, seq=0)]
    await made.write(batch(first=0, records=1, partition="other"))
    assert made.outcomes() == []
    await made.close()
