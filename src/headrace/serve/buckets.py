"""Buckets of several indexes put together: terms with an error bound, histograms without gaps, top hits."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from headrace.core.errors import RequestError
from headrace.index.query import dates, formats
from headrace.index.query.bounds import PER_BUCKET, hold
from headrace.index.query.zones import time_zone
from headrace.serve.order import ascending, descending

Answer = dict[str, Any]
Answers = Sequence[tuple[str, Mapping[str, Any]]]
"""(index, its answer) of each index."""

MOST_TERMS: Final = 65_535
"""Terms fetched from each index where the order cannot be known before merging."""

MOST_BUCKETS: Final = 65_535
UNITS: Final = {
    "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "M", "quarter": "q", "year": "y",
}  # fmt: skip
MILLIS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Kind:
    """One aggregation of the request; `merge` puts together its sub-aggregations."""

    name: str
    kind: str
    options: Mapping[str, Any]
    inner: Mapping[str, Any]
    merge: Callable[[Mapping[str, Any], Answers], Answer]

    def join(self, answers: Answers) -> Answer:
        """A bucket of the same key in several indexes."""
        hold(PER_BUCKET)
        found = {"doc_count": sum(bucket["doc_count"] for _, bucket in answers)}
        return found | (self.merge(self.inner, answers) if self.inner else {})


def read(name: str, body: Any) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Kind, options and sub-aggregations. Raises RequestError."""
    kinds = (
        [key for key in body if key not in ("aggs", "aggregations", "meta")] if isinstance(body, dict) else []
    )
    if len(kinds) != 1 or not isinstance(body[kinds[0]], dict):
        reason = f"aggregation [{name}] must be an object of exactly one type, found [{', '.join(kinds)}]"
        raise RequestError(400, "parsing_exception", reason)
    return kinds[0], body[kinds[0]], body.get("aggs", body.get("aggregations", {})) or {}


def ask_unkeyed(_: str, options: Answer) -> Answer:
    return {**options, "keyed": False} if "keyed" in options else options


def ask_histogram(name: str, options: Answer) -> Answer:
    """Buckets of any count: whether one has enough is known only after merging."""
    found = ask_unkeyed(name, options)
    if _whole(options.get("min_doc_count", 0), "min_doc_count") > 1:
        found["min_doc_count"] = 1
    found.pop("order", None)
    return found


def ask_top(_: str, options: Answer) -> Answer:
    start, size = _whole(options.get("from", 0), "from"), _whole(options.get("size", 3), "size")
    return {**options, "from": 0, "size": start + size}


def ask_terms(_: str, options: Answer) -> Answer:
    """More than wanted; all, where counts of several indexes decide in another way than by being large."""
    size = _whole(options.get("size", 10), "size")
    order = _orders(options)
    least = _whole(options.get("min_doc_count", 1), "min_doc_count")
    asked = {name: value for name, value in options.items() if name not in ("order", "shard_size")}
    asked.pop("show_term_doc_count_error", None)
    if order[0][0] == "_key" and least <= 1:
        return {**asked, "order": {"_key": order[0][1]}, "size": size}
    asked["min_doc_count"] = min(least, 1)
    if order[0] != ("_count", "desc"):
        return {**asked, "size": MOST_TERMS}
    return {**asked, "size": _whole(options.get("shard_size") or 0, "shard_size") or 2 * size + 100}


def terms(kind: Kind, answers: Answers) -> Answer:
    orders = _orders(kind.options)
    size = _whole(kind.options.get("size", 10), "size")
    cut = [_cut(answer) for _, answer in answers]
    if any(cut) and orders[0] != ("_count", "desc") and orders[0][0] != "_key":
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"aggregation [{kind.name}]: an index has more than {MOST_TERMS} terms, too many to order those"
            f" of several indexes by [{orders[0][0]}]; order by _count descending or by _key, or search one",
        )
    by_count = orders[0] == ("_count", "desc")
    errors = [bound if by_count else 0 for bound in cut]
    by_key: dict[Any, dict[int, tuple[str, Any]]] = {}
    for place, (index, answer) in enumerate(answers):
        for bucket in answer["buckets"]:
            by_key.setdefault(_identity(bucket), {})[place] = (index, bucket)
    least = _whole(kind.options.get("min_doc_count", 1), "min_doc_count")
    found = []
    for parts in by_key.values():
        bucket = _keys(next(iter(parts.values()))[1]) | kind.join(list(parts.values()))
        if kind.options.get("show_term_doc_count_error") is True:
            missing = (bound for place, bound in enumerate(errors) if place not in parts)
            bucket["doc_count_error_upper_bound"] = sum(missing)
        found.append(bucket)
    enough = [bucket for bucket in found if bucket["doc_count"] >= least]
    enough.sort(key=lambda bucket: _rank(kind, orders, bucket))
    others = sum(answer.get("sum_other_doc_count", 0) for _, answer in answers)
    return {
        "doc_count_error_upper_bound": sum(errors),
        "sum_other_doc_count": others + sum(bucket["doc_count"] for bucket in enough[size:]),
        "buckets": enough[:size],
    }


def _cut(answer: Mapping[str, Any]) -> int:
    """The most documents a term can have that an index left out: as many as its last one; 0 if none was."""
    if not answer.get("sum_other_doc_count") or not answer["buckets"]:
        return 0
    return int(answer["buckets"][-1]["doc_count"])


def _orders(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = options.get("order", {"_count": "desc"})
    found = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or not all(isinstance(turn, str) for turn in entry.values()):
            raise RequestError(400, "parsing_exception", "[order] is an object of a name and asc or desc")
        found += [("_key" if name == "_term" else name, turn.lower()) for name, turn in entry.items()]
    return [*(found or [("_count", "desc")]), ("_key", "asc")]


def _rank(kind: Kind, orders: Sequence[tuple[str, str]], bucket: Answer) -> Any:
    return tuple(
        (descending if turn == "desc" else ascending)(_ordered_by(kind, name, bucket))
        for name, turn in orders
    )


def _ordered_by(kind: Kind, path: str, bucket: Any) -> Any:
    if path == "_key":
        return bucket["key"]
    if path == "_count":
        return bucket["doc_count"]
    value: Any = bucket
    for step in path.split(">"):
        name, _, part = step.partition(".")
        value = value.get(name, {}) if isinstance(value, dict) else {}
    if not isinstance(value, dict) or not value:
        reason = f"aggregation [{kind.name}]: [order] names no aggregation beside it: [{path}]"
        raise RequestError(400, "illegal_argument_exception", reason)
    return value.get("doc_count") if part == "_count" else value.get(part or "value")


def histogram(kind: Kind, answers: Answers) -> Answer:
    by_key: dict[Any, list[tuple[str, Any]]] = {}
    for index, answer in answers:
        for bucket in answer["buckets"]:
            by_key.setdefault(bucket["key"], []).append((index, bucket))
    least = _whole(kind.options.get("min_doc_count", 0), "min_doc_count")
    keys = sorted(by_key)
    if not least:
        keys = list(_without_gaps(kind, keys))
    template: Mapping[str, Any] = next((part for parts in by_key.values() for _, part in parts), {})
    found = [
        _keys(by_key[key][0][1]) | kind.join(by_key[key]) if key in by_key else _empty(kind, key, template)
        for key in keys
    ]
    found = [bucket for bucket in found if bucket["doc_count"] >= least]
    if "order" in kind.options:
        orders = _orders(kind.options)
        found.sort(key=lambda bucket: _rank(kind, orders, bucket))
    if kind.options.get("keyed"):
        return {"buckets": {str(bucket.get("key_as_string", bucket["key"])): bucket for bucket in found}}
    return {"buckets": found}


def _without_gaps(kind: Kind, keys: Sequence[Any]) -> Iterable[Any]:
    """The keys, and those that no index has because they lie between the indexes' own."""
    following = _date_step(kind.options) if kind.kind == "date_histogram" else _step(kind.options)
    count = 0
    for place, key in enumerate(keys):
        yield key
        if place + 1 == len(keys):
            return
        until, between = keys[place + 1], following(key)
        while between < until and not math.isclose(between, until, rel_tol=1e-12):
            if (count := count + 1) > MOST_BUCKETS:
                reason = (
                    f"aggregation [{kind.name}] has more than {MOST_BUCKETS} buckets; use a larger interval"
                )
                raise RequestError(400, "too_many_buckets_exception", reason)
            yield between
            between = following(between)


def _step(options: Mapping[str, Any]) -> Callable[[Any], Any]:
    interval, offset = float(options["interval"]), float(options.get("offset", 0))
    return lambda key: (round((key - offset) / interval) + 1) * interval + offset


def _date_step(options: Mapping[str, Any]) -> Callable[[Any], Any]:
    given = options.get("calendar_interval") or options.get("fixed_interval") or options.get("interval")
    text = str(given)
    zone = time_zone(options["time_zone"]) if options.get("time_zone") else UTC
    unit = UNITS.get(text) or (text[1:] if text in ("1m", "1h", "1d", "1w", "1M", "1q", "1y") else "")
    if unit and (options.get("calendar_interval") or not _millis(text)):
        count, unit = (3, "M") if unit == "q" else (1, unit)
        return lambda key: dates.plus(int(key) * 1000, count, unit, zone) // 1000
    millis = _millis(text)
    return lambda key: int(key) + millis


def _millis(text: str) -> int:
    """A fixed interval; 0 for what is none."""
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * MILLIS[unit] if unit in MILLIS and text != unit else 0


def _empty(kind: Kind, key: Any, template: Mapping[str, Any]) -> Answer:
    found = {"key": key, **kind.join([("", _zero(template))])} if template else {"key": key, "doc_count": 0}
    if kind.kind == "date_histogram":
        zone = time_zone(kind.options["time_zone"]) if kind.options.get("time_zone") else UTC
        text = formats.shown(int(key) * 1000, kind.options.get("format"), zone)
        found = {"key_as_string": text, **found}
    return found


def _zero(bucket: Mapping[str, Any]) -> Answer:
    """A bucket's shape with nothing in it."""
    found: Answer = {}
    for name, value in bucket.items():
        if name in ("doc_count", "count", "sum_other_doc_count", "doc_count_error_upper_bound"):
            found[name] = 0
        elif name == "hits":
            found[name] = {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []}
        elif name == "buckets":
            found[name] = _zero_buckets(value)
        elif name == "top":
            found[name] = []
        elif isinstance(value, dict):
            found[name] = _zero(value)
        elif name in ("value", "min", "max", "avg", "sum", "sum_of_squares"):
            found[name] = None
    return found


def _zero_buckets(buckets: Any) -> Any:
    """Ranges and filters are there even without documents; terms and histograms are not."""
    if isinstance(buckets, dict):
        return {name: _zero(bucket) for name, bucket in buckets.items()}
    if any(not ({"from", "to"} & set(bucket)) and "key" in bucket for bucket in buckets):
        return []
    return [_keys(bucket) | _zero(bucket) for bucket in buckets]


def ranges(kind: Kind, answers: Answers) -> Answer:
    """By place: every index has the same ranges."""
    found = _by_place(kind, answers)
    if kind.options.get("keyed"):
        return {"buckets": {bucket.pop("key"): bucket for bucket in found}}
    return {"buckets": found}


def _by_place(kind: Kind, answers: Answers) -> list[Answer]:
    lists = [[(index, bucket) for bucket in answer["buckets"]] for index, answer in answers]
    return [_keys(parts[0][1]) | kind.join(parts) for parts in zip(*lists, strict=True)]


def filters(kind: Kind, answers: Answers) -> Answer:
    first: Any = answers[0][1]["buckets"] if answers else []
    if isinstance(first, list):
        return {"buckets": _by_place(kind, answers)}
    return {
        "buckets": {
            name: kind.join([(index, answer["buckets"][name]) for index, answer in answers]) for name in first
        }
    }


def single(kind: Kind, answers: Answers) -> Answer:
    return kind.join(answers)


def top_hits(kind: Kind, answers: Answers) -> Answer:
    """The hits of all in the order asked for, by score where none was."""
    start, size = kind.options.get("from", 0), kind.options.get("size", 3)
    rows = [(index, hit) for index, answer in answers for hit in answer["hits"]["hits"]]
    if kind.options.get("sort"):
        rows = _sorted(kind, rows)
    else:
        rows.sort(key=lambda row: (-(row[1].get("_score") or 0.0), row[0]))
    total = sum(answer["hits"]["total"]["value"] for _, answer in answers)
    exact = all(answer["hits"]["total"]["relation"] == "eq" for _, answer in answers)
    scores = [answer["hits"]["max_score"] for _, answer in answers if answer["hits"].get("max_score")]
    return {
        "hits": {
            "total": {"value": total, "relation": "eq" if exact else "gte"},
            "max_score": max(scores) if scores else None,
            "hits": [{"_index": index, **hit} for index, hit in rows[start : start + size]],
        }
    }


def top_metrics(kind: Kind, answers: Answers) -> Answer:
    rows = [(index, row) for index, answer in answers for row in answer.get("top", [])]
    return {"top": [row for _, row in _sorted(kind, rows)[: kind.options.get("size", 1)]]}


Row = tuple[str, Mapping[str, Any]]


def _sorted(kind: Kind, rows: Sequence[Row]) -> list[Row]:
    """By the values that each has in `sort`; ties by index, each index's own in its order."""
    keys = _sort_keys(kind.options.get("sort"))
    columns = [_comparable([row["sort"][place] for _, row in rows]) for place in range(len(keys))]

    def rank(place: int) -> Any:
        found = [
            (descending if down else ascending)(column[place], missing_last=last)
            for (down, last), column in zip(keys, columns, strict=True)
        ]
        return found, rows[place][0], place

    return [rows[place] for place in sorted(range(len(rows)), key=rank)]


def _comparable(values: Sequence[Any]) -> Sequence[Any]:
    """A date may be a number in one index and a text in another; addresses do not go by their text."""
    texts = [value for value in values if isinstance(value, str)]
    if texts and any(isinstance(value, int | float) for value in values):
        return [_date(value) for value in values]
    try:
        addresses = {text: ipaddress.ip_address(text) for text in texts}
    except ValueError:
        return values
    numbers = {
        text: int(address) if address.version == 6 else int(ipaddress.IPv6Address(f"::ffff:{address}"))
        for text, address in addresses.items()
    }
    return [numbers.get(value, value) if isinstance(value, str) else value for value in values]


def _date(value: Any) -> Any:
    try:
        return dates.as_date_span("", value)[0] / 1000 if isinstance(value, str) else value
    except RequestError:
        return value


def _sort_keys(given: Any) -> list[tuple[bool, bool]]:
    """Of each key: whether it goes down, and whether missing values are last."""
    found = []
    for entry in given if isinstance(given, list) else [given]:
        for name, order in entry.items() if isinstance(entry, dict) else [(entry, None)]:
            options = order if isinstance(order, dict) else {"order": order}
            down = options.get("order") or ("desc" if name == "_score" else "asc")
            found.append((down == "desc", options.get("missing") != "_first"))
    return found


def _keys(bucket: Mapping[str, Any]) -> Answer:
    """What names a bucket."""
    names = ("key", "key_as_string", "from", "from_as_string", "to", "to_as_string")
    return {name: bucket[name] for name in names if name in bucket}


def _identity(bucket: Mapping[str, Any]) -> Any:
    """`true` has the key 1, and is told from the number by its `key_as_string`."""
    key = bucket["key"]
    boolean = isinstance(key, bool) or bucket.get("key_as_string") in ("true", "false")
    return (boolean, tuple(key) if isinstance(key, list) else key)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RequestError(400, "parsing_exception", f"[{name}] is a whole number from 0 on, found [{value}]")
    return value
