"""How found documents are answered: their `_source`, and `fields` read from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from headrace.core.errors import RequestError
from headrace.core.glob import matches
from headrace.fields import Field, FieldType
from headrace.index.base import Hit, SortKey
from headrace.index.query import dates, formats
from headrace.index.query.bounds import hold
from headrace.index.query.source import Patterns, filtered
from headrace.serve.searches import Answered, Found
from headrace.serve.typed import typed

PER_VALUES: Final = 4
"""Bytes of values as Python objects, for a byte of the JSON they were read from."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of `fields`: a name or pattern, and how dates under it are printed."""

    pattern: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer tells beside the hits themselves.

    parts:             what of `_source` is shown, where the hit has all of it for `fields`; None: as it is
    fields, docvalues: read from `_source`, flat, each a list
    sort_formats:      by place in the sort, for dates
    total:             how far the total counts; None for all, 0 for not at all
    terminated:        `terminate_after` was asked for: say that nothing was cut off
    hide_sort:         the sort is our own, not the request's
    typed:             the aggregations asked for, where their names are to have types (`typed_keys`)
    """

    source: bool = True
    parts: Patterns | None = None
    version: bool = False
    seq_no: bool = False
    fields: Sequence[Wanted] = ()
    docvalues: Sequence[Wanted] = ()
    sort_formats: Mapping[int, str] = field(default_factory=dict)
    total: int | None = None
    total_as_int: bool = False
    terminated: bool = False
    hide_sort: bool = False
    typed: Mapping[str, Any] | None = None

    def part(self, source: bytes) -> bytes:
        """What is shown of a hit's `_source`."""
        return source if self.parts is None else filtered(source, self.parts)


Declared = Mapping[str, Mapping[str, Field]]
"""Index → its declared fields."""


def shards(indexes: int) -> dict[str, int]:
    """`_shards` of an answer: an index is one."""
    return {"total": indexes, "successful": indexes, "skipped": 0, "failed": 0}


def answer_body(answered: Answered, took: int, shown: Shown, declared: Declared) -> dict[str, Any]:
    """A search's answer; `_source` is the stored bytes themselves."""
    hits: dict[str, Any] = {"max_score": answered.max_score}
    if shown.total != 0:
        hits = {"total": _total(answered.total, shown), **hits}
    hits["hits"] = [hit_body(found, shown, declared.get(found.index, {})) for found in answered.hits]
    body: dict[str, Any] = {"took": took, "timed_out": False}
    if shown.terminated:
        body["terminated_early"] = False
    body |= {"_shards": shards(answered.indexes), "hits": hits}
    if answered.aggregations is not None:
        found = answered.aggregations
        if shown.typed is not None:
            known = {name: field for fields in declared.values() for name, field in fields.items()}
            found = typed(shown.typed, found, known)
        body["aggregations"] = found
    if answered.left_out:
        body["headrace"] = {"left_out": list(answered.left_out)}
    return body


def _total(total: int, shown: Shown) -> Any:
    if shown.total_as_int:
        return total
    if shown.total is not None and total > shown.total:
        return {"value": shown.total, "relation": "gte"}
    return {"value": total, "relation": "eq"}


def hit_body(found: Found, shown: Shown, declared: Mapping[str, Field]) -> dict[str, Any]:
    hit = found.hit
    body: dict[str, Any] = {"_index": found.index, "_id": hit.id}
    if shown.version:
        body["_version"] = hit.seq + 1  # what the write was answered with
    if shown.seq_no:
        body |= {"_seq_no": hit.seq, "_primary_term": 1}
    body["_score"] = hit.score
    if shown.source:
        body["_source"] = msgspec.Raw(shown.part(hit.source))
    if shown.fields or shown.docvalues:
        body["fields"] = _fields(hit, shown, declared)
    if hit.highlight:
        body["highlight"] = hit.highlight
    if hit.sort and not shown.hide_sort:
        body["sort"] = [_sort_value(place, value, shown) for place, value in enumerate(hit.sort)]
    return body


def _sort_value(place: int, value: Any, shown: Shown) -> Any:
    name = shown.sort_formats.get(place)
    if name is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return formats.shown(round(value * 1000), name)


def sort_formats(sort: Sequence[SortKey], given: Mapping[int, str]) -> dict[int, str]:
    """Only those that name a format. Raises RequestError for one that is not known."""
    for name in given.values():
        formats.formats(name)
    return {place: name for place, name in given.items() if place < len(sort)}


def _fields(hit: Hit, shown: Shown, declared: Mapping[str, Field]) -> dict[str, list[Any]]:
    hold(PER_VALUES * len(hit.source))
    values: dict[str, list[Any]] = {}
    for path, value in _leaves(msgspec.json.decode(hit.source), ""):
        values.setdefault(path, []).append(value)
    found: dict[str, list[Any]] = {}
    for wanted in (*shown.fields, *shown.docvalues):
        for name in _names(wanted.pattern, values, hit):
            path = name if name in values else name.removesuffix(".keyword")
            given = [hit.id] if name == "_id" else [hit.seq] if name == "_seq_no" else values[path]
            found[name] = [_shown(path, value, wanted.format, declared.get(path)) for value in given]
    return found


def _names(pattern: str, values: Mapping[str, Any], hit: Hit) -> list[str]:
    del hit
    if pattern in ("_id", "_seq_no"):
        return [pattern]
    if "*" in pattern:
        return [path for path in values if matches(pattern, path)]
    return [pattern] if pattern in values or pattern.removesuffix(".keyword") in values else []


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value under its dotted path, lists opened."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif value is not None:
        yield path, value


def _shown(path: str, value: Any, format: str | None, declared: Field | None) -> Any:  # noqa: A002
    """A date in the wanted format, else in ISO 8601; other values as they are."""
    is_date = declared is not None and declared.kind is FieldType.DATE
    if not is_date and (format is None or not isinstance(value, str)):
        return value
    if isinstance(value, bool):
        return value
    try:
        micros = dates.as_date_span(path, value)[0]
    except RequestError:
        return value
    return formats.shown(micros, format)
