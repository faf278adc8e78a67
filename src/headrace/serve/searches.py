"""One search over any number of indexes: each is asked for the whole window, and the hits are merged.

Ties go by the index's name and then its `_seq`. So that a page can go on in the middle of them, the last sort
value of a hit found among several indexes is `index:_seq`; of one index it is `_seq` alone.
"""

from __future__ import annotations

import heapq
import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.base import Hit, SearchRequest, SearchResult, SortKey, View
from headrace.index.query.dates import as_date_span
from headrace.model import Json
from headrace.serve import merge, misfits
from headrace.serve.buckets import read
from headrace.serve.collapse import collapsed
from headrace.serve.misfits import Told
from headrace.serve.names import Named
from headrace.serve.order import ascending, descending

BY_ORDER: Final = ("_doc", "_shard_doc", "_seq")
FIRST: Final = -(2**63)
LAST: Final = 2**63 - 1
_CLASSES: Final = {
    FieldType.INTEGER: "a number",
    FieldType.UNSIGNED: "a number",
    FieldType.FLOAT: "a number",
    FieldType.DATE: "a date",
    FieldType.BOOLEAN: "true or false",
    FieldType.IP: "an address",
    FieldType.KEYWORD: "a text",
    FieldType.TEXT: "a text",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One index of a search at one commit; `filter` is its alias's query."""

    name: str
    view: View
    filter: object = None


@dataclass(frozen=True, slots=True)
class Found:
    """A hit and the index it is in."""

    index: str
    hit: Hit


@dataclass(frozen=True, slots=True)
class Answered:
    """A search's result over all its indexes."""

    total: int
    hits: Sequence[Found]
    max_score: float | None
    aggregations: Any
    indexes: int
    left_out: Told = ()


def parts_of(named: Sequence[Named]) -> list[Part]:
    """Each index at its newest commit."""
    return [Part(each.name, each.reader.view(), each.filter) for each in named]


def search(parts: Sequence[Part], request: SearchRequest) -> Answered:
    """Hits, total and aggregations of all of them. Raises RequestError."""
    if request.collapse is not None:
        return cast("Answered", collapsed(parts, request, search))
    if len(parts) == 1:
        return _one(parts[0], request)
    keys, down = _split(request.sort)
    _check_kinds(parts, keys)
    asked = request if request.now is not None else replace(request, now=time.time_ns() // 1000)
    if request.aggregations:
        asked = replace(asked, aggregations=merge.planned(request.aggregations))
    if request.start:
        asked = replace(asked, start=0, size=request.start + request.size)
    ordered = sorted(parts, key=lambda part: part.name, reverse=down)
    found_in = [_results(part, _for(part, asked, len(keys), down)) for part in ordered]
    results = [result for result, _ in found_in]
    hits = _window(ordered, results, request, keys)
    best = [result.max_score for result in results if result.max_score is not None]
    found = None
    if request.aggregations and parts:
        answers = [
            (part.name, result.aggregations or {}) for part, result in zip(ordered, results, strict=True)
        ]
        found = merge.merged(request.aggregations, answers)
    total = sum(result.total for result in results)
    left_out = tuple(text for _, told in found_in for text in told)
    return Answered(total, hits, max(best) if best else None, found, len(parts), left_out)


def _results(part: Part, request: SearchRequest) -> tuple[SearchResult, Told]:
    """One of several indexes, its misfits taken in."""
    apart, told = misfits.aggregated(part.name, part.view, request)
    if apart is None:
        return part.view.search(request), ()
    return replace(part.view.search(replace(request, aggregations=None)), aggregations=apart), told


def count(parts: Sequence[Part], query: Any) -> int:
    return sum(part.view.count(narrowed(query, part.filter)) for part in parts)


def narrowed(query: Any, condition: Any) -> Any:
    """The query bound by an alias's filter, scored as without it."""
    if condition is None:
        return query
    return {"bool": {"must": [query or {"match_all": {}}], "filter": [condition]}}


def _one(part: Part, request: SearchRequest) -> Answered:
    keys, down = _split(request.sort)
    asked = _for(part, request, len(keys), down)
    apart, told = misfits.aggregated(part.name, part.view, asked)
    found = part.view.search(asked if apart is None else replace(asked, aggregations=None))
    hits = [Found(part.name, hit) for hit in found.hits]
    aggregations = found.aggregations if apart is None else apart
    if aggregations is not None:
        aggregations = _with_index(part.name, request.aggregations or {}, aggregations)
    return Answered(found.total, hits, found.max_score, aggregations, 1, told)


def _with_index(name: str, request: Any, answer: Any) -> Any:
    for label, body in request.items():
        kind, _, inner = read(label, body)
        found = answer.get(label)
        if not isinstance(found, dict):
            continue
        if kind == "top_hits":
            found["hits"]["hits"] = [{"_index": name, **hit} for hit in found["hits"]["hits"]]
        if inner:
            held = found.get("buckets", [found])
            for bucket in held.values() if isinstance(held, dict) else held:
                _with_index(name, inner, bucket)
    return answer


def _split(sort: Sequence[SortKey]) -> tuple[list[SortKey], bool]:
    """The keys before the tie-break, and whether that goes down."""
    for place, key in enumerate(sort):
        if key.field in BY_ORDER:
            return list(sort[:place]), key.descending
    return list(sort), False


def _for(part: Part, request: SearchRequest, keys: int, down: bool) -> SearchRequest:
    """The request as this index is asked."""
    found = replace(request, query=narrowed(request.query, part.filter))
    after = request.search_after
    if after is None or len(after) != keys + 1:
        return found
    if isinstance(after[-1], str):
        return replace(found, search_after=[*after[:-1], _tie(part.name, after[-1], down)])
    return found


def _tie(name: str, tie: str, down: bool) -> int:
    """Where to go on among ties in this index, after the tie-break `index:_seq`."""
    index, colon, seq = tie.rpartition(":")
    if not colon or not seq.lstrip("-").isdigit():
        reason = f"the last value of [search_after] is a hit's own, `index:number`, found [{tie}]"
        raise RequestError(400, "illegal_argument_exception", reason)
    if name == index:
        return int(seq)
    passed = name > index if down else name < index
    return LAST if passed != down else FIRST


def _window(
    parts: Sequence[Part], results: Sequence[SearchResult], request: SearchRequest, keys: Sequence[SortKey]
) -> list[Found]:
    _check_cursor(request, keys)
    rank = _ranks(parts, request, keys)
    streams = [
        _ranked(place, part, result, rank)
        for place, (part, result) in enumerate(zip(parts, results, strict=True))
    ]
    found: list[Found] = []
    for place, entry in enumerate(heapq.merge(*streams, key=lambda entry: entry[0])):
        if place >= request.start + request.size:
            break
        if place >= request.start:
            found.append(entry[1])
    return [_tied(each) for each in found] if request.sort else found


def _check_cursor(request: SearchRequest, keys: Sequence[SortKey]) -> None:
    after = request.search_after
    if after is not None and len(after) == len(keys) + 1 and not isinstance(after[-1], str):
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"[search_after] ends with [{after[-1]}], a place in one index, but the search is over several;"
            " begin again, or use a point in time, whose indexes stay the same",
        )


def _ranked(
    place: int, part: Part, result: SearchResult, rank: Callable[[Hit], Any]
) -> Iterator[tuple[Any, Found]]:
    for number, hit in enumerate(result.hits):
        yield (rank(hit), place, number), Found(part.name, hit)


def _tied(found: Found) -> Found:
    """With the tie-break of several indexes as the last sort value."""
    keys: tuple[Json, ...] = (*found.hit.sort[:-1], f"{found.index}:{found.hit.sort[-1]}")
    return Found(found.index, replace(found.hit, sort=keys))


def _ranks(
    parts: Sequence[Part], request: SearchRequest, keys: Sequence[SortKey]
) -> Callable[[Hit], tuple[Any, ...]]:
    if not request.sort:
        return lambda hit: (-(hit.score or 0.0),)
    readings = [_reading(parts, key) for key in keys]

    def rank(hit: Hit) -> tuple[Any, ...]:
        found = []
        for key, reading, value in zip(keys, readings, hit.sort, strict=False):
            turn = descending if key.descending else ascending
            found.append(turn(None if value is None else reading(value), missing_last=key.missing_last))
        return tuple(found)

    return rank


def _reading(parts: Sequence[Part], key: SortKey) -> Callable[[Any], Any]:
    """How values of a key compare: a date may be a number here and a text there."""
    kinds = _kinds(parts, key)
    if FieldType.DATE in kinds:
        return _as_micros
    if FieldType.IP in kinds:
        return _as_address
    return lambda value: value


def _as_micros(value: Any) -> Any:
    try:
        return as_date_span("", value)[0]
    except RequestError:
        return value


def _as_address(value: Any) -> Any:
    try:
        address = ipaddress.ip_address(str(value))
    except ValueError:
        return value
    if isinstance(address, ipaddress.IPv4Address):
        return int(ipaddress.IPv6Address(f"::ffff:{address}"))
    return int(address)


def _kinds(parts: Sequence[Part], key: SortKey) -> dict[FieldType, str]:
    """The types a field is declared with, each with an index that does."""
    found: dict[FieldType, str] = {}
    for part in parts:
        declared = part.view.fields.get(key.field) or part.view.fields.get(key.field.removesuffix(".keyword"))
        if declared is not None:
            found.setdefault(declared.kind, part.name)
    return found


def _check_kinds(parts: Sequence[Part], keys: Sequence[SortKey]) -> None:
    """Values that do not compare have no order. Raises RequestError."""
    for key in keys:
        classes = {_CLASSES[kind]: index for kind, index in _kinds(parts, key).items() if kind in _CLASSES}
        if len(classes) > 1:
            told = ", ".join(f"{what} in [{index}]" for what, index in classes.items())
            reason = (
                f"cannot sort by [{key.field}] over several indexes, it is {told}; search them one by one"
            )
            raise RequestError(400, "illegal_argument_exception", reason)
