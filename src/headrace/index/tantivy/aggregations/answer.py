"""Which plan answers which type of aggregation, and the request as a whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from tantivy import Query

from headrace.index.tantivy.aggregations import pipelines
from headrace.index.tantivy.aggregations.composite import Composite
from headrace.index.tantivy.aggregations.filters import Filter, Filters, Global, Missing
from headrace.index.tantivy.aggregations.histograms import DateHistogram, Histogram, WithMissing
from headrace.index.tantivy.aggregations.metrics import Boolean, Cardinality, Metric, is_boolean
from headrace.index.tantivy.aggregations.ranges import EngineRanges, Ranges
from headrace.index.tantivy.aggregations.request import METRICS, Json, Spec, bad, read
from headrace.index.tantivy.aggregations.run import FetchHits, Plan, Run
from headrace.index.tantivy.aggregations.terms import MultiTerms, Terms
from headrace.index.tantivy.aggregations.top import TopHits, TopMetrics
from headrace.index.tantivy.snapshot import Snapshot

_PLANS: Final[Mapping[str, type[Plan]]] = {
    **dict.fromkeys((*METRICS, "percentiles"), Metric),
    "cardinality": Cardinality,
    "terms": Terms,
    "multi_terms": MultiTerms,
    "histogram": Histogram,
    "date_histogram": DateHistogram,
    "composite": Composite,
    "filter": Filter,
    "filters": Filters,
    "global": Global,
    "missing": Missing,
    "top_hits": TopHits,
    "top_metrics": TopMetrics,
}


def aggregate(
    snapshot: Snapshot, query: Query, request: Mapping[str, Any], hits: FetchHits, now: int | None = None
) -> Json:
    """The answer to `aggs`. Raises RequestError for anything unknown in it."""
    specs, siblings = outermost(request)
    run = Run(snapshot, hits, time.time_ns() // 1000 if now is None else now, _plan)
    found = run.answers(query, run.plans(specs))
    pipelines.beside(siblings, found)
    return {str(name): found[name] for name in request}


def outermost(request: Mapping[str, Any]) -> tuple[tuple[Spec, ...], tuple[Spec, ...]]:
    """The aggregations of the outermost level, and the pipelines beside them. Raises RequestError."""
    specs, parents, siblings = read(request)
    for spec in parents:
        bad(f"[{spec.kind}] aggregation [{spec.name}] must be inside a histogram or terms aggregation")
    return specs, siblings


def _plan(run: Run, spec: Spec) -> Plan:
    if spec.kind in ("range", "date_range", "ip_range"):
        return EngineRanges(run, spec) if EngineRanges.fits(run, spec) else Ranges(run, spec)
    if spec.kind in ("histogram", "date_histogram") and spec.options.get("missing") is not None:
        return WithMissing(run, spec)
    if spec.kind in METRICS and is_boolean(run, spec):
        return Boolean(run, spec)
    return _PLANS[spec.kind](run, spec)
