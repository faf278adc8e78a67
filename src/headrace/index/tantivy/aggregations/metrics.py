"""Metrics: one number, or a few, of a field's values; dates in milliseconds and booleans as 0 and 1."""

from __future__ import annotations

import math
from typing import Any, Final

from tantivy import Query

from headrace.fields import FieldType
from headrace.index.query import values
from headrace.index.query.formats import shown
from headrace.index.query.options import number
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.run import Plan, Reader, Run, both, millis
from headrace.index.tantivy.kinds import Kind, comparable, is_date, kinds, mixed, on_one_line
from headrace.index.tantivy.targets import resolve

PRECISION: Final = 3000
MOST_PRECISE: Final = 40_000
"""As in Elasticsearch."""

SEGMENT_TERMS: Final = 65_000
"""Values that a segment hands on: all, or the count is no longer exact."""

COUNTS: Final = ("value_count", "cardinality")
_DEVIATIONS: Final = (
    "upper",
    "lower",
    "upper_population",
    "lower_population",
    "upper_sampling",
    "lower_sampling",
)


def is_boolean(run: Run, spec: Spec) -> bool:
    field = spec.options.get("field")
    if spec.kind in COUNTS or not isinstance(field, str):
        return False
    target = comparable(run.snapshot, resolve(run.snapshot, field))
    if target.column is None:
        return kinds(run.snapshot, target) == {Kind.BOOLEAN}
    return target.kind is FieldType.BOOLEAN


class Metric(Plan):
    """A metric as the engine has it."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.of = self.target()
        if spec.kind not in COUNTS:
            self.of = comparable(run.snapshot, self.of)
        self.dated = is_date(run.snapshot, self.of)
        self._check()

    def _check(self) -> None:
        kind = self.spec.kind
        if kind not in COUNTS:
            on_one_line(self.run.snapshot, self.of, f"[{kind}]")
        if kind not in COUNTS and self.of.kind in (FieldType.KEYWORD, FieldType.IP):
            bad(
                f"Field [{self.of.name}] of type [{self.of.kind}] is not supported for aggregation [{kind}]",
                "illegal_argument_exception",
            )
        if self.options.get("format") is not None and not self.dated:
            bad(f"[{kind}] aggregation [{self.name}] supports [format] for dates only; leave it out")
        if kind == "percentiles" and self.dated:
            bad(
                f"[percentiles] aggregation [{self.name}]: dates are beyond its precision;"
                " use [min] and [max], or a [date_histogram]"
            )
        if kind == "percentiles":
            for percent in self._percents():
                if not 0 <= percent <= 100:
                    bad(f"[percents] must be between 0 and 100, found [{percent:g}] in [{self.name}]")

    def _percents(self) -> list[float]:
        given = self.options.get("percents") or [1, 5, 25, 50, 75, 95, 99]
        if not isinstance(given, list):
            bad(f"[percents] of [{self.name}] is a list of numbers")
        return [number(percent, "percents") for percent in given]

    def ask(self, _query: Query) -> tuple[Json, Reader]:
        kind = self.spec.kind
        if kind == "value_count" and mixed(self.run.snapshot, self.of):
            return self._values()
        request: Json = {"field": self.of.fast}
        if self.options.get("missing") is not None:
            request["missing"] = self._missing(self.options["missing"])
        if kind == "percentiles":
            request["percents"] = self._percents()
        if "sigma" in self.options:
            request["sigma"] = number(self.options["sigma"], "sigma", least=0)
        return {kind: request}, lambda raw: self.said(self.read(raw))

    def _values(self) -> tuple[Json, Reader]:
        """The number of values of all kinds: the engine's own count leaves out all but one kind."""
        terms = {"field": self.of.fast, "size": 1}
        if self.options.get("missing") is not None:
            terms["missing"] = self.options["missing"]

        def read(raw: Json) -> Json:
            rest = raw.get("sum_other_doc_count") or 0
            return self.said({"value": rest + sum(bucket["doc_count"] for bucket in raw["buckets"])})

        return {"terms": terms}, read

    def _missing(self, given: Any) -> Any:
        if self.spec.kind in COUNTS and self.of.kind in (FieldType.KEYWORD, FieldType.IP):
            return str(given)
        if self.dated:
            nanos = values.as_date(self.of.name, given, now=self.run.now) * 1000
            return values.iso(nanos // 1000) if self.spec.kind == "cardinality" else nanos
        return number(given, "missing")

    def read(self, raw: Json) -> Json:
        kind = self.spec.kind
        if kind in COUNTS:
            return {"value": int(raw["value"] or 0)}
        if kind == "percentiles":
            return {"values": self._by_percent(raw["values"])}
        found = dict(raw)
        if kind == "extended_stats" and found.get("std_deviation_bounds") is None:
            found["std_deviation_bounds"] = dict.fromkeys(_DEVIATIONS)
        return self._dates(found) if self.dated else found

    def _by_percent(self, found: Any) -> Any:
        plain = {name: None if _nothing(value) else value for name, value in found.items()}
        if self.options.get("keyed", True) in (True, "true"):
            return plain
        return [{"key": float(name), "value": value} for name, value in plain.items()]

    def _dates(self, found: Json) -> Json:
        squares = ("sum_of_squares", "variance", "variance_population", "variance_sampling")
        for name in squares:
            if isinstance(found.get(name), float):
                found[name] /= 1e12
        for name in ("std_deviation", "std_deviation_population", "std_deviation_sampling"):
            if isinstance(found.get(name), float):
                found[name] /= 1e6
        if isinstance(bounds := found.get("std_deviation_bounds"), dict):
            found["std_deviation_bounds"] = {k: None if v is None else v / 1e6 for k, v in bounds.items()}
        for name in ("value", "min", "max", "avg", "sum"):
            if not isinstance(found.get(name), int | float):
                continue
            micros = round(found[name] / 1000)
            found[name] = float(millis(micros))
            if abs(micros) <= values.DATES[1]:  # a sum of dates is none
                found[f"{name}_as_string"] = shown(micros, self.options.get("format"))
        return found


class Boolean(Plan):
    """A numeric metric of a boolean field, from how many are true: the engine has none."""

    pushed = False

    def ask(self, query: Query) -> tuple[Json, Reader]:
        raise NotImplementedError

    def answer(self, query: Query) -> Json:
        kind, of = self.spec.kind, comparable(self.run.snapshot, self.target())
        if kind not in ("avg", "min", "max", "sum", "stats") or self.options.get("missing") is not None:
            bad(
                f"[{kind}] aggregation [{self.name}] on the boolean field [{of.name}]: use [terms],"
                " or without [missing]"
            )
        schema, column = self.run.snapshot.schema, of.fast
        yes, no = (
            self.run.count(both(query, Query.term_query(schema, column, value))) for value in (True, False)
        )
        count = yes + no
        stats: Json = {
            "count": count,
            "min": (1.0 if not no else 0.0) if count else None,
            "max": (1.0 if yes else 0.0) if count else None,
            "avg": yes / count if count else None,
            "sum": float(yes),
        }
        return self.said(stats if kind == "stats" else {"value": stats[kind]})


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


class Cardinality(Metric):
    """The number of distinct values: exact up to `precision_threshold`, the engine's estimate beyond.

    In buckets of the engine's it is the estimate: the values of each would count against the bound of all.
    """

    def _check(self) -> None:
        super()._check()
        self.exact = not self.run.nested
        self.threshold = min(whole(self.spec, "precision_threshold", PRECISION), MOST_PRECISE)

    def ask(self, query: Query) -> tuple[Json, Reader]:
        if self.options.get("missing") is not None or not self.exact:
            return super().ask(query)
        estimate, _ = super().ask(query)
        terms = {"field": self.of.fast, "size": self.threshold + 1, "segment_size": SEGMENT_TERMS}
        # A bucket of everything, since one request has one answer.
        request = {"filter": "*", "aggs": {"estimate": estimate, "values": {"terms": terms}}}

        def read(raw: Json) -> Json:
            exact = len(raw["values"]["buckets"])
            if exact <= self.threshold and not raw["values"].get("sum_other_doc_count"):
                return self.said({"value": exact})
            return self.said({"value": max(int(raw["estimate"]["value"] or 0), exact)})

        return request, read
