"""What the dynamic values of a field are: asked of all of them, never of a sample.

The engine keeps numbers, dates, booleans and texts of one path in columns of their own, per segment. Its
metrics, histograms and ranges read *one* of them in each segment: the numbers, or else the dates. So they are
right where a field has only one of the two, and would mix milliseconds with prices where it has both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tantivy import Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import values
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.exact import numbers
from headrace.index.tantivy.ranges import NUMBERS, any_number, any_of, dynamic_dates
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.targets import Target, resolve_declared


class Kind(StrEnum):
    """What is not a text; the value is how a message names it."""

    NUMBER = "numbers"
    DATE = "dates"
    BOOLEAN = "booleans"


def kinds(snapshot: Snapshot, target: Target) -> frozenset[Kind]:
    """The kinds of values of the dynamic pair under a path, texts apart; counted once per commit."""
    if not target.path or "\0" in target.path:
        return frozenset()  # no document's
    found = snapshot.kinds.get(target.path)
    if found is None:
        found = frozenset(kind for kind in Kind if _any(snapshot, target.path, kind))
        snapshot.kinds[target.path] = found
    return found


def mixed(snapshot: Snapshot, target: Target) -> bool:
    """Whether a dynamic field has values of several kinds, texts among them."""
    if target.column is not None:
        return False
    found = kinds(snapshot, target)
    return len(found) > 1 or (len(found) == 1 and _texts(snapshot, target.path))


def is_date(snapshot: Snapshot, target: Target) -> bool:
    """Whether a field is of dates: declared so, or dynamic with dates and no numbers."""
    if target.column is not None:
        return target.kind is FieldType.DATE
    found = kinds(snapshot, target)
    return Kind.DATE in found and Kind.NUMBER not in found


def comparable(snapshot: Snapshot, target: Target) -> Target:
    """Where the values are that compare as the declared ones do: misfits of another kind are none."""
    if target.beside is None:
        return target
    own = Kind.DATE if target.beside is FieldType.DATE else Kind.NUMBER if target.beside in NUMBERS else None
    return target if own in kinds(snapshot, target) else resolve_declared(snapshot, target.name)


def on_one_line(snapshot: Snapshot, target: Target, asking: str) -> None:
    """Refuse what would put numbers and dates of one dynamic field on one line."""
    if target.column is None and {Kind.NUMBER, Kind.DATE} <= kinds(snapshot, target):
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"the dynamic field [{target.name}] has numbers in some documents and dates in others, which"
            f" {asking} cannot compare; declare it as date or as a number, or use [terms]",
        )


def only_dates(snapshot: Snapshot, target: Target, asking: str) -> None:
    """Refuse to take numbers of a dynamic field for dates: the engine would, as nanoseconds."""
    on_one_line(snapshot, target, asking)
    _without(snapshot, target, Kind.NUMBER, f"{asking} is for dates; declare it as date")


def only_numbers(snapshot: Snapshot, target: Target, asking: str) -> None:
    """Refuse to take dates of a dynamic field for numbers."""
    on_one_line(snapshot, target, asking)
    _without(snapshot, target, Kind.DATE, f"{asking} is for numbers; use a [date_histogram]")


def _without(snapshot: Snapshot, target: Target, kind: Kind, why: str) -> None:
    if target.column is None and kind in kinds(snapshot, target):
        reason = f"the dynamic field [{target.name}] has {kind}, and {why}"
        raise RequestError(400, "illegal_argument_exception", reason)


def one_dynamic(snapshot: Snapshot, target: Target, value: Any) -> Query:
    """Documents whose dynamic field has this very value: other than in a `term` query, 5 is not "5"."""
    if isinstance(value, str) and (moment := engine.dynamic_date(value)):
        micros = values.to_micros(moment)
        return dynamic_dates(snapshot, target, micros, micros)
    forms = [value] if isinstance(value, str | bool) else numbers(value)
    return any_of(
        [
            guarded(lambda form=form: Query.term_query(snapshot.schema, target.dynamic, form))  # type: ignore[misc]
            for form in forms
        ]
    )


def _any(snapshot: Snapshot, path: str, kind: Kind) -> bool:
    try:
        return snapshot.count(_of_kind(snapshot, path, kind)) > 0
    except RequestError as error:
        if error.status != 400:
            raise
        return False  # a path that the engine cannot read has no values


def _texts(snapshot: Snapshot, path: str) -> bool:
    key = f"{path}\0texts"
    if key not in snapshot.kinds:
        name = Target(path, path, FieldType.JSON).dynamic
        any_text = guarded(lambda: Query.fuzzy_term_query(snapshot.schema, name, "", 0, True, prefix=True))
        snapshot.kinds[key] = frozenset(["texts"] if snapshot.count(any_text) else [])
    return bool(snapshot.kinds[key])


def _of_kind(snapshot: Snapshot, path: str, kind: Kind) -> Query:
    target = Target(path, path, FieldType.JSON)
    match kind:
        case Kind.NUMBER:
            return any_number(snapshot, target)
        case Kind.DATE:
            return dynamic_dates(snapshot, target, *values.DATES)
        case _:
            return any_of([Query.term_query(snapshot.schema, target.dynamic, v) for v in (False, True)])
