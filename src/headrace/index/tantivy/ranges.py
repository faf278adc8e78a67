"""Ranges: over columns by their type, over dynamic fields by the type of the bounds."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from tantivy import FieldType as EngineType
from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import patterns, tree, values
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.targets import Target, parser_path

NUMBERS: Final = (FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT)
_ON_A_LINE: Final = (*NUMBERS, FieldType.DATE, FieldType.BOOLEAN, FieldType.IP)


def range_query(snapshot: Snapshot, target: Target, node: tree.Range, now: int | None = None) -> Query:
    """The engine's query of a range. Raises RequestError for bounds the field cannot have."""
    if target.column is None:
        return _dynamic(snapshot, target, node, now)
    match target.kind:
        case FieldType.TEXT:
            raise RequestError(
                400,
                "query_shard_exception",
                f"field [{target.name}] of type [text] does not support range queries; "
                "declare a keyword field beside it",
            )
        case FieldType.KEYWORD:
            return _keyword(snapshot, target, node)
        case FieldType.INTEGER | FieldType.UNSIGNED:
            return _integers(snapshot, target, node)
        case FieldType.FLOAT:
            return _floats(snapshot, target, node)
        case FieldType.DATE:
            first, last = date_bounds(target.name, node, now)
            return micros_query(snapshot, target.column, first, last)
        case FieldType.BOOLEAN:
            return _booleans(snapshot, target, node)
        case _:
            return _addresses(snapshot, target, node)


def micros_query(snapshot: Snapshot, column: str, first: int | None, last: int | None) -> Query:
    """Dates from one microsecond to another, both included."""
    low, high = values.DATES
    if (first is not None and first > high) or (last is not None and last < low):
        return Query.empty_query()
    if first is None and last is None:
        return Query.exists_query(column)
    first = None if first is None else max(first, low)
    last = None if last is None else min(last, high)
    if first is not None and last is not None and first > last:
        return Query.empty_query()
    lower = None if first is None else values.to_datetime(first)
    upper = None if last is None else values.to_datetime(last)
    return guarded(lambda: Query.range_query(snapshot.schema, column, EngineType.Date, lower, upper))


def date_bounds(name: str, node: tree.Range, now: int | None = None) -> tuple[int | None, int | None]:
    """The first and last microsecond of a range of dates: `gt` a day begins after its end."""
    first = last = None
    if node.lower is not None:
        start, end = values.as_date_span(name, node.lower, node.format, node.zone, now)
        first = start if node.include_lower else end + 1
    if node.upper is not None:
        start, end = values.as_date_span(name, node.upper, node.format, node.zone, now)
        last = end if node.include_upper else start - 1
    return first, last


def _keyword(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    regex = _texts(node)
    if regex is None:
        return Query.empty_query()
    return guarded(lambda: Query.regex_query(snapshot.schema, str(target.column), regex))


def _texts(node: tree.Range) -> str | None:
    lower = None if node.lower is None else values.as_text(node.lower)
    upper = None if node.upper is None else values.as_text(node.upper)
    return patterns.between(lower, upper, include_lower=node.include_lower, include_upper=node.include_upper)


def _integers(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    low, high = values.INTEGERS[target.kind]
    first, last = low, high
    if node.lower is not None:
        lower = values.as_number(target.name, target.kind, node.lower)
        first = math.ceil(lower) if node.include_lower else math.floor(lower) + 1
    if node.upper is not None:
        upper = values.as_number(target.name, target.kind, node.upper)
        last = math.floor(upper) if node.include_upper else math.ceil(upper) - 1
    first, last = max(first, low), min(last, high)
    if first > last:
        return Query.empty_query()
    kind = EngineType.Integer if target.kind is FieldType.INTEGER else EngineType.Unsigned
    return guarded(lambda: Query.range_query(snapshot.schema, str(target.column), kind, first, last))


def _floats(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    def bound(value: tree.Scalar | None) -> float | None:
        return None if value is None else float(values.as_number(target.name, target.kind, value))

    return _between(snapshot, target, node, EngineType.Float, bound(node.lower), bound(node.upper))


def _between(
    snapshot: Snapshot, target: Target, node: tree.Range, kind: EngineType, lower: Any, upper: Any
) -> Query:
    """The engine's range over a column; without any bound, whatever has a value."""
    if lower is None and upper is None:
        return Query.exists_query(str(target.column))
    return guarded(
        lambda: Query.range_query(
            snapshot.schema,
            str(target.column),
            kind,
            lower,
            upper,
            include_lower=node.include_lower or lower is None,
            include_upper=node.include_upper or upper is None,
        )
    )


def _booleans(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    allowed = [False, True]
    if node.lower is not None:
        low = values.as_boolean(target.name, node.lower)
        allowed = [value for value in allowed if value > low or (node.include_lower and value == low)]
    if node.upper is not None:
        high = values.as_boolean(target.name, node.upper)
        allowed = [value for value in allowed if value < high or (node.include_upper and value == high)]
    terms = [Query.term_query(snapshot.schema, str(target.column), value) for value in allowed]
    return any_of(terms)


def _addresses(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    lower = upper = None
    if node.lower is not None:
        lower = values.as_ip_span(target.name, node.lower)[0 if node.include_lower else 1]
    if node.upper is not None:
        upper = values.as_ip_span(target.name, node.upper)[1 if node.include_upper else 0]
    return _between(snapshot, target, node, EngineType.IpAddr, lower, upper)


def _dynamic(snapshot: Snapshot, target: Target, node: tree.Range, now: int | None) -> Query:
    bounds = [bound for bound in (node.lower, node.upper) if bound is not None]
    if not bounds:
        return Query.exists_query(target.dynamic, json_subpaths=True)
    if target.beside in _ON_A_LINE:
        return _misfits(snapshot, target, node, now)
    found = []
    if node.format is not None or _all_dates(bounds):
        found.append(_dynamic_dates(snapshot, target, node, now))
    elif numeric := _numbers(node):
        found.append(_dynamic_numbers(snapshot, target, numeric))
        with suppress(values.Unfit):  # milliseconds since 1970, of fields that are dates
            found.append(_dynamic_dates(snapshot, target, node, now))
    if all(isinstance(bound, str) for bound in bounds) and (regex := _texts(node)):
        texts = snapshot.expand(target.path, regex)
        found.append(texts_query(snapshot, target.dynamic, texts))
    return any_of(found)


def _misfits(snapshot: Snapshot, target: Target, node: tree.Range, now: int | None) -> Query:
    """Values that did not fit a declared type, compared as that type is: no text is between numbers."""
    if target.beside is FieldType.DATE:
        return _dynamic_dates(snapshot, target, node, now)
    if target.beside in NUMBERS and (numeric := _numbers(node)):
        return _dynamic_numbers(snapshot, target, numeric)
    return Query.empty_query()


def any_number(snapshot: Snapshot, target: Target) -> Query:
    """Documents with a number in a dynamic field."""
    # Halves, each with a fraction as its bound: the engine reads these in columns of any number.
    halves = (tree.Range(target.name, lower=-0.5), tree.Range(target.name, upper=0.5))
    return any_of([_dynamic_numbers(snapshot, target, half) for half in halves])


def _all_dates(bounds: list[Any]) -> bool:
    if not all(isinstance(bound, str) and ("-" in bound[1:] or bound.startswith("now")) for bound in bounds):
        return False
    try:
        for bound in bounds:
            values.as_date_span("", bound)
    except RequestError:
        return False
    return True


def _numbers(node: tree.Range) -> tree.Range | None:
    """The range with numbers as bounds, where they can be read as such."""

    def read(value: tree.Scalar | None) -> tree.Scalar | None:
        return values.number(value) if isinstance(value, str) else value

    for bound in (node.lower, node.upper):
        if isinstance(bound, bool) or (isinstance(bound, str) and not values.is_number(bound)):
            return None
    return replace(node, lower=read(node.lower), upper=read(node.upper))


def _dynamic_numbers(snapshot: Snapshot, target: Target, node: tree.Range) -> Query:
    """The engine panics where one bound is an integer (1.0 is one) and the other is not.

    So a whole number beside a fraction is moved to the nearest fraction that means the same. Where there
    is none, beyond 2**52, two half ranges are joined.
    """
    lower, upper = _narrowed(node.lower), _narrowed(node.upper)
    node = replace(node, lower=lower, upper=upper)
    if lower is None or upper is None or _kind(lower) == _kind(upper):
        return _parsed(snapshot, target, _plain(lower), _plain(upper), node)
    if isinstance(lower, int) and abs(lower) < 2**52:
        below = math.nextafter(lower, -math.inf if node.include_lower else math.inf)
        node = replace(node, lower=below, include_lower=not node.include_lower)
        return _parsed(snapshot, target, _plain(below), _plain(upper), node)
    if isinstance(upper, int) and abs(upper) < 2**52:
        above = math.nextafter(upper, math.inf if node.include_upper else -math.inf)
        node = replace(node, upper=above, include_upper=not node.include_upper)
        return _parsed(snapshot, target, _plain(lower), _plain(above), node)
    halves = (replace(node, upper=None), replace(node, lower=None))
    found = [_dynamic_numbers(snapshot, target, half) for half in halves]
    return Query.boolean_query([(Occur.Must, half) for half in found])


def _narrowed(bound: Any) -> Any:
    """A whole number as an integer, as the engine reads it too."""
    whole = isinstance(bound, float) and bound.is_integer() and abs(bound) < 2**63
    return int(bound) if whole else bound


def _kind(bound: Any) -> str:
    """How the engine reads a number: as i64 if it fits, else as u64, else as f64."""
    if isinstance(bound, float):
        return "f64"
    return "i64" if -(2**63) <= bound < 2**63 else "u64"


def _plain(bound: Any) -> str:
    if bound is None:
        return "*"
    if isinstance(bound, int):
        return str(bound)
    text = f"{Decimal(repr(bound)):f}"
    return text if "." in text else f"{text}.0"


def _dynamic_dates(snapshot: Snapshot, target: Target, node: tree.Range, now: int | None) -> Query:
    first, last = date_bounds(target.name, node, now)
    return dynamic_dates(snapshot, target, first, last)


def dynamic_dates(snapshot: Snapshot, target: Target, first: int | None, last: int | None) -> Query:
    """Dates of a dynamic field from one microsecond to another, both included."""

    def plain(micros: int | None) -> str:
        low, high = values.DATES
        return "*" if micros is None else values.iso(min(max(micros, low), high))

    return _parsed(snapshot, target, plain(first), plain(last), tree.Range(target.name))


def _parsed(snapshot: Snapshot, target: Target, lower: str, upper: str, node: tree.Range) -> Query:
    """A range by the engine's parser: the only way into a JSON field. Bounds are numbers, dates or `*`."""
    opening, closing = "[" if node.include_lower else "{", "]" if node.include_upper else "}"
    text = f"{engine.DYNAMIC}.{parser_path(target.path)}:{opening}{lower} TO {upper}{closing}"
    return guarded(lambda: snapshot.index.parse_query(text, [engine.DYNAMIC]))


def texts_query(snapshot: Snapshot, name: str, texts: list[str]) -> Query:
    if not texts:
        return Query.empty_query()
    return guarded(lambda: Query.term_set_query(snapshot.schema, name, texts))


def any_of(queries: list[Query]) -> Query:
    """One of several, or none."""
    if len(queries) == 1:
        return queries[0]
    if not queries:
        return Query.empty_query()
    return Query.boolean_query([(Occur.Should, query) for query in queries])
