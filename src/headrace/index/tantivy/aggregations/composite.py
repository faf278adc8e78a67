"""Pages of buckets of several values each, from after a given tuple on.

The engine spells the tuple to go on after with its types (`dt:…`); a request has plain values, as answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tantivy import Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.formats import shown
from headrace.index.query.options import number
from headrace.index.query.rounding import Rounding, rounding
from headrace.index.query.zones import is_fixed, time_zone
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.aggregations.ranges import dates_between
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.run import (
    CONDITION,
    MOST_BUCKETS,
    EngineBuckets,
    Reader,
    Run,
    both,
    too_many_buckets,
)
from headrace.index.tantivy.aggregations.terms import value_query
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.kinds import is_date, on_one_line, only_dates, only_numbers
from headrace.index.tantivy.sorting import spelled
from headrace.index.tantivy.targets import Target

_KNOWN = {
    "terms": {"field", "order", "missing_bucket", "missing_order"},
    "histogram": {"field", "order", "missing_bucket", "missing_order", "interval"},
    "date_histogram": {
        "field", "order", "missing_bucket", "missing_order", "fixed_interval", "calendar_interval", "format",
        "time_zone", "offset",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One of the values that make a bucket."""

    name: str
    kind: str
    target: Target
    dated: bool
    rounding: Rounding | None
    interval: float
    format: str | None
    request: Json


class Composite(EngineBuckets):
    """Buckets by tuples of values."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        given = spec.options.get("sources")
        if not isinstance(given, list) or not given:
            bad(
                f"[composite] aggregation [{self.name}] needs [sources], a list", "illegal_argument_exception"
            )
        self.sources = [self._source(one) for one in given]
        if len({source.name for source in self.sources}) < len(self.sources):
            bad(f"Composite source names must be unique in [{self.name}]", "illegal_argument_exception")
        self.size = whole(spec, "size", 10, least=1)
        if self.size > MOST_BUCKETS:
            too_many_buckets(self.size)

    def _source(self, given: Any) -> Source:
        if not isinstance(given, Mapping) or len(given) != 1:
            bad(f"aggregation [{self.name}]: each of [sources] has exactly one name")
        name, body = next(iter(given.items()))
        if not isinstance(body, Mapping) or len(body) != 1:
            bad(f"aggregation [{self.name}]: the source [{name}] has exactly one type")
        kind, options = next(iter(body.items()))
        if kind not in _KNOWN:
            bad(f"aggregation [{self.name}]: unknown source type [{kind}]; have: {', '.join(_KNOWN)}")
        for option in options:
            if option not in _KNOWN[kind]:
                bad(
                    f"aggregation [{self.name}]: the source [{name}] has no option [{option}]; have:"
                    f" {', '.join(sorted(_KNOWN[kind]))}"
                )
        target = self.target(options)
        request: Json = {"field": target.fast}
        for option in ("order", "missing_bucket", "missing_order"):
            if option in options:
                request[option] = options[option]
        found, step = None, 0.0
        if kind == "histogram":
            step = request["interval"] = number(options.get("interval"), "interval")
        if kind == "date_histogram":
            found = self._rounding(str(name), options, request)
        refuse = {"histogram": only_numbers, "date_histogram": only_dates}.get(kind, on_one_line)
        refuse(self.run.snapshot, target, f"a [{kind}] source of [composite]")
        dated = kind == "date_histogram" or is_date(self.run.snapshot, target)
        return Source(str(name), kind, target, dated, found, step, options.get("format"), {kind: request})

    def _rounding(self, name: str, options: Mapping[str, Any], request: Json) -> Rounding:
        zone = time_zone(options.get("time_zone"))
        found = rounding(
            options.get("calendar_interval"),
            options.get("fixed_interval"),
            zone,
            options.get("offset"),
            name=name,
        )
        fixed = found.fixed()
        if fixed is not None and fixed[1] == 0:
            request["fixed_interval"] = f"{fixed[0] // 1000}ms"
        elif (
            found.unit in ("M", "y")
            and not found.offset
            and is_fixed(zone)
            and options.get("time_zone") in (None, "UTC", "Z", "+00:00")
        ):
            request["calendar_interval"] = "month" if found.unit == "M" else "year"
        else:
            bad(
                f"[composite] aggregation [{self.name}]: the source [{name}] supports days, hours and"
                " shorter, month"
                " and year, in UTC and without [offset]; for others use a [date_histogram] aggregation",
                "illegal_argument_exception",
            )
        return found

    def own(self, query: Query) -> tuple[Json, Reader]:
        del query
        request: Json = {"size": self.size, "sources": [{s.name: s.request} for s in self.sources]}
        after = self.options.get("after")
        if after is not None:
            if not isinstance(after, Mapping) or set(after) != {source.name for source in self.sources}:
                bad(
                    f"[after] of [{self.name}] needs a value for each of [sources]",
                    "illegal_argument_exception",
                )
            request["after"] = {
                source.name: self._spelled(source, after[source.name]) for source in self.sources
            }
        return {"composite": request}, self._read

    def _spelled(self, source: Source, value: Any) -> str:
        if value is None:
            return "null:"
        if source.dated and not self._is_beside_dates(source, value):
            micros = values.as_date(source.target.name, value, source.format, now=self.run.now)
            return f"dt:{micros * 1000}"
        if source.kind == "histogram":
            return f"f64:{number(value, 'after')!r}"
        return spelled(source.target, value)

    @staticmethod
    def _is_beside_dates(source: Source, value: Any) -> bool:
        """Whether a key of a field of dates is a text or boolean among them."""
        if source.target.column is not None or source.kind != "terms" or isinstance(value, int | float):
            return isinstance(value, bool)
        try:
            values.as_date(source.target.name, value, source.format)
        except RequestError:
            return True
        return source.format is None and engine.dynamic_date(str(value)) is None

    def _read(self, raw: Json) -> Json:
        buckets = []
        for bucket in raw["buckets"]:
            exact = bucket.pop("key")
            key = {source.name: self._key(source, exact[source.name]) for source in self.sources}
            buckets.append({"key": key, **bucket, CONDITION: lambda exact=exact: self._condition(exact)})
        if buckets:
            return {"after_key": buckets[-1]["key"], "buckets": buckets}
        return {"buckets": buckets}

    def _key(self, source: Source, value: Any) -> Any:
        if value is None:
            return None
        if source.dated and isinstance(value, int | float) and not isinstance(value, bool):
            return shown(round(value) * 1000, source.format) if source.format else round(value)
        if source.target.kind is FieldType.BOOLEAN:
            return bool(value)
        if source.kind == "histogram" or source.target.kind is FieldType.FLOAT:
            return float(value)
        return value

    def _condition(self, exact: Json) -> Query:
        parts = [self._part(source, exact[source.name]) for source in self.sources]
        return both(parts[0], *parts[1:])

    def _part(self, source: Source, value: Any) -> Query:
        run, target = self.run, source.target
        if value is None:
            return compile_query(run.snapshot, tree.Bool(must_not=(tree.Exists(target.name),)))
        if source.dated and isinstance(value, int | float) and not isinstance(value, bool):
            start = round(value) * 1000
            last = source.rounding.following(start) - 1 if source.rounding else start + 999
            return dates_between(run, target, start, last)
        if source.kind == "histogram":
            node = tree.Range(target.name, value, value + source.interval, include_upper=False)
            return compile_query(run.snapshot, node)
        return value_query(run, target, bool(value) if target.kind is FieldType.BOOLEAN else value)
