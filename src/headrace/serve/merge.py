"""One answer from those of several indexes: aggregations, each merged only where it merges exactly.

Each index is asked for what can be added up (`planned`): an average as its sum and count, terms beyond the
wanted size. What cannot be added up, percentiles and cardinality, is refused with the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from headrace.core.errors import RequestError
from headrace.index.query.dates import iso
from headrace.serve import buckets, pipelines
from headrace.serve.buckets import Answer, Answers, Kind, read

UNMERGEABLE: Final = ("percentiles", "percentile_ranks", "cardinality", "median_absolute_deviation")


def planned(request: Mapping[str, Any]) -> dict[str, Any]:
    """What each index is asked for. Raises RequestError for what does not merge."""
    pipelines.check(request)
    return _asked(request)


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _planned(name, body) for name, body in pipelines.metrics(request).items()}


def merged(request: Mapping[str, Any], answers: Answers) -> Answer:
    """The answer to a request from each index's answer to what was planned."""
    found = {
        name: _merged(name, body, [(index, answer[name]) for index, answer in answers if name in answer])
        for name, body in pipelines.metrics(request).items()
    }
    pipelines.beside(request, found)
    return found


def _planned(name: str, body: Any) -> Any:
    kind, options, inner = read(name, body)
    if kind in UNMERGEABLE:
        _refuse(name, kind, "search one index, or use [filters] and [stats]")
    if kind not in _MERGES:
        _refuse(name, kind, "search one index at a time")
    asked = dict(body)
    for key in ("aggs", "aggregations"):
        asked.pop(key, None)
    if kind == "avg":
        asked = {"stats": asked["avg"]}
    elif kind in _ASKS:
        asked[kind] = _ASKS[kind](name, dict(options))
    return asked | ({"aggs": _asked(inner)} if inner else {})


def _refuse(name: str, kind: str, remedy: str) -> None:
    reason = f"aggregation [{name}] of type [{kind}] cannot be merged over several indexes; {remedy}"
    raise RequestError(400, "illegal_argument_exception", reason)


def _merged(name: str, body: Any, answers: Answers) -> Answer:
    kind, options, inner = read(name, body)
    found = pipelines.within(body, _MERGES[kind](Kind(name, kind, options, inner, merged), answers))
    meta = body.get("meta")
    return found | ({"meta": meta} if meta is not None else {})


def _values(answers: Answers, key: str) -> list[Any]:
    return [answer[key] for _, answer in answers if answer.get(key) is not None]


def _total(_: Kind, answers: Answers) -> Answer:
    return {"value": sum(_values(answers, "value"))}


def _sum(kind: Kind, answers: Answers) -> Answer:
    found = _total(kind, answers)
    return {"value": float(found["value"])} | _as_text(answers, "value", found["value"])


def _extreme(choose: Callable[[list[Any]], Any]) -> Callable[[Kind, Answers], Answer]:
    def merge(_: Kind, answers: Answers) -> Answer:
        values = _values(answers, "value")
        if not values:
            return {"value": None}
        best = choose(values)
        return dict(next(answer for _, answer in answers if answer.get("value") == best))

    return merge


def _average(_: Kind, answers: Answers) -> Answer:
    count, total = sum(_values(answers, "count")), sum(_values(answers, "sum"))
    if not count:
        return {"value": None}
    value = total / count
    return {"value": value} | _as_text(answers, "avg", value, "value")


def _stats(_: Kind, answers: Answers) -> Answer:
    count, total = sum(_values(answers, "count")), float(sum(_values(answers, "sum")))
    least, most = _values(answers, "min"), _values(answers, "max")
    found = {
        "count": count,
        "min": min(least) if least else None,
        "max": max(most) if most else None,
        "avg": total / count if count else None,
        "sum": total,
    }
    for key in ("min", "max", "avg", "sum"):
        if found[key] is not None:
            found |= _as_text(answers, key, found[key])
    return found


def _as_text(answers: Answers, key: str, value: float, answered: str = "") -> Answer:
    """A date beside its number, where the indexes gave one: theirs if it is that very number."""
    texts = [
        (answer[key], answer[f"{key}_as_string"]) for _, answer in answers if f"{key}_as_string" in answer
    ]
    if not texts:
        return {}
    found = next((text for number, text in texts if number == value), None)
    return {f"{answered or key}_as_string": found or iso(round(value * 1000))}


def _extended_stats(kind: Kind, answers: Answers) -> Answer:
    """As Elasticsearch computes it from count, sum and sum of squares."""
    found = _stats(kind, answers)
    count, total = found["count"], found["sum"]
    squares = float(sum(_values(answers, "sum_of_squares")))
    names = ("", "_population", "_sampling")
    if not count:
        bounds = dict.fromkeys(("upper", "lower", *_bounds_names()))
        return {
            **found,
            "sum_of_squares": None,
            **{f"{what}{name}": None for what in ("variance", "std_deviation") for name in names},
            "std_deviation_bounds": bounds,
        }
    spread = max(squares - total * total / count, 0.0)
    population, sampling = spread / count, spread / (count - 1) if count > 1 else None
    variances = {"": population, "_population": population, "_sampling": sampling}
    deviations = {name: None if value is None else value**0.5 for name, value in variances.items()}
    sigma = float(kind.options.get("sigma", 2.0))
    mean = found["avg"]
    bounds = {}
    for name, deviation in deviations.items():
        for side, turn in (("upper", 1), ("lower", -1)):
            bounds[f"{side}{name}"] = None if deviation is None else mean + turn * sigma * deviation
    return {
        **found,
        "sum_of_squares": squares,
        **{f"variance{name}": value for name, value in variances.items()},
        **{f"std_deviation{name}": value for name, value in deviations.items()},
        "std_deviation_bounds": bounds,
    }


def _bounds_names() -> Sequence[str]:
    return [f"{side}_{name}" for name in ("population", "sampling") for side in ("upper", "lower")]


_ASKS: Final[dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]]] = {
    "terms": buckets.ask_terms,
    "histogram": buckets.ask_histogram,
    "date_histogram": buckets.ask_histogram,
    "range": buckets.ask_unkeyed,
    "date_range": buckets.ask_unkeyed,
    "ip_range": buckets.ask_unkeyed,
    "top_hits": buckets.ask_top,
}

_MERGES: Final[dict[str, Callable[[Kind, Answers], Answer]]] = {
    "avg": _average,
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": _sum,
    "value_count": _total,
    "stats": _stats,
    "extended_stats": _extended_stats,
    "terms": buckets.terms,
    "histogram": buckets.histogram,
    "date_histogram": buckets.histogram,
    "range": buckets.ranges,
    "date_range": buckets.ranges,
    "ip_range": buckets.ranges,
    "filters": buckets.filters,
    "filter": buckets.single,
    "missing": buckets.single,
    "global": buckets.single,
    "top_hits": buckets.top_hits,
    "top_metrics": buckets.top_metrics,
}
