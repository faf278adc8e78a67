"""A piece of a bulk body → runs of like actions; most bodies are one, never looked at line by line.

Shippers repeat one action line, or write lines that differ in their ids only. Both are taken in a few calls
for all lines together, 0.5 µs per record; anything else goes one by one, and comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from headrace.core.errors import RequestError
from headrace.serve.bulk import documents
from headrace.serve.bulk.actions import LONGEST_ID, Action, Refusal, invalid, parse

CACHED_LINES: Final = 1000
"""Different action lines of one piece that are kept parsed."""


@dataclass(slots=True)
class Run:
    """Consecutive actions of one kind on one index, or one action that is refused.

    ids:       per action, None to derive; empty: all derived
    documents: per action; empty where there is none
    bodies, if_seq: by place in the run
    """

    op: str
    index: str
    alias: bool
    count: int
    ids: list[str | None] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    bodies: dict[int, str] = field(default_factory=dict)
    if_seq: dict[int, int] = field(default_factory=dict)
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What the request says of all actions that do not say it themselves."""

    index: str | None = None
    alias: bool = False


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    index: str | None = msgspec.field(default=None, name="_index")
    id: str | int | None = msgspec.field(default=None, name="_id")


class _Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    said: _Said = msgspec.field(name="index")


class _Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    said: _Said = msgspec.field(name="create")


_FAST: Final[dict[bytes, tuple[str, Callable[[bytes], _Index | _Create]]]] = {
    b'{"index"': ("i", msgspec.json.Decoder(_Index).decode),
    b'{"create': ("c", msgspec.json.Decoder(_Create).decode),
}


def runs(data: bytes, named: Named, line: int, *, last: bool) -> tuple[list[Run], bytes, int]:
    """The actions of whole lines; what is left is an action that still waits for its document.

    `line` is the number of the first line, less one; given back as it is after what was taken. `last`:
    nothing follows. Raises RequestError for what refuses the whole request.
    """
    lines = data.split(b"\n")
    if lines.pop():
        reason = "The bulk request must be terminated by a newline [\\n]"
        raise RequestError(400, "illegal_argument_exception", reason)
    if b"\r" in data:
        lines = [text.removesuffix(b"\r") for text in lines]
    spare = len(lines) % 2
    # At the end an odd line is nothing but an empty one that some clients add.
    if not (spare and last and lines[-1]) and (run := _uniform(data, lines, named)) is not None:
        taken = len(lines) - spare
        left = b"" if last else b"".join(text + b"\n" for text in lines[taken:])
        return [run], left, line + taken
    return _one_by_one(lines, named, line, last=last)


def _uniform(data: bytes, lines: list[bytes], named: Named) -> Run | None:
    """The run that all lines are; None where they are not, or where anything is wrong."""
    paired = len(lines) - len(lines) % 2
    actions, bodies = lines[0:paired:2], lines[1:paired:2]
    if not actions:
        return None
    try:
        if not data.isascii():
            data.decode()
        run = _same(actions, named) or _numbered(actions, named)
        if run is not None:
            # Only what is no JSON object stops here; the one-by-one way then says which and why.
            list(map(documents.syntax, bodies))
            run.documents = bodies
    except (RequestError, *documents.FAULTS):
        return None
    return run


def _same(actions: list[bytes], named: Named) -> Run | None:
    """One action line repeated."""
    if actions.count(actions[0]) != len(actions):
        return None
    action = parse(actions[0], 1)
    index = action.index or named.index
    if action.op not in "ic" or action.refusal or action.if_seq is not None or not index:
        return None
    alias = named.alias if action.alias is None else action.alias
    ids: list[str | None] = [] if action.id is None else [action.id] * len(actions)
    return Run(action.op, index, alias, len(actions), ids)


def _numbered(actions: list[bytes], named: Named) -> Run | None:
    """Action lines that differ in nothing but their ids."""
    op, decode = _FAST.get(actions[0][:8], ("", None))
    if decode is None:
        return None
    said = [decode(line).said for line in actions]
    names = {one.index for one in said}
    if len(names) != 1 or not (index := names.pop() or named.index):
        return None
    ids = [one.id if one.id is None or type(one.id) is str else str(one.id) for one in said]
    longest = max(map(len, filter(None, ids)), default=0)
    if "" in ids or longest * 4 > LONGEST_ID:
        return None
    return Run(op, index, named.alias, len(actions), ids)


def _one_by_one(lines: list[bytes], named: Named, line: int, *, last: bool) -> tuple[list[Run], bytes, int]:
    found: list[Run] = []
    cache: dict[bytes, Action] = {}
    at, end = 0, len(lines)
    while at < end:
        text = lines[at]
        if not text or text.isspace():
            at += 1
            continue
        action = cache.get(text)
        if action is None:
            action = parse(text, line + at + 1)
            if len(cache) < CACHED_LINES:
                cache[text] = action
        index = action.index or named.index
        if not index:
            raise invalid("index is missing")
        if action.op == "d":
            document = b""
        elif at + 1 < end:
            at += 1
            document = lines[at]
        elif last:
            where = f"Malformed action/metadata line [{line + at + 1}]"
            reason = f"{where}, expected a document after it but found the end"
            raise RequestError(400, "illegal_argument_exception", reason)
        else:
            return found, text + b"\n", line + at
        at += 1
        _put(found, action, index, document, named)
    return found, b"", line + at


def _put(found: list[Run], action: Action, index: str, document: bytes, named: Named) -> None:
    """Add one action, to the last run where it is of its kind."""
    refusal, body = action.refusal, None
    if refusal is None and action.op == "u":
        update = documents.update(document, action.if_seq)
        if isinstance(update, Refusal):
            refusal = update
        else:
            body, document = update
    elif refusal is None and action.op != "d":
        refusal = documents.check(document)
    alias = named.alias if action.alias is None else action.alias
    if refusal is not None:
        found.append(Run(action.op, index, alias, 1, [action.id], refusal=refusal))
        return
    run = found[-1] if found else None
    if run is None or run.refusal or (run.op, run.index, run.alias) != (action.op, index, alias):
        run = Run(action.op, index, alias, 0)
        found.append(run)
    if body is not None:
        run.bodies[run.count] = body
    if action.if_seq is not None:
        run.if_seq[run.count] = action.if_seq
    run.ids.append(action.id)
    run.documents.append(document)
    run.count += 1
