"""Buckets of equal steps, of numbers or of time.

The engine has steps of equal length from the epoch. Months, years and zones whose clocks change are asked as
its `range` aggregation over boundaries computed here, from the least to the greatest date of the query.
Empty buckets between (`min_doc_count: 0`, the default) and `extended_bounds` are added here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from tantivy import Occur, Query

from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.formats import formats, shown
from headrace.index.query.options import number
from headrace.index.query.rounding import CALENDAR, rounding
from headrace.index.query.zones import time_zone
from headrace.index.tantivy.aggregations import pipelines
from headrace.index.tantivy.aggregations.ranges import dates_between, nanos
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.run import (
    CONDITION,
    MOST_BUCKETS,
    EngineBuckets,
    QueryBuckets,
    Reader,
    Run,
    both,
    millis,
    too_many_buckets,
)
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.kinds import comparable, only_dates, only_numbers

NUMBERS: Final = (FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT, FieldType.JSON)


class Steps(EngineBuckets):
    """What both kinds share: gaps, bounds and order. Positions are numbers, or microseconds."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.of = comparable(run.snapshot, self.target())
        self.least = whole(spec, "min_doc_count", 0)
        self.order = self._order(spec.options.get("order"))
        self.hard = self._bounds("hard_bounds")
        self.extended = self._bounds("extended_bounds")
        if self.extended and self.least:
            self.extended = None  # empty buckets were not asked for

    @abstractmethod
    def place(self, value: Any) -> Any:
        """The position of a bound."""

    @abstractmethod
    def floor(self, position: Any) -> Any:
        """Where the bucket of a position begins."""

    @abstractmethod
    def after(self, start: Any) -> Any:
        """Where the next bucket begins."""

    @abstractmethod
    def keys(self, start: Any) -> Json:
        """The bucket's own keys."""

    def _bounds(self, name: str) -> tuple[Any, Any] | None:
        given = self.options.get(name)
        if given is None:
            return None
        if not isinstance(given, Mapping) or set(given) - {"min", "max"}:
            bad(f"[{name}] of [{self.name}] has [min] and [max], found [{given}]")
        low, high = (None if given.get(side) is None else self.place(given[side]) for side in ("min", "max"))
        if low is not None and high is not None and low > high:
            bad(
                f"[{name}.min][{given['min']}] cannot be greater than [{name}.max][{given['max']}]"
                f" for histogram aggregation [{self.name}]",
                "illegal_argument_exception",
            )
        return low, high

    def _order(self, given: Any) -> list[tuple[str, bool]]:
        found = []
        for entry in given if isinstance(given, list) else [] if given is None else [given]:
            if not isinstance(entry, Mapping) or any(
                order not in ("asc", "desc") for order in entry.values()
            ):
                bad(f"[order] of [{self.name}] is {{path: asc or desc}}, or a list of such, found [{entry}]")
            found += [(str(path), order == "desc") for path, order in entry.items()]
        return found

    def filled(self, found: list[tuple[Any, Json]]) -> list[Json]:
        """All buckets in order, from those that have documents, by where they begin."""
        if self.hard:
            low, high = self.hard
            found = [
                (start, bucket)
                for start, bucket in found
                if (low is None or start >= self.floor(low)) and (high is None or start < high)
            ]
        have = {start: bucket for start, bucket in found if bucket["doc_count"] >= max(self.least, 1)}
        starts = self._every(have) if not self.least else sorted(have)
        buckets = []
        for start in starts:
            inside = have.get(start)
            if inside is None:
                inside = {"doc_count": 0, **({} if self.beyond else self.empty())}
            buckets.append({**self.keys(start), **inside, CONDITION: lambda start=start: self.inside(start)})
        for path, descending in reversed(self.order):
            for bucket in buckets[:1]:
                if pipelines.is_missing(pipelines.value_at(bucket, path)):
                    bad(
                        f"Invalid aggregation order path [{path}] in [{self.name}]",
                        "aggregation_execution_exception",
                    )
            buckets = pipelines.in_order(buckets, path, descending=descending)
        return buckets

    @abstractmethod
    def inside(self, start: Any) -> Query:
        """What is in the bucket that begins here."""

    def _every(self, have: Mapping[Any, Json]) -> list[Any]:
        """Each bucket from the first to the last one, and as far as `extended_bounds` go."""
        low, high = self.extended or (None, None)
        first = min([*have, *([] if low is None else [self.floor(low)])], default=None)
        last = max([*have, *([] if high is None else [self.floor(high)])], default=None)
        if first is None or last is None or (not have and (low is None or high is None)):
            return sorted(have)
        starts, start = [], first
        while start <= last:
            starts.append(start)
            if len(starts) > MOST_BUCKETS:
                too_many_buckets(len(starts))
            start = self.after(start)
        return starts


class Histogram(Steps):
    """Steps of numbers."""

    def __init__(self, run: Run, spec: Spec) -> None:
        self.interval = number(spec.options.get("interval"), "interval")
        if not self.interval > 0 or not math.isfinite(self.interval):
            bad(
                f"[interval] must be >0 for histogram aggregation [{spec.name}]", "illegal_argument_exception"
            )
        self.offset = number(spec.options.get("offset", 0), "offset") % self.interval
        super().__init__(run, spec)
        if self.of.kind not in NUMBERS:
            bad(
                f"Field [{self.of.name}] of type [{self.of.kind}] is not supported for aggregation"
                " [histogram]",
                "illegal_argument_exception",
            )
        only_numbers(run.snapshot, self.of, "[histogram]")
        if spec.options.get("format") is not None:
            bad(f"[histogram] aggregation [{self.name}] does not support [format]; leave it out")

    def own(self, query: Query) -> tuple[Json, Reader]:
        del query
        request = {
            "field": self.of.fast,
            "interval": self.interval,
            "offset": self.offset,
            "min_doc_count": 1,
        }
        return {"histogram": request}, self._read

    def _read(self, raw: Json) -> Json:
        found = [(self._key(bucket.pop("key")), bucket) for bucket in raw["buckets"]]
        return {"buckets": self.filled(found)}

    def _key(self, position: float) -> float:
        """Keys by their whole step, so that they are the same however they were reached."""
        return round((position - self.offset) / self.interval) * self.interval + self.offset

    def place(self, value: Any) -> Any:
        return number(value, f"bound of [{self.name}]")

    def floor(self, position: Any) -> Any:
        return math.floor((position - self.offset) / self.interval) * self.interval + self.offset

    def after(self, start: Any) -> Any:
        return (round((start - self.offset) / self.interval) + 1) * self.interval + self.offset

    def keys(self, start: Any) -> Json:
        return {"key": float(start)}

    def inside(self, start: Any) -> Query:
        node = tree.Range(self.of.name, start, self.after(start), include_upper=False)
        return compile_query(self.run.snapshot, node)


class DateHistogram(Steps):
    """Steps of time."""

    def __init__(self, run: Run, spec: Spec) -> None:
        given = [name for name in ("fixed_interval", "calendar_interval", "interval") if name in spec.options]
        if len(given) != 1:
            bad(
                f"[date_histogram] aggregation [{spec.name}] needs one of [fixed_interval] and"
                " [calendar_interval]",
                "illegal_argument_exception",
            )
        value = spec.options[given[0]]
        calendar = given[0] == "calendar_interval" or (given[0] == "interval" and str(value) in CALENDAR)
        self.zone = time_zone(spec.options.get("time_zone"))
        self.rounding = rounding(
            value if calendar else None,
            value,
            self.zone,
            spec.options.get("offset"),
            name=spec.name,
        )
        self.format = spec.options.get("format")
        formats(self.format)
        self.steps = self.rounding.fixed()
        self._after: dict[int, int] = {}
        self._keys: dict[int, Json] = {}
        super().__init__(run, spec)
        if self.of.kind not in (FieldType.DATE, FieldType.JSON):
            bad(
                f"Field [{self.of.name}] of type [{self.of.kind}] is not supported for aggregation"
                " [date_histogram]",
                "illegal_argument_exception",
            )
        only_dates(run.snapshot, self.of, "[date_histogram]")
        self.dynamic = self.of.column is None

    def own(self, query: Query) -> tuple[Json, Reader]:
        fixed = self.steps
        # Of dynamic dates the engine's histogram answers other units, and of microseconds none at all.
        if fixed is not None and not self.dynamic and not any(part % 1000 for part in fixed):
            interval, offset = fixed
            request = {
                "field": self.of.fast,
                "fixed_interval": f"{interval // 1000}ms",
                "offset": f"{offset // 1000}ms",
                "min_doc_count": 1,
            }
            return {"date_histogram": request}, self._read
        return self._as_ranges(query)

    def _read(self, raw: Json) -> Json:
        found = []
        for bucket in raw["buckets"]:
            start = round(bucket.pop("key")) * 1000
            bucket.pop("key_as_string", None)
            found.append((start, bucket))
        return {"buckets": self.filled(found)}

    def _as_ranges(self, query: Query) -> tuple[Json, Reader]:
        starts = self._starts(query)
        ranges = [
            {"key": str(one), "from": nanos(one), "to": nanos(other)} for one, other in pairwise(starts)
        ] or [{"key": "", "from": 0.0, "to": 1.0}]

        def read(raw: Json) -> Json:
            found = []
            for bucket in raw["buckets"]:
                key = bucket.pop("key")
                if not bucket["doc_count"] or not key.lstrip("-").isdigit():
                    continue
                for side in ("from", "to", "from_as_string", "to_as_string"):
                    bucket.pop(side, None)
                found.append((int(key), bucket))
            return {"buckets": self.filled(found)}

        return {"range": {"field": self.of.fast, "ranges": ranges}}, read

    def _starts(self, query: Query) -> list[int]:
        """Where all buckets of the query's dates begin, and where the last one ends."""
        asked = {side: {side: {"field": self.of.fast}} for side in ("min", "max")}
        found = self.run.engine(query, asked)
        low, high = (found[side]["value"] for side in ("min", "max"))
        if low is None or high is None:
            return []
        # As 64-bit floats, nanoseconds are exact to 256 of them; so a microsecond of room on both sides.
        first, last = math.floor(low / 1000) - 1, math.ceil(high / 1000) + 1
        if self.hard:
            first = max(first, self.hard[0]) if self.hard[0] is not None else first
            last = min(last, self.hard[1]) if self.hard[1] is not None else last
            if first > last:
                return []
        starts = [self.rounding.floor(first)]
        while starts[-1] <= last:
            starts.append(self.after(starts[-1]))
            if len(starts) > MOST_BUCKETS:
                too_many_buckets(len(starts))
        return starts

    def place(self, value: Any) -> Any:
        return values.as_date(self.of.name, value, self.format, self.zone, self.run.now)

    def floor(self, position: Any) -> Any:
        if self.steps:
            return position - (position - self.steps[1]) % self.steps[0]
        return self.rounding.floor(position)

    def after(self, start: Any) -> Any:
        """The same buckets come again under each bucket above, and calendars are slow: remembered."""
        if self.steps:
            return start + self.steps[0]
        if start not in self._after:
            self._after[start] = self.rounding.following(start)
        return self._after[start]

    def keys(self, start: Any) -> Json:
        if start not in self._keys:
            self._keys[start] = {
                "key_as_string": shown(start, self.format, self.zone),
                "key": millis(start),
            }
        return self._keys[start]

    def inside(self, start: Any) -> Query:
        return dates_between(self.run, self.of, start, self.after(start) - 1)


class WithMissing(QueryBuckets):
    """A histogram with a value for documents that have none: only that value's bucket is asked again."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        kind = Histogram if spec.kind == "histogram" else DateHistogram
        self.plain = kind(run, spec)
        self.start = self.plain.floor(self.plain.place(spec.options["missing"]))
        self.plain.least, self.least = 1, self.plain.least
        self.plain.order, self.order = [], self.plain.order

    def parts(self, query: Query) -> list[tuple[Json, Query]]:
        raise NotImplementedError

    def answer(self, query: Query) -> Json:
        plain = self.plain
        request, reader = plain.unfinished(query)
        raw = self.run.engine(query, {"x": request})["x"]
        found = {bucket["key"]: bucket for bucket in reader(raw)["buckets"]}
        absent = Query.boolean_query(
            [
                (Occur.Must, Query.all_query()),
                (Occur.MustNot, compile_query(self.run.snapshot, tree.Exists(plain.of.name))),
            ]
        )
        either = Query.boolean_query([(Occur.Should, plain.inside(self.start)), (Occur.Should, absent)])
        keys = plain.keys(self.start)
        bucket = self.bucket({}, both(query, either))
        for other in found.values():
            other.update(self.run.answers(both(query, other[CONDITION]()), plain.beyond))
        starts = [
            (self._start(other), _inside(other)) for other in found.values() if other["key"] != keys["key"]
        ]
        if bucket["doc_count"]:
            starts.append((self.start, bucket))
        plain.least, plain.order = self.least, self.order
        answer = {"buckets": plain.filled(starts)}
        for one in answer["buckets"]:
            if not one["doc_count"]:
                one.update(self.empty())
        plain.least, plain.order = 1, []
        return self.finished(answer)

    def _start(self, bucket: Json) -> Any:
        return round(bucket["key"] * 1000) if isinstance(self.plain, DateHistogram) else bucket["key"]


def _inside(bucket: Json) -> Json:
    return {name: value for name, value in bucket.items() if name not in ("key", "key_as_string", CONDITION)}
