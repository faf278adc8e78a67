"""The JSON of `aggs`, checked: every type and option is known, or a 400 names what is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.index.query.bounds import check_aggregations

Json = dict[Any, Any]

METRICS: Final = ("avg", "min", "max", "sum", "stats", "extended_stats", "value_count", "cardinality")
_BOUNDS: Final = "offset min_doc_count hard_bounds extended_bounds keyed format order missing"
_TOP: Final = "size from sort _source"
_SIBLING: Final = "buckets_path gap_policy format"
OPTIONS: Final = {
    **dict.fromkeys(METRICS, "field missing format"),
    "cardinality": "field missing precision_threshold execution_hint",
    "extended_stats": "field missing sigma format",
    "percentiles": "field percents keyed missing tdigest hdr",
    "terms": "field size shard_size order include exclude missing min_doc_count shard_min_doc_count"
    " show_term_doc_count_error format value_type execution_hint collect_mode",
    "multi_terms": "terms size shard_size order min_doc_count shard_min_doc_count"
    " show_term_doc_count_error collect_mode",
    "range": "field ranges keyed",
    "date_range": "field ranges keyed format time_zone",
    "ip_range": "field ranges keyed",
    "histogram": f"field interval {_BOUNDS}",
    "date_histogram": f"field fixed_interval calendar_interval interval time_zone {_BOUNDS}",
    "composite": "sources size after",
    "top_hits": f"{_TOP} track_scores version seq_no_primary_term",
    "top_metrics": "metrics sort size",
    "missing": "field",
    "global": "",
}
FREE: Final = ("filter", "filters")
PARENTS: Final = {
    "cumulative_sum": "buckets_path format",
    "derivative": "buckets_path gap_policy format",
    "serial_diff": "buckets_path lag gap_policy format",
    "moving_fn": "buckets_path window script shift gap_policy format",
    "bucket_script": "buckets_path script gap_policy format",
    "rate": "field unit mode",
    "bucket_sort": "sort from size gap_policy",
}
SIBLINGS: Final = dict.fromkeys(
    ("avg_bucket", "max_bucket", "min_bucket", "sum_bucket", "stats_bucket"), _SIBLING
)
METRIC_KINDS: Final = (*METRICS, "percentiles", "top_hits", "top_metrics")
SINGLE: Final = ("filter", "missing", "global")

INSTEAD: Final = {
    "percentile_ranks": "[percentiles], or a [range] aggregation with the values as bounds",
    "median_absolute_deviation": "[percentiles] or [extended_stats]",
    "weighted_avg": "index the product with a transform, and divide two [sum] aggregations",
    "significant_terms": "[terms], once with and once without the query",
    "significant_text": "[terms], once with and once without the query",
    "rare_terms": "[terms] ordered by _count ascending",
    "auto_date_histogram": "[date_histogram] with an interval",
    "variable_width_histogram": "[histogram] with an interval, or [range]",
    "adjacency_matrix": "[filters] with the combinations",
    "sampler": "the aggregations themselves",
    "diversified_sampler": "the aggregations themselves",
    "random_sampler": "the aggregations themselves",
    "nested": "the aggregations on the dotted path itself: objects inside lists are flattened",
    "reverse_nested": "the aggregations on the dotted path itself: objects inside lists are flattened",
    "scripted_metric": "index the computed value with a transform",
    "string_stats": "[value_count] and [cardinality]",
    "boxplot": "[percentiles] and [stats]",
    "matrix_stats": "[extended_stats] of each field",
    "categorize_text": "[terms] of a keyword field",
    "time_series": "[terms] with [date_histogram] inside",
    "bucket_selector": "leave out the buckets where they are read, or use [min_doc_count]",
    "moving_avg": "[moving_fn], with the script MovingFunctions.unweightedAvg(values)",
    "moving_percentiles": "[percentiles] of longer intervals",
    "normalize": "compute it from the buckets where they are read",
    "inference": "compute it from the buckets where they are read",
    "percentiles_bucket": "[stats_bucket]",
    "extended_stats_bucket": "[stats_bucket]",
    "geo_distance": "[range] on latitude and longitude as float fields",
    "geohash_grid": "[histogram] on latitude and longitude as float fields",
    "geotile_grid": "[histogram] on latitude and longitude as float fields",
    "geohex_grid": "[histogram] on latitude and longitude as float fields",
    "geo_bounds": "[min] and [max] of latitude and longitude as float fields",
    "geo_centroid": "[avg] of latitude and longitude as float fields",
    "ip_prefix": "[ip_range] with [mask]",
}
DEEPEST: Final = 10


@dataclass(frozen=True, slots=True)
class Spec:
    """One aggregation as asked; `pipelines` work on its finished buckets, `inner` in each of them."""

    name: str
    kind: str
    options: Any
    inner: tuple[Spec, ...] = ()
    pipelines: tuple[Spec, ...] = ()
    meta: Mapping[str, Any] | None = None
    siblings: tuple[Spec, ...] = field(default=())


def bad(reason: str, kind: str = "parsing_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def read(request: Any, depth: int = 0) -> tuple[tuple[Spec, ...], tuple[Spec, ...], tuple[Spec, ...]]:
    """The aggregations of one level, the pipelines of the buckets round them, and of those beside them."""
    if not isinstance(request, Mapping):
        bad("[aggs] must be an object of aggregations by name")
    if depth == 0:
        check_aggregations(request)
    if depth > DEEPEST:
        bad(f"aggregations are nested deeper than {DEEPEST} levels")
    found = [_one(str(name), body, depth) for name, body in request.items()]
    parents = tuple(spec for spec in found if spec.kind in PARENTS)
    siblings = tuple(spec for spec in found if spec.kind in SIBLINGS)
    plain = (spec for spec in found if spec.kind not in PARENTS and spec.kind not in SIBLINGS)
    return (
        (*plain, *map(of_rate, (s for s in parents if s.kind == "rate" and "field" in s.options))),
        parents,
        siblings,
    )


def of_rate(spec: Spec) -> Spec:
    """What the rate of a field divides: it stands under the rate's name until that is worked out."""
    mode = spec.options.get("mode", "sum")
    if mode not in ("sum", "value_count"):
        bad(f"[rate] aggregation [{spec.name}]: [mode] is sum or value_count, found [{mode}]")
    return Spec(spec.name, mode, {"field": spec.options["field"]})


def _one(name: str, body: Any, depth: int) -> Spec:
    if not isinstance(body, Mapping):
        bad(f"aggregation [{name}] must be an object")
    if any(char in name for char in "[]>"):
        bad(f"invalid aggregation name [{name}]: names cannot contain [, ] or >")
    kinds = [key for key in body if key not in ("aggs", "aggregations", "meta")]
    if len(kinds) != 1:
        bad(f"aggregation [{name}] must have exactly one type, found [{', '.join(kinds)}]")
    kind, options = kinds[0], body[kinds[0]]
    _check_kind(name, kind)
    if not isinstance(options, Mapping):
        bad(f"aggregation [{name}] of type [{kind}] must be an object")
    _check_options(name, kind, options)
    inner, pipelines, siblings = read(body.get("aggs", body.get("aggregations")) or {}, depth + 1)
    if (inner or pipelines or siblings) and (kind in METRIC_KINDS or kind in PARENTS or kind in SIBLINGS):
        bad(f"aggregator [{name}] of type [{kind}] cannot accept sub-aggregations")
    if pipelines and kind in (*SINGLE, "filters", "composite") and kind != "composite":
        bad(f"[{pipelines[0].kind}] aggregation [{pipelines[0].name}] must be inside a histogram or terms")
    if kind != "date_histogram" and (rates := [each.name for each in pipelines if each.kind == "rate"]):
        bad(f"[rate] aggregation [{rates[0]}] must be directly inside a date_histogram")
    if kind == "global" and depth:
        bad(f"aggregation [{name}]: [global] must be outermost")
    return Spec(name, kind, options, inner, pipelines, body.get("meta"), siblings)


def _check_kind(name: str, kind: str) -> None:
    known = [*OPTIONS, *FREE, *PARENTS, *SIBLINGS]
    if kind in known:
        return
    if kind in INSTEAD:
        bad(f"aggregation type [{kind}] of [{name}] is not supported; instead: {INSTEAD[kind]}")
    bad(f"unknown aggregation type [{kind}] of [{name}]; {suggest(kind, known)}")


def _check_options(name: str, kind: str, options: Mapping[str, Any]) -> None:
    if kind in FREE:
        return
    known = {**OPTIONS, **PARENTS, **SIBLINGS}[kind].split()
    for option in options:
        if option not in known:
            bad(f"[{kind}] aggregation [{name}] has no option [{option}]; {suggest(str(option), known)}")


def whole(spec: Spec, option: str, default: int, *, least: int = 0) -> int:
    """An option's whole number. Raises RequestError."""
    value = spec.options.get(option, default)
    if (isinstance(value, str) and value.isdigit()) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        bad(
            f"[{option}] must be a whole number of at least {least}. Found [{value}] in [{spec.name}]",
            "illegal_argument_exception",
        )
    return value
