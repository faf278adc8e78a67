"""Pipelines: aggregations of finished buckets, not of documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.index.tantivy.aggregations.rates import rate
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.scripts import expression, window_function

_MISSING: Final = object()


def over(specs: Sequence[Spec], buckets: list[Json], options: Mapping[str, Any]) -> list[Json]:
    """The buckets with each pipeline's value in them, sorted and cut by `bucket_sort` at the end.

    `options` are those of the aggregation that has the buckets."""
    for spec in in_turn([spec for spec in specs if spec.kind != "bucket_sort"]):
        if spec.kind == "rate":
            for bucket in buckets:
                bucket[spec.name] = _meta(spec, {"value": rate(spec, bucket, options)})
        else:
            _FILLS[spec.kind](Series(spec, buckets, frozenset(each.name for each in specs)))
    for spec in specs:
        if spec.kind == "bucket_sort":
            buckets = _sorted(spec, buckets)
    return buckets


def in_turn(specs: Sequence[Spec]) -> list[Spec]:
    """Each after those whose values it reads. Raises RequestError where they read each other's."""
    left, found = list(specs), []
    while left:
        names = {spec.name for spec in left}
        ready = [spec for spec in left if not names & {_head(path) for path in paths_of(spec).values()}]
        if not ready:
            bad(f"aggregations [{', '.join(sorted(names))}] read each other's values")
        found += ready
        left = [spec for spec in left if spec not in ready]
    return found


def _head(path: str) -> str:
    return path.partition(">")[0].partition(".")[0].partition("[")[0]


def paths_of(spec: Spec) -> dict[str, str]:
    """Where a pipeline's values are, by the names that its script has for them; none of a rate."""
    if spec.kind == "rate":
        return {}
    if spec.kind != "bucket_script":
        return {"": _path(spec)}
    given = spec.options.get("buckets_path")
    if isinstance(given, str):
        given = {"_value": given}
    if not isinstance(given, Mapping) or not all(isinstance(path, str) for path in given.values()):
        bad(
            f"[bucket_script] aggregation [{spec.name}] needs a [buckets_path] with a path for each parameter"
        )
    _check_format(spec)
    return {str(name): path for name, path in given.items()}


def beside(specs: Sequence[Spec], answers: Json) -> None:
    """Adds what sibling pipelines (`avg_bucket`) say of the buckets beside them."""
    for spec in specs:
        first, _, rest = _path(spec).partition(">")
        if first not in answers or not isinstance(answers[first], Mapping) or "buckets" not in answers[first]:
            bad(f"[{spec.kind}] aggregation [{spec.name}]: no buckets at [{first}] beside it")
        buckets = answers[first]["buckets"]
        pairs = buckets.items() if isinstance(buckets, Mapping) else [(_key(b), b) for b in buckets]
        values = [(key, _value(spec, bucket, rest or "_count")) for key, bucket in pairs]
        answers[spec.name] = _meta(spec, _summary(spec.kind, [(k, v) for k, v in values if v is not None]))


def _meta(spec: Spec, found: Json) -> Json:
    return found if spec.meta is None else {"meta": spec.meta, **found}


def _key(bucket: Json) -> str:
    return str(bucket.get("key_as_string", bucket["key"]))


def _path(spec: Spec) -> str:
    given = spec.options.get("buckets_path")
    if not isinstance(given, str):
        bad(f"[{spec.kind}] aggregation [{spec.name}] needs a [buckets_path]")
    _check_format(spec)
    return given


def _check_format(spec: Spec) -> None:
    if spec.options.get("format") is not None:
        bad(f"[{spec.kind}] aggregation [{spec.name}] does not support [format]; leave it out")


def _summary(kind: str, values: list[tuple[str, float]]) -> Json:
    numbers = [value for _, value in values]
    total = float(sum(numbers))
    if kind == "sum_bucket":
        return {"value": total}
    if kind == "avg_bucket":
        return {"value": total / len(numbers) if numbers else None}
    if kind == "stats_bucket":
        least, most = (min(numbers), max(numbers)) if numbers else (None, None)
        average = total / len(numbers) if numbers else None
        return {"count": len(numbers), "min": least, "max": most, "avg": average, "sum": total}
    if not numbers:
        return {"value": None, "keys": []}
    best = max(numbers) if kind == "max_bucket" else min(numbers)
    return {"value": best, "keys": [key for key, value in values if value == best]}


@dataclass(frozen=True, slots=True)
class Series:
    """The buckets as one pipeline sees them.

    `others` are the pipelines beside it: not every bucket has their values."""

    spec: Spec
    buckets: list[Json]
    others: frozenset[str]

    def values(self, path: str) -> list[float | None]:
        """One of each bucket, by the policy for gaps; None for a bucket that is skipped."""
        zeros = _zeros(self.spec)
        found = (_value(self.spec, bucket, path, self.others, skip_empty=True) for bucket in self.buckets)
        return [0.0 if value is None and zeros else value for value in found]

    def put(self, place: int, value: float) -> None:
        """What is no number is shown as none."""
        shown = value if math.isfinite(value) else None
        self.buckets[place][self.spec.name] = _meta(self.spec, {"value": shown})


def _cumulate(series: Series) -> None:
    total = 0.0
    for place, bucket in enumerate(series.buckets):
        total += _value(series.spec, bucket, _path(series.spec), series.others) or 0.0
        series.put(place, total)


def _derive(series: Series) -> None:
    _differ(series, 1)


def _differ(series: Series, lag: int) -> None:
    """From the value that many buckets before, where both are there."""
    values = series.values(_path(series.spec))
    for place, (value, before) in enumerate(zip(values[lag:], values, strict=False), lag):
        if value is not None and before is not None:
            series.put(place, value - before)


def _move(series: Series) -> None:
    """A function of the values before each bucket: of those that are there, so that a gap is passed over."""
    spec = series.spec
    window, shift = whole(spec, "window", 0, least=1), _shift(spec)
    function = window_function(spec)
    values = series.values(_path(spec))
    present = [value for value in values if value is not None]
    index = 0
    for place, value in enumerate(values):
        if value is not None:
            end = max(0, min(index + shift, len(present)))
            series.put(place, function(present[max(0, index + shift - window) : end]))
            index += 1


def _shift(spec: Spec) -> int:
    """How far the window's end is behind the bucket before. Raises RequestError."""
    given = spec.options.get("shift", 0)
    try:
        return int(given)
    except (TypeError, ValueError):
        bad(f"[moving_fn] aggregation [{spec.name}]: [shift] is a whole number, found [{given}]")


def _calculate(series: Series) -> None:
    """A script's value, of buckets that have all of its parameters."""
    made = expression(series.spec)
    columns = {name: series.values(path) for name, path in paths_of(series.spec).items()}
    for place in range(len(series.buckets)):
        given = {name: column[place] for name, column in columns.items()}
        present = {name: value for name, value in given.items() if value is not None}
        if len(present) == len(given):
            try:
                series.put(place, float(made(present)))
            except OverflowError:
                series.put(place, math.nan)


_FILLS: Final[Mapping[str, Callable[[Series], None]]] = {
    "cumulative_sum": _cumulate,
    "derivative": _derive,
    "serial_diff": lambda series: _differ(series, whole(series.spec, "lag", 1, least=1)),
    "moving_fn": _move,
    "bucket_script": _calculate,
}


def _zeros(spec: Spec) -> bool:
    policy = spec.options.get("gap_policy", "skip")
    if policy not in ("skip", "insert_zeros"):
        bad(
            f"[{spec.kind}] aggregation [{spec.name}]: [gap_policy] is skip or insert_zeros, found [{policy}]"
        )
    return bool(policy == "insert_zeros")


def _value(
    spec: Spec, bucket: Json, path: str, others: Collection[str] = (), *, skip_empty: bool = False
) -> float | None:
    found = value_at(bucket, path)
    if found is _MISSING and _head(path) in others:
        return None
    if found is _MISSING:
        bad(f"[{spec.kind}] aggregation [{spec.name}]: no aggregation found for path [{path}]")
    if path == "_count":
        return float(bucket["doc_count"])
    if skip_empty and not bucket["doc_count"]:
        return None
    if found is None or isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found)


def value_at(bucket: Json, path: str) -> Any:
    """The value at `a>b.c`, `_count` or `_key` of a bucket; a marker that is no value where there is none."""
    if path == "_count":
        return bucket["doc_count"]
    if path == "_key":
        return bucket["key"]
    found: Any = bucket
    *outer, last = path.split(">")
    for name in outer:
        found = found.get(name, _MISSING) if isinstance(found, Mapping) else _MISSING
    if last == "_count" and isinstance(found, Mapping):
        return found.get("doc_count", _MISSING)
    return _metric(found, last)


def _metric(found: Any, name: str) -> Any:
    if not isinstance(found, Mapping):
        return _MISSING
    if name in found:
        answer = found[name]
        if isinstance(answer, Mapping):
            return answer.get("value", answer.get("doc_count", _MISSING))
        return _MISSING
    head, _, part = name.replace("[", ".").replace("]", "").partition(".")
    answer = found.get(head)
    if not part or not isinstance(answer, Mapping):
        return _MISSING
    if "values" in answer:
        by_name = answer["values"]
        return next((v for k, v in by_name.items() if float(k) == float(part)), _MISSING)
    return answer.get({"std_deviation": "std_deviation"}.get(part, part), _MISSING)


def is_missing(value: Any) -> bool:
    return value is _MISSING


def _sorted(spec: Spec, buckets: list[Json]) -> list[Json]:
    given = spec.options.get("sort") or []
    _zeros(spec)
    for entry in reversed(given if isinstance(given, list) else [given]):
        (path, order), *_ = entry.items() if isinstance(entry, Mapping) else [(entry, "asc")]
        order = order.get("order", "asc") if isinstance(order, Mapping) else order
        for bucket in buckets:
            if value_at(bucket, path) is _MISSING:
                bad(f"[bucket_sort] aggregation [{spec.name}]: no aggregation found for path [{path}]")
        buckets = in_order(buckets, path, descending=order == "desc")
    start = whole(spec, "from", 0)
    size = whole(spec, "size", len(buckets) or 1, least=1)
    return buckets[start : start + size]


def in_order(buckets: list[Json], path: str, *, descending: bool) -> list[Json]:
    """The buckets by the value at a path, those without one last; equal ones stay as they are."""
    present = [bucket for bucket in buckets if value_at(bucket, path) is not None]
    absent = [bucket for bucket in buckets if value_at(bucket, path) is None]
    return [*sorted(present, key=lambda bucket: _rank(value_at(bucket, path)), reverse=descending), *absent]


def _rank(value: Any) -> Any:
    """Numbers before texts: a dynamic field may have both; tuples by their parts."""
    if isinstance(value, list):
        return [_rank(part) for part in value]
    return (isinstance(value, str), value)
