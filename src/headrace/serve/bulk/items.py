"""Answers of a bulk request, one item per action in order, written as text: dicts would cost ten times more.

Every item has one key, and `errors` stands directly before `items`: clients compare the raw bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from headrace.core.errors import RequestError
from headrace.model import Outcome
from headrace.serve.bulk.actions import NAMES, Refusal
from headrace.serve.bulk.sections import Placed, Section
from headrace.serve.names import Target
from headrace.serve.push import Push, Written

BRIEF: Final = frozenset({"errors", "items.*.error", "items.*.status"})
"""The `filter_path` that Logstash sends with every request."""

SHARDS: Final = '"_shards":{"total":1,"successful":1,"failed":0}'
NO_SHARDS: Final = '"_shards":{"total":0,"successful":0,"failed":0}'
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')


def text(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Items:
    """Writes items; `brief`: only what `BRIEF` asks for. `forced`: a refresh was asked for, and says so."""

    def __init__(self, push: Push, *, brief: bool = False, forced: bool = False) -> None:
        self._push = push
        self._brief = brief
        self._forced = '"forced_refresh":true,' if forced else ""
        self._prefixes: dict[str, str] = {}
        self._heads: dict[tuple[str, str], str] = {}

    def of(self, placed: Placed) -> Iterable[str]:
        """The items of one run."""
        run = placed.run
        if run.refusal is not None:
            return self._refused(placed, run.refusal)
        assert placed.section is not None
        written = placed.section.written
        assert written is not None
        if written.waits:
            return self._known(placed, placed.section, written)
        return self._durable(placed, written.appended.first + placed.first, written.target)

    def _durable(self, placed: Placed, first: int, target: Target) -> Iterable[str]:
        """Items of records that are stored, and applied later: their numbers say the rest."""
        run = placed.run
        name = NAMES[run.op]
        if self._brief:
            return [f'{{"{name}":{{"status":201}}}}'] * run.count
        head = self._head(name, target)
        middle = f',"result":"created",{SHARDS},"_seq_no":'
        tail = ',"_primary_term":1,"status":201}}'
        if any(run.ids):
            numbered = zip(self._ids(run.ids, first, target), range(first, first + run.count), strict=True)
            return [f'{head}{key},"_version":{n + 1}{middle}{n}{tail}' for key, n in numbered]
        if target.key:
            head += "null"
            return [f'{head},"_version":{n + 1}{middle}{n}{tail}' for n in range(first, first + run.count)]
        head += f'"{self._prefix(target)}'
        return [f'{head}{n}","_version":{n + 1}{middle}{n}{tail}' for n in range(first, first + run.count)]

    def _head(self, name: str, target: Target) -> str:
        """How an item begins, up to its id."""
        head = self._heads.get((name, target.log))
        if head is None:
            head = self._heads[name, target.log] = f'{{"{name}":{{"_index":{text(target.index)},"_id":'
        return head

    def _ids(self, ids: list[str | None], first: int, target: Target) -> list[str]:
        """Ids as JSON."""
        given = [key for key in ids if key is not None]
        if len(given) == len(ids) and not _ESCAPED.search("".join(given)):
            return [f'"{key}"' for key in given]
        return [
            text(key) if key is not None else self._derived(target, first + place)
            for place, key in enumerate(ids)
        ]

    def _derived(self, target: Target, record: int) -> str:
        """An id that is not given; where fields of the document decide, only the index knows it."""
        return "null" if target.key else f'"{self._prefix(target)}{record}"'

    def _prefix(self, target: Target) -> str:
        prefix = self._prefixes.get(target.log)
        if prefix is None:
            prefix = self._prefixes[target.log] = self._push.id_prefix(target)
        return prefix

    def _known(self, placed: Placed, section: Section, written: Written) -> Iterator[str]:
        """Items of records whose outcomes were waited for."""
        run, target = placed.run, written.target
        for place in range(run.count):
            record = written.appended.first + placed.first + place
            outcome = written.outcomes.get(record)
            given = run.ids[place] if run.ids else None
            if outcome is not None:
                yield self._outcome(run.op, target, outcome)
            elif is_free(placed, place) and not section.searchable:
                yield from self._one_durable(placed, place, record, target)
            else:
                error = written.unknown or missing_outcome()
                known = text(given) if given is not None else self._derived(target, record)
                yield self._failed(
                    run.op, target.index, known, Refusal(error.status, error.kind, error.reason)
                )

    def _one_durable(self, placed: Placed, place: int, record: int, target: Target) -> Iterable[str]:
        run = placed.run
        ids = [run.ids[place]] if run.ids else []
        one = Placed(type(run)(run.op, run.index, run.alias, 1, ids))
        return self._durable(one, record, target)

    def _outcome(self, op: str, target: Target, outcome: Outcome) -> str:
        key = text(outcome.id)
        if outcome.kind:
            refusal = Refusal(outcome.status, outcome.kind, outcome.reason)
            return self._failed(op, target.index, key, refusal, target.uuid)
        if self._brief:
            return f'{{"{NAMES[op]}":{{"status":{outcome.status}}}}}'
        seq = outcome.seq if outcome.seq >= 0 else outcome.record
        shards = NO_SHARDS if outcome.result == "noop" else SHARDS
        return (
            f'{self._head(NAMES[op], target)}{key},"_version":{seq + 1},'
            f'"result":"{outcome.result}",{self._forced}{shards},"_seq_no":{seq},"_primary_term":1,'
            f'"status":{outcome.status}}}}}'
        )

    def _refused(self, placed: Placed, refusal: Refusal) -> Iterator[str]:
        run = placed.run
        for place in range(run.count):
            given = run.ids[place] if run.ids else None
            yield self._failed(run.op, run.index, text(given), refusal)

    def _failed(self, op: str, index: str, key: str, refusal: Refusal, uuid: str = "") -> str:
        error: dict[str, object] = {"type": refusal.kind, "reason": refusal.reason}
        if refusal.cause is not None:
            error["caused_by"] = {"type": refusal.cause[0], "reason": refusal.cause[1]}
        if uuid:
            error |= {"index_uuid": uuid, "shard": "0", "index": index}
        named = "" if self._brief else f'"_index":{text(index)},"_id":{key},'
        return f'{{"{NAMES[op]}":{{{named}"status":{refusal.status},"error":{text(error)}}}}}'


def is_free(placed: Placed, place: int) -> bool:
    """Whether an action's answer depends on nothing that the index holds."""
    run = placed.run
    if place in run.if_seq:
        return False
    return run.op == "i" or (run.op == "c" and not (run.ids and run.ids[place] is not None))


def missing_outcome() -> RequestError:
    reason = "the record is stored, but what became of it was not said; it is safe to repeat with its id"
    return RequestError(503, "outcome_unknown", reason)


def failed(placed: Iterable[Placed]) -> bool:
    """Whether any item has an error."""
    for one in placed:
        if one.run.refusal is not None:
            return True
        written = one.section.written if one.section is not None else None
        if written is None or not written.waits:
            continue
        if any(_fails(one, place, written) for place in range(one.run.count)):
            return True
    return False


def _fails(placed: Placed, place: int, written: Written) -> bool:
    outcome = written.outcomes.get(written.appended.first + placed.first + place)
    if outcome is not None:
        return bool(outcome.kind)
    assert placed.section is not None
    return placed.section.searchable or not is_free(placed, place)


def unanswered(placed: Iterable[Placed]) -> RequestError | None:
    """The error of a request of which nothing can be said: all that it asked for was waited for, in vain."""
    error = None
    for one in placed:
        written = one.section.written if one.section is not None else None
        if written is None or written.unknown is None:
            return None
        assert one.section is not None
        if not one.section.searchable and any(is_free(one, place) for place in range(one.run.count)):
            return None
        error = written.unknown
    return error
