"""Pipelines: aggregations of finished buckets, not of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole

_MISSING: Final = object()


def over(specs: Sequence[Spec], buckets: list[Json]) -> list[Json]:
    """The buckets with each pipeline's value in them, sorted and cut by `bucket_sort` at the end."""
    for spec in specs:
        if spec.kind == "cumulative_sum":
            _cumulate(spec, buckets)
        elif spec.kind == "derivative":
            _derive(spec, buckets)
    for spec in specs:
        if spec.kind == "bucket_sort":
            buckets = _sorted(spec, buckets)
    return buckets


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
    if spec.options.get("format") is not None:
        bad(f"[{spec.kind}] aggregation [{spec.name}] does not support [format]; leave it out")
    return given


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


def _cumulate(spec: Spec, buckets: list[Json]) -> None:
    total = 0.0
    for bucket in buckets:
        total += _value(spec, bucket, _path(spec)) or 0.0
        bucket[spec.name] = _meta(spec, {"value": total})


def _derive(spec: Spec, buckets: list[Json]) -> None:
    before: float | None = None
    zeros = _zeros(spec)
    for place, bucket in enumerate(buckets):
        value = _value(spec, bucket, _path(spec), skip_empty=True)
        value = 0.0 if value is None and zeros else value
        if place and value is not None and before is not None:
            bucket[spec.name] = _meta(spec, {"value": value - before})
        before = value


def _zeros(spec: Spec) -> bool:
    policy = spec.options.get("gap_policy", "skip")
    if policy not in ("skip", "insert_zeros"):
        bad(
            f"[{spec.kind}] aggregation [{spec.name}]: [gap_policy] is skip or insert_zeros, found [{policy}]"
        )
    return bool(policy == "insert_zeros")


def _value(spec: Spec, bucket: Json, path: str, *, skip_empty: bool = False) -> float | None:
    found = value_at(bucket, path)
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
