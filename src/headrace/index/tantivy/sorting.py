"""Sorted pages of any number of keys, with a cursor that never skips or repeats a document.

The engine sorts by one column only. Its `composite` aggregation, though, orders buckets by a tuple of keys of
any type, puts missing values first or last, and goes on after a given tuple; with the unique `_seq` as its
last key each bucket is one document. Two surprises: its keys have dates in whole milliseconds (so a `min` or
`max` beside it gives the exact one), and a document with several values has a bucket for each of them (only
the one that Elasticsearch sorts by is kept: the least ascending, the greatest descending).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tantivy
from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.base import SortKey
from headrace.index.query import tree, values
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.kinds import on_one_line
from headrace.index.tantivy.ranges import micros_query, range_query
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.targets import Target, resolve
from headrace.model import Json

TIE_BREAK: Final = SortKey(engine.SEQ)
BY_ORDER: Final = ("_doc", "_shard_doc", engine.SEQ)
LARGEST_PAGE: Final = 10_000
CUT: Final = (FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT, FieldType.DATE)
_DATE_NANOS: Final = 10**15
"""Beyond it a dynamic value's `min` is a date in nanoseconds, if its key agrees in milliseconds."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """One document's place: its `_seq`, the keys as answered, and as its own buckets have them."""

    seq: int
    keys: tuple[Json, ...]


def complete(keys: Sequence[SortKey]) -> list[SortKey]:
    """The keys with `_seq` as the last one: it is unique, so whatever follows it decides nothing."""
    found: list[SortKey] = []
    for key in keys:
        if key.field in BY_ORDER:
            return [*found, SortKey(engine.SEQ, key.descending)]
        if key.field == "_score":
            raise RequestError(
                400,
                "illegal_argument_exception",
                "[_score] can be sorted by alone and descending only; use from/size, or sort by fields",
            )
        found.append(key)
    return [*found, TIE_BREAK]


def walk(
    snapshot: Snapshot,
    query: Query,
    keys: Sequence[SortKey],
    after: Sequence[Json] | None,
    page: int,
) -> Iterator[Sorted]:
    """Places in order, from after the given keys on; `page` is how many will be wanted, more may come."""
    ordered = complete(keys)
    targets = [resolve(snapshot, key.field) for key in ordered]
    for key, target in zip(ordered, targets, strict=True):
        _check_mapped(snapshot, key, target)
        on_one_line(snapshot, target, "a sort")
    request = _request(ordered, targets, min(max(page, 1), LARGEST_PAGE))
    if after is not None:
        request["composite"]["after"] = _cursor(ordered, targets, after)
    if after is None and (near := _first_page(snapshot, query, ordered[0], targets[0], page)):
        yield from _buckets(snapshot, near, request, ordered, targets)
    yield from _buckets(snapshot, query, request, ordered, targets)


def _check_mapped(snapshot: Snapshot, key: SortKey, target: Target) -> None:
    """Refuse, as Elasticsearch does, a field that no document of the index can have."""
    if target.column is None and not key.unmapped and not snapshot.fields.may_have(target.path):
        raise RequestError(
            400,
            "query_shard_exception",
            f"No mapping found for [{key.field}] in order to sort on; give its [unmapped_type], or one of:"
            f" {', '.join(snapshot.fields.columns) or 'no field is declared'}",
        )


def _buckets(
    snapshot: Snapshot,
    query: Query,
    request: dict[str, Any],
    keys: Sequence[SortKey],
    targets: Sequence[Target],
) -> Iterator[Sorted]:
    """All places from the request's cursor on, which is left at the last of them."""
    while True:
        answer = snapshot.aggregate(query, {"page": request})["page"]
        buckets = answer["buckets"]
        if buckets:
            request["composite"]["after"] = answer["after_key"]
        for bucket in buckets:
            if place := _place(keys, targets, bucket):
                yield place
        if len(buckets) < request["composite"]["size"]:
            return


def _first_page(snapshot: Snapshot, query: Query, key: SortKey, target: Target, page: int) -> Query | None:
    """The query, cut at the first key of the page's last document: the engine finds that one much faster.

    None where there is no such cut: other columns, several values, or a page that reaches missing values.
    """
    declared = snapshot.fields.fields.get(target.path)
    if target.column is None or target.kind not in CUT or not key.missing_last or page < 1:
        return None
    if (
        declared is not None
        and (declared.array or declared.many)
        and not snapshot.single_valued(target.column)
    ):
        return None
    order = tantivy.Order.Desc if key.descending else tantivy.Order.Asc
    hits = guarded(
        lambda: snapshot.searcher.search(
            snapshot.visible(query), page, count=False, order_by_field=target.column, order=order
        )
    ).hits
    if len(hits) < page or (last := hits[-1][0]) is None:
        return None
    bound = last // 1000 if target.kind is FieldType.DATE else last
    if target.kind is FieldType.DATE:
        cut = micros_query(snapshot, target.column, *((bound, None) if key.descending else (None, bound)))
    else:
        sides = {"lower" if key.descending else "upper": bound}
        cut = range_query(snapshot, target, tree.Range(target.name, **sides))
    return Query.boolean_query([(Occur.Must, query), (Occur.Must, cut)])


def _request(keys: Sequence[SortKey], targets: Sequence[Target], size: int) -> dict[str, Any]:
    sources: list[dict[str, Any]] = []
    beside: dict[str, Any] = {}
    for place, (key, target) in enumerate(zip(keys, targets, strict=True)):
        terms: dict[str, Any] = {"field": target.fast, "order": "desc" if key.descending else "asc"}
        if key.field != engine.SEQ:
            terms |= {"missing_bucket": True, "missing_order": "last" if key.missing_last else "first"}
            if target.column is None or target.kind is FieldType.DATE:
                beside[f"v{place}"] = {"max" if key.descending else "min": {"field": target.fast}}
        sources.append({f"k{place}": {"terms": terms}})
    request: dict[str, Any] = {"composite": {"size": size, "sources": sources}}
    return request | ({"aggs": beside} if beside else {})


def _place(keys: Sequence[SortKey], targets: Sequence[Target], bucket: dict[str, Any]) -> Sorted | None:
    """What a bucket says; None for one of a document's other values."""
    found: list[Json] = []
    for place, target in enumerate(targets):
        value = bucket["key"][f"k{place}"]
        exact = bucket.get(f"v{place}", {}).get("value")
        if value is None or exact is None or isinstance(value, str | bool):
            found.append(value)
        elif target.kind is FieldType.DATE or (abs(exact) > _DATE_NANOS and abs(value) < abs(exact) / 1000):
            micros = round(exact / 1000)
            if micros // 1000 != value and round(micros / 1000) != value:
                return None
            found.append(date_key(micros) if target.column else values.iso(micros))
        elif float(value) != exact:
            return None
        else:
            found.append(value)
    return Sorted(bucket["key"][f"k{len(keys) - 1}"], tuple(found))


def date_key(micros: int) -> Json:
    """Milliseconds as Elasticsearch answers them, with a fraction where there are microseconds."""
    if micros % 1000 == 0:
        return micros // 1000
    found = micros / 1000
    return found if round(found * 1000) == micros else values.iso(micros)


def _cursor(keys: Sequence[SortKey], targets: Sequence[Target], after: Sequence[Json]) -> dict[str, str]:
    """The engine's own spelling of a key tuple; one without the tie-break goes on after all its ties."""
    given = list(after)
    if len(given) == len(keys) - 1:
        given.append(2**63 - 1 if not keys[-1].descending else -(2**63))
    if len(given) != len(keys):
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"[search_after] has {len(after)} value(s), but the sort has {len(keys) - 1}"
            " (and `_seq` as its last, which each hit's [sort] contains)",
        )
    return {
        f"k{place}": spelled(target, value)
        for place, (target, value) in enumerate(zip(targets, given, strict=True))
    }


def spelled(target: Target, value: Json) -> str:
    if value is None:
        return "null:"
    if isinstance(value, dict | list):
        raise RequestError(
            400, "illegal_argument_exception", f"[search_after] on [{target.name}] takes one value"
        )
    if target.column is None:
        return _spelled_dynamic(value)
    match target.kind:
        case FieldType.INTEGER | FieldType.UNSIGNED:
            prefix = "i64" if target.kind is FieldType.INTEGER else "u64"
            return f"{prefix}:{values.as_integer(target.name, target.kind, value)}"
        case FieldType.FLOAT:
            return f"f64:{float(values.as_number(target.name, target.kind, value))!r}"
        case FieldType.BOOLEAN:
            return f"bool:{json.dumps(values.as_boolean(target.name, value))}"
        case FieldType.DATE:
            return f"dt:{values.as_date_span(target.name, value)[0] * 1000}"
        case FieldType.IP:
            return f"ip:{value}"
        case _:
            return f"str:{value}"


def _spelled_dynamic(value: Any) -> str:
    if isinstance(value, bool):
        return f"bool:{json.dumps(value)}"
    if isinstance(value, str):
        moment = engine.dynamic_date(value)
        return f"str:{value}" if moment is None else f"dt:{values.to_micros(moment) * 1000}"
    return f"i64:{value}" if isinstance(value, int) else f"f64:{value!r}"
