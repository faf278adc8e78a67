"""Aggregations: checked, their fields mapped onto the engine's, and the answers mapped back.

The engine speaks Elasticsearch's JSON already; what differs is done here: dates are nanoseconds in some
answers, `filter` and `filters` take queries (each is a request of its own), weeks and months are no fixed
intervals, and an unknown part of a request must be an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.fields import FieldType
from headrace.index.query import parse_query, values
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.snapshot import Snapshot
from headrace.index.tantivy.targets import Target, resolve

METRICS: Final = ("avg", "min", "max", "sum", "stats", "extended_stats", "value_count", "cardinality")
OPTIONS: Final = {
    **dict.fromkeys(METRICS, "field missing precision_threshold sigma"),
    "percentiles": "field percents keyed missing",
    "terms": "field size shard_size order include exclude missing min_doc_count show_term_doc_count_error",
    "range": "field ranges keyed",
    "histogram": "field interval offset min_doc_count hard_bounds extended_bounds keyed",
    "date_histogram": "field fixed_interval calendar_interval interval offset min_doc_count hard_bounds"
    " extended_bounds keyed format time_zone order",
    "composite": "sources size after",
    "top_hits": "size from sort",
    "filter": "",
    "filters": "",
}
CALENDAR: Final = {
    **dict.fromkeys(("minute", "1m"), "1m"),
    **dict.fromkeys(("hour", "1h"), "1h"),
    **dict.fromkeys(("day", "1d"), "1d"),
    **dict.fromkeys(("week", "1w"), "7d"),
}
DEEPEST: Final = 10

Json = dict[str, Any]
FetchHits = Callable[[list[int]], list[Json]]
"""`_seq`s → hits as the search answers them, in the same order."""


def aggregate(snapshot: Snapshot, query: Query, request: Mapping[str, Any], hits: FetchHits) -> Json:
    """The answer to `aggs`. Raises RequestError for anything unknown in it."""
    plain: Json = {}
    found: Json = {}
    for name, body in request.items():
        kind, options, inner = _read(name, body)
        if kind in ("filter", "filters"):
            found[name] = _filtered(snapshot, query, kind, options, inner, hits)
        else:
            plain[name] = _to_engine(snapshot, name, body, 0)
    if plain:
        answers = snapshot.aggregate(query, plain)
        for name in plain:
            found[name] = _from_engine(snapshot, request[name], answers[name], hits)
    return {name: found[name] for name in request}


def bad(reason: str) -> RequestError:
    return RequestError(400, "parsing_exception", reason)


def _read(name: str, body: Any) -> tuple[str, Any, Mapping[str, Any]]:
    """Kind, options and sub-aggregations."""
    if not isinstance(body, Mapping):
        raise bad(f"aggregation [{name}] must be an object")
    kinds = [key for key in body if key not in ("aggs", "aggregations", "meta")]
    if len(kinds) != 1:
        raise bad(f"aggregation [{name}] must have exactly one type, found [{', '.join(kinds)}]")
    kind, options = kinds[0], body[kinds[0]]
    if kind not in OPTIONS:
        raise bad(f"unknown aggregation type [{kind}] of [{name}]; {suggest(kind, list(OPTIONS))}")
    if not isinstance(options, Mapping):
        raise bad(f"aggregation [{name}] of type [{kind}] must be an object")
    if OPTIONS[kind]:
        for option in options:
            if option not in OPTIONS[kind].split():
                known = OPTIONS[kind].split()
                raise bad(f"[{kind}] aggregation [{name}] has no option [{option}]; {suggest(option, known)}")
    return kind, options, body.get("aggs", body.get("aggregations", {})) or {}


def _filtered(
    snapshot: Snapshot, query: Query, kind: str, options: Any, inner: Mapping[str, Any], hits: FetchHits
) -> Json:
    """One request for each filter."""

    def answer(given: Any) -> Json:
        condition = Query.const_score_query(compile_query(snapshot, parse_query(given)), 0.0)
        both = Query.boolean_query([(Occur.Must, query), (Occur.Must, condition)])
        return {"doc_count": snapshot.count(both), **aggregate(snapshot, both, inner, hits)}

    if kind == "filter":
        return answer(options)
    given = options.get("filters")
    if set(options) != {"filters"} or not isinstance(given, dict | list):
        raise bad(
            "aggregation type [filters] takes [filters], an object or a list of queries, and nothing else"
        )
    if isinstance(given, dict):
        return {"buckets": {name: answer(condition) for name, condition in given.items()}}
    return {"buckets": [answer(condition) for condition in given]}


def is_date(snapshot: Snapshot, target: Target) -> bool:
    """Whether a field's numbers are dates: declared, or all sampled dynamic texts of it are."""
    if target.column is not None:
        return target.kind is FieldType.DATE
    sample = snapshot.dynamic_values.get(target.path, [])
    return bool(sample) and all(isinstance(v, str) and engine.dynamic_date(v) is not None for v in sample)


def _target(snapshot: Snapshot, name: str, options: Mapping[str, Any]) -> Target:
    field = options.get("field")
    if not isinstance(field, str):
        raise bad(f"aggregation [{name}] needs a [field]")
    return resolve(snapshot, field)


def _to_engine(snapshot: Snapshot, name: str, body: Any, depth: int) -> Json:
    kind, options, inner = _read(name, body)
    if depth > DEEPEST:
        raise bad(f"aggregations are nested deeper than {DEEPEST} levels")
    if kind in ("filter", "filters"):
        raise bad(f"aggregation [{name}]: [{kind}] inside a bucket is not supported; put it outermost")
    request: Json = {kind: _options(snapshot, name, kind, options, inner)}
    if inner:
        request["aggs"] = {
            name: _to_engine(snapshot, name, child, depth + 1) for name, child in inner.items()
        }
    return request


def _options(
    snapshot: Snapshot, name: str, kind: str, options: Mapping[str, Any], inner: Mapping[str, Any]
) -> Json:
    if kind == "composite":
        return {
            **options,
            "sources": [_source(snapshot, name, source) for source in options.get("sources", [])],
        }
    if kind == "top_hits":
        return _top_hits(snapshot, options)
    target = _target(snapshot, name, options)
    if kind == "value_count" and target.kind is FieldType.TEXT:
        raise bad(f"aggregation [{name}]: field [{target.name}] of type [text] cannot be counted")
    found = {**options, "field": target.fast}
    for ignored in ("precision_threshold", "format", "time_zone"):
        found.pop(ignored, None)
    if kind == "date_histogram":
        return _date_histogram(snapshot, name, target, options, found, inner)
    if kind == "range" and is_date(snapshot, target):
        found["ranges"] = [_date_range(target, given) for given in options.get("ranges", [])]
    return found


def _source(snapshot: Snapshot, name: str, source: Any) -> Json:
    if not isinstance(source, Mapping) or len(source) != 1:
        raise bad(f"aggregation [{name}]: each of [sources] has exactly one name")
    label, body = next(iter(source.items()))
    kind, options = next(iter(body.items()))
    if kind not in ("terms", "histogram", "date_histogram"):
        raise bad(
            f"aggregation [{name}]: unknown source type [{kind}]; have: terms, histogram, date_histogram"
        )
    found = {**options, "field": _target(snapshot, label, options).fast}
    if "calendar_interval" in found:
        found["fixed_interval"] = _fixed(name, found.pop("calendar_interval"))
    return {label: {kind: found}}


def _top_hits(snapshot: Snapshot, options: Mapping[str, Any]) -> Json:
    sort = options.get("sort") or [{engine.SEQ: "asc"}]
    found = []
    for key in sort if isinstance(sort, list) else [sort]:
        entry = {key: "asc"} if isinstance(key, str) else key
        field, order = next(iter(entry.items()))
        target = resolve(snapshot, field)
        if target.column is None or target.kind in (FieldType.TEXT, FieldType.KEYWORD, FieldType.IP):
            raise bad(f"[top_hits] sorts by declared numbers, dates and booleans only, not by [{field}]")
        found.append({target.fast: order.get("order", "asc") if isinstance(order, Mapping) else order})
    size = {"size": options.get("size", 3), "from": options.get("from", 0)}
    return {**size, "sort": found, "docvalue_fields": [engine.SEQ]}


def _fixed(name: str, interval: str) -> str:
    if interval not in CALENDAR:
        raise bad(
            f"[{name}]: [calendar_interval] supports minute, hour, day and week, not [{interval}]; "
            "use a [fixed_interval]"
        )
    return CALENDAR[interval]


def _date_histogram(
    snapshot: Snapshot,
    name: str,
    target: Target,
    options: Mapping[str, Any],
    found: Json,
    inner: Mapping[str, Any],
) -> Json:
    del snapshot, inner
    if options.get("time_zone", "UTC") not in ("UTC", "Z", "+00:00"):
        raise bad(f"aggregation [{name}] supports [time_zone] only as [UTC]")
    if options.get("order", {"_key": "asc"}) != {"_key": "asc"}:
        raise bad(f"aggregation [{name}] supports [order] only as {{_key: asc}}")
    found.pop("order", None)
    calendar = found.pop("calendar_interval", None)
    interval = found.pop("interval", None)
    if calendar is None and found.get("fixed_interval") is None:
        calendar, found["fixed_interval"] = (interval, None) if interval in CALENDAR else (None, interval)
    if calendar is not None:
        found["fixed_interval"] = _fixed(name, calendar)
        if found["fixed_interval"] == "7d":
            found["offset"] = "4d"  # the epoch was a Thursday, and weeks begin on Monday
    for bounds in ("hard_bounds", "extended_bounds"):
        if bounds in found:
            found[bounds] = {
                side: values.as_date_span(target.name, value)[0] // 1000
                for side, value in found[bounds].items()
            }
    return found


def _date_range(target: Target, given: Mapping[str, Any]) -> Json:
    found = dict(given)
    for side in ("from", "to"):
        if given.get(side) is not None:
            nanos = values.as_date_span(target.name, given[side])[0] * 1000
            if int(float(nanos)) != nanos:
                raise bad(f"date bounds of a [range] aggregation need whole seconds, found [{given[side]}]")
            found[side] = nanos
    return found


def _from_engine(snapshot: Snapshot, body: Any, answer: Json, hits: FetchHits) -> Json:
    """The engine's answer as Elasticsearch would have put it."""
    kind, options, inner = _read("", body)
    if kind == "top_hits":
        return _hits_of(answer, hits)
    dated = kind != "composite" and is_date(snapshot, _target(snapshot, "", options))
    if "buckets" in answer:
        buckets = answer["buckets"]
        for bucket in buckets.values() if isinstance(buckets, dict) else buckets:
            if dated:
                _date_bucket(kind, bucket)
            for name, child in inner.items():
                bucket[name] = _from_engine(snapshot, child, bucket[name], hits)
        return answer
    if kind in ("cardinality", "value_count"):
        return {"value": int(answer["value"] or 0)}
    return _date_metric(kind, answer) if dated else answer


def _date_bucket(kind: str, bucket: Json) -> None:
    if kind == "terms":
        moment = engine.dynamic_date(str(bucket["key"]))
        if moment is not None:
            micros = values.to_micros(moment)
            bucket |= {"key": micros // 1000, "key_as_string": values.iso(micros)}
    elif kind == "range":
        for side in ("from", "to"):
            if side in bucket:
                bucket[side] /= 1_000_000
    else:
        key = int(bucket["key"])
        millis = key // 1_000_000 if abs(key) > 10**15 else key  # of dynamic dates it answers nanoseconds
        bucket |= {"key": millis, "key_as_string": values.iso(millis * 1000)}


def _date_metric(kind: str, answer: Json) -> Json:
    if kind == "percentiles":
        return {"values": {name: _millis(value) for name, value in answer["values"].items()}}
    found = dict(answer)
    for name in ("value", "min", "max", "avg", "sum"):
        if isinstance(found.get(name), int | float):
            found[name] = _millis(found[name])
            if name != "sum":
                found[f"{name}_as_string"] = values.iso(round(found[name] * 1000))
    return found


def _millis(nanos: Any) -> Any:
    return nanos / 1_000_000 if isinstance(nanos, int | float) else nanos


def _hits_of(answer: Json, hits: FetchHits) -> Json:
    seqs = [hit["docvalue_fields"][engine.SEQ][0] for hit in answer["hits"]]
    found = hits(seqs)
    total = {"value": len(found), "relation": "gte"}
    return {"hits": {"total": total, "max_score": None, "hits": found}}
