"""Action lines of a bulk request; a malformed one refuses the request, a wrong value in one only its record.

The wording is Elasticsearch's, since clients and their users search for it.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec

from headrace.core.errors import RequestError
from headrace.core.registry import suggest

OPS: Final = {"index": "i", "create": "c", "update": "u", "delete": "d"}
NAMES: Final = {letter: name for name, letter in OPS.items()}

LONGEST_ID: Final = 512
"""Bytes of an id, as in Elasticsearch."""

MATCH_ANY: Final = -3

IGNORED: Final = frozenset(
    {
        "_type", "routing", "_routing", "pipeline", "dynamic_templates", "list_executed_pipelines",
        "retry_on_conflict", "_retry_on_conflict", "require_data_stream",
    }
)  # fmt: skip
"""They steer what is not here: shards, types, node pipelines, races that one ordered log does not have."""

KNOWN: Final = IGNORED | {
    "_index", "_id", "op_type", "require_alias", "if_seq_no", "if_primary_term", "version", "_version",
    "version_type", "_version_type", "_source",
}  # fmt: skip
OBJECTS: Final = frozenset({"dynamic_templates", "_source"})


class Refusal(msgspec.Struct, frozen=True):
    """Why one record is not taken; `cause` is the type and reason of what lies under it."""

    status: int
    kind: str
    reason: str
    cause: tuple[str, str] | None = None


class Action(msgspec.Struct, frozen=True):
    """One action line: a letter of OPS, and what it says of its record."""

    op: str
    index: str | None = None
    id: str | None = None
    alias: bool | None = None
    if_seq: int | None = None
    refusal: Refusal | None = None


def refused(reason: str, kind: str = "illegal_argument_exception") -> Refusal:
    return Refusal(400, kind, reason)


def invalid(problem: str) -> RequestError:
    """A request that says too little to be carried out."""
    return RequestError(400, "action_request_validation_exception", f"Validation Failed: 1: {problem};")


def parse(line: bytes, number: int) -> Action:
    """The action of line `number` (from 1). Raises RequestError."""
    try:
        given = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        shown = line[:80].decode("utf-8", "replace")
        _malformed(number, f"expected a JSON object but found [{shown}]: {error}")
    if not isinstance(given, dict):
        _malformed(number, f"expected [START_OBJECT] but found [{_token(given)}]")
    if not given:
        _malformed(number, "expected [FIELD_NAME] but found [END_OBJECT]")
    name, values = next(iter(given.items()))
    if name not in OPS:
        hint = suggest(name, list(OPS))
        _malformed(
            number, f"expected field [create], [delete], [index] or [update] but found [{name}]; {hint}"
        )
    if not isinstance(values, dict):
        _malformed(number, f"expected [START_OBJECT] but found [{_token(values)}]")
    if len(given) > 1:
        _malformed(number, "expected [END_OBJECT] but found [FIELD_NAME]")
    return action(OPS[name], values, number)


def action(op: str, values: dict[str, Any], number: int) -> Action:
    """An action with these parameters. Raises RequestError."""
    for name, value in values.items():
        _check(name, value, number)
    if op == "i" and values.get("op_type") == "create":
        op = "c"
    identity, why = _id(values.get("_id"))
    if op in "ud" and identity is None and why is None:
        raise invalid("id is missing")
    seq, conflict = _condition(op, values)
    index = values.get("_index")
    alias = values.get("require_alias")
    return Action(
        op,
        None if index is None else str(index),
        identity,
        None if alias is None else alias in (True, "true"),
        seq,
        why or _unsupported(op, values) or conflict,
    )


def _check(name: str, value: Any, number: int) -> None:
    if name not in KNOWN:
        hint = suggest(name, list(KNOWN))
        reason = f"Action/metadata line [{number}] contains an unknown parameter [{name}]; {hint}"
        raise RequestError(400, "illegal_argument_exception", reason)
    if isinstance(value, list | dict) and name not in OBJECTS:
        _malformed(number, f"expected a simple value for field [{name}] but found [{_token(value)}]")


def check_id(text: str) -> Refusal | None:
    """What is wrong with an id."""
    if not text:
        return refused("if _id is specified it must not be empty")
    size = len(text.encode()) if len(text) * 4 > LONGEST_ID else 0
    if size > LONGEST_ID:
        shown = f"{text[:60]}…"
        reason = f"id [{shown}] is too long, must be no longer than {LONGEST_ID} bytes but was: {size}"
        return refused(reason)
    return None


def _id(given: Any) -> tuple[str | None, Refusal | None]:
    if given is None:
        return None, None
    if isinstance(given, bool):
        given = "true" if given else "false"
    if isinstance(given, float):
        # Its text has many spellings, and each would be another id.
        return None, refused(f"[_id] must be a string or a whole number, found [{given}]")
    text = str(given)
    why = check_id(text)
    return (None if why else text), why


def _condition(op: str, values: dict[str, Any]) -> tuple[int | None, Refusal | None]:
    """`if_seq_no` and `if_primary_term`, which go together; there is only one term, 1."""
    seq, term = values.get("if_seq_no"), values.get("if_primary_term")
    if seq is None and term is None:
        return None, None
    if op == "c":
        return None, refused("create operations do not support compare and set. use index instead")
    try:
        seq, term = int(-2 if seq is None else seq), int(0 if term is None else term)
    except ValueError:
        return None, refused(
            f"[if_seq_no] and [if_primary_term] are whole numbers, found [{seq}] and [{term}]"
        )
    if seq < 0:
        return None, refused(f"if_seq_no is unassigned, but primary term is [{term}]")
    if term == 0:
        return None, refused("if_seq_no is set, but primary term is [0]")
    if term == 1:
        return seq, None
    wanted = f"required seqNo [{seq}], primary term [{term}]"
    reason = f"[{values.get('_id')}]: version conflict, {wanted}. the primary term is [1]"
    return None, Refusal(409, "version_conflict_engine_exception", reason)


def _unsupported(op: str, values: dict[str, Any]) -> Refusal | None:
    """What Elasticsearch can and this cannot, with what there is instead."""
    instead = "Please use `if_seq_no` and `if_primary_term` instead"
    kind = values.get("version_type", values.get("_version_type"))
    if kind not in (None, "internal"):
        return refused(f"[version_type] [{kind}] is not supported. {instead}")
    if values.get("version", values.get("_version")) not in (None, MATCH_ANY):
        return refused(f"internal versioning can not be used for optimistic concurrency control. {instead}")
    if op == "u" and values.get("_source") not in (None, False, "false"):
        return refused("[_source] of an update is not answered; get the document after it")
    if op == "i" and values.get("op_type") not in (None, "index"):
        return refused(f"opType must be 'create' or 'index', found: [{values['op_type']}]")
    return None


def _malformed(number: int, problem: str) -> NoReturn:
    reason = f"Malformed action/metadata line [{number}], {problem}"
    raise RequestError(400, "illegal_argument_exception", reason)


def _token(value: Any) -> str:
    """What Elasticsearch's parser calls the first token of a value."""
    if value is None:
        return "VALUE_NULL"
    if isinstance(value, bool):
        return "VALUE_BOOLEAN"
    if isinstance(value, str):
        return "VALUE_STRING"
    if isinstance(value, list):
        return "START_ARRAY"
    return "START_OBJECT" if isinstance(value, dict) else "VALUE_NUMBER"
