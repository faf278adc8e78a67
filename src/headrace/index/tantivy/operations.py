"""What one operation does to one document, and what its sender is told: Elasticsearch's rules and words.

Nothing here knows the engine: a step meets the document as it stands just before it, in log order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from headrace.index.tantivy.merge import Fields, merged, same
from headrace.index.tantivy.uncommitted import Document
from headrace.model import Outcome, Rejection

CONFLICT: Final = "version_conflict_engine_exception"
MISSING: Final = "document_missing_exception"
UNFIT: Final = "document_parsing_exception"
BAD_ID: Final = "illegal_argument_exception"

FAULTS: Final = (msgspec.DecodeError, OverflowError, RecursionError, UnicodeError)
"""Of requests and documents whose parts the door found fine, and which are not fit to be one."""

_ID_REASONS: Final = {"missing_id", "id_too_long", "id_mismatch", "id_reserved", "several_documents"}


class Step(NamedTuple):
    """One operation on its way to one document.

    op:      None for a row of a record nobody waits for
    source:  the record's own document as it would be stored; None where there is none
    refusal: why there is none, if it was rejected
    """

    record: int
    ordinal: int
    id: str
    seq: int
    op: str | None
    body: str | None
    if_seq: int | None
    source: str | None
    refusal: Rejection | None


@dataclass(frozen=True, slots=True)
class Done:
    """After a step: the document as it is now (None: there is none), changed or not, and what is told."""

    document: Document | None
    changed: bool
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged document that has to pass the mapping before the step is done."""

    step: Step
    before: Document
    fields: Fields


def take(step: Step, before: Document | None) -> Done | Merge:
    """The document after a step, or what has to be rendered first."""
    conflict = _conflict(step, before)
    match step.op:
        case "update" if before is not None:
            return (
                _update(step, before) if conflict is None else Done(before, changed=False, outcome=conflict)
            )
        case "delete" if step.refusal is None:
            return (
                _delete(step, before) if conflict is None else Done(before, changed=False, outcome=conflict)
            )
        case _:
            if step.source is None:
                return Done(before, changed=False, outcome=_without_document(step, before))
            if conflict is not None:
                return Done(before, changed=False, outcome=conflict)
            return _put(step, before)


def finish(merge: Merge, rendered: str) -> Done:
    """The step that needed `rendered`. Compared as stored, so that it is the same however the log was cut."""
    step = merge.step
    if _detects(step) and same(msgspec.json.decode(merge.before.source), msgspec.json.decode(rendered)):
        return _unchanged(step, merge.before)
    return Done(Document(step.seq, rendered), changed=True, outcome=_told(step, "updated", 200))


def refuse(step: Step, before: Document | None, rejection: Rejection) -> Done:
    return Done(before, changed=False, outcome=refused(step.record, step.id, rejection))


def refused(record: int, name: str, rejection: Rejection) -> Outcome:
    kind = BAD_ID if rejection.reason in _ID_REASONS else UNFIT
    return Outcome(record, name, "error", 400, kind=kind, reason=f"{rejection.reason}: {rejection.detail}")


def has_document(op: str, body: str | None) -> bool:
    """Whether a record is a document, or an operation without one."""
    if op != "update":
        return op != "delete"
    try:
        request = _request(body)
    except FAULTS:
        return False
    return request.get("upsert") is not None or _true(request.get("doc_as_upsert"))


def _conflict(step: Step, before: Document | None) -> Outcome | None:
    if step.op == "create" and before is not None:
        found = f"document already exists (current version [{before.seq + 1}])"
        return _error(step, 409, CONFLICT, f"[{step.id}]: version conflict, {found}")
    if step.if_seq is None or (before is not None and before.seq == step.if_seq):
        return None
    wanted = f"required seqNo [{step.if_seq}], primary term [1]"
    found = "but no document was found"
    if before is not None:
        found = f"current document has seqNo [{before.seq}] and primary term [1]"
    return _error(step, 409, CONFLICT, f"[{step.id}]: version conflict, {wanted}. {found}")


def _put(step: Step, before: Document | None) -> Done:
    assert step.source is not None
    result, status = ("created", 201) if before is None else ("updated", 200)
    outcome = _told(step, result, status) if step.op is not None else None
    return Done(Document(step.seq, step.source), changed=True, outcome=outcome)


def _delete(step: Step, before: Document | None) -> Done:
    if before is None:
        return Done(None, changed=False, outcome=_told(step, "not_found", 404))
    return Done(None, changed=True, outcome=_told(step, "deleted", 200))


def _update(step: Step, before: Document) -> Done | Merge:
    change = _request(step.body).get("doc")
    if not isinstance(change, dict):
        return _unchanged(step, before)  # an upsert alone changes nothing that is there
    document = msgspec.json.decode(before.source)
    fields = merged(document, change)
    if _detects(step) and same(document, fields):
        return _unchanged(step, before)
    return Merge(step, before, fields)


def _without_document(step: Step, before: Document | None) -> Outcome | None:
    if step.op is None:
        return None
    if step.refusal is not None:
        return refused(step.record, step.id, step.refusal)
    if step.op == "update" and not has_document("update", step.body):
        return _error(step, 404, MISSING, f"[{step.id}]: document missing")
    # A transform left the document out on purpose: what is there stays.
    return Outcome(step.record, step.id, "noop", 200, seq=-1 if before is None else before.seq)


def _unchanged(step: Step, before: Document) -> Done:
    return Done(before, changed=False, outcome=Outcome(step.record, step.id, "noop", 200, seq=before.seq))


def _told(step: Step, result: str, status: int) -> Outcome:
    return Outcome(step.record, step.id, result, status, seq=step.seq)


def _error(step: Step, status: int, kind: str, reason: str) -> Outcome:
    return Outcome(step.record, step.id, "error", status, kind=kind, reason=reason)


def _detects(step: Step) -> bool:
    return _request(step.body).get("detect_noop") not in (False, "false")


def _request(body: str | None) -> dict[str, Any]:
    """The body of an update; the door has refused what is no JSON object."""
    found = msgspec.json.decode(body or "{}")
    return found if isinstance(found, dict) else {}


def _true(value: object) -> bool:
    return value is True or value == "true"
