"""Buckets between given bounds of numbers, dates and addresses, which may overlap and leave gaps.

The engine wants ranges that touch and do not overlap, so theirs go to it and others are asked by queries.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from tantivy import Query

from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.formats import shown
from headrace.index.query.options import number
from headrace.index.query.zones import time_zone
from headrace.index.tantivy.aggregations.request import Json, Spec, bad
from headrace.index.tantivy.aggregations.run import (
    CONDITION,
    EngineBuckets,
    QueryBuckets,
    Reader,
    Run,
    millis,
)
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.kinds import comparable, is_date, on_one_line, only_dates
from headrace.index.tantivy.ranges import dynamic_dates, micros_query
from headrace.index.tantivy.targets import Target, resolve

Bound = float | int | str | None
_HALF: Final = 500
"""Nanoseconds: bounds between two microseconds stay there when the engine reads them as 64-bit floats."""


def nanos(micros: int) -> float:
    """The bound of the engine's ranges just before a microsecond."""
    return float(micros * 1000 - _HALF)


def dates_between(run: Run, target: Target, first: int | None, last: int | None) -> Query:
    """Dates from one microsecond to another, both included."""
    if target.column is None:
        return dynamic_dates(run.snapshot, target, first, last)
    return micros_query(run.snapshot, target.column, first, last)


class _Given:
    """The ranges of a request, read once: bounds as the field has them, and the buckets' own keys."""

    def __init__(self, run: Run, spec: Spec) -> None:
        self.run, self.spec = run, spec
        field = spec.options.get("field")
        if not isinstance(field, str) or not field:
            bad(f"aggregation [{spec.name}] of type [{spec.kind}] needs a [field]")
        self.target = comparable(run.snapshot, resolve(run.snapshot, field))
        self.dated = spec.kind == "date_range" or (
            spec.kind == "range" and is_date(run.snapshot, self.target)
        )
        _check(spec, self.target)
        on_one_line(run.snapshot, self.target, f"[{spec.kind}]")
        if spec.kind == "date_range":
            only_dates(run.snapshot, self.target, f"[{spec.kind}]")
        given = spec.options.get("ranges")
        if not isinstance(given, list) or not given:
            bad(f"aggregation [{spec.name}] of type [{spec.kind}] needs [ranges], a list")
        read = [self._read(one) for one in given]
        self.ranges = sorted(read, key=_place)

    def _read(self, given: Any) -> tuple[Bound, Bound, Json]:
        if not isinstance(given, Mapping) or set(given) - {"from", "to", "key", "mask"}:
            bad(f"aggregation [{self.spec.name}]: a range has [from], [to] and [key], found [{given}]")
        if self.spec.kind == "ip_range":
            return self._addresses(given)
        if "mask" in given:
            bad(f"aggregation [{self.spec.name}]: [mask] is for [ip_range] only")
        low, high = (self._bound(given.get(side)) for side in ("from", "to"))
        keys: Json = {"key": given.get("key")}
        for side, bound in (("from", low), ("to", high)):
            if bound is None:
                continue
            keys[side] = float(millis(int(bound))) if self.dated else float(bound)
            if self.dated:
                keys[f"{side}_as_string"] = self._shown(int(bound))
        if keys["key"] is None:
            spelled = [str(keys.get(f"{side}_as_string", keys.get(side, "*"))) for side in ("from", "to")]
            keys["key"] = "-".join(spelled)
        return low, high, keys

    def _bound(self, value: Any) -> Any:
        if value is None:
            return None
        if not self.dated:
            return number(value, f"bound of [{self.spec.name}]")
        zone = time_zone(self.spec.options.get("time_zone"))
        form = self.spec.options.get("format")
        return values.as_date(self.target.name, value, form, zone, self.run.now)

    def _shown(self, micros: int) -> str:
        return shown(micros, self.spec.options.get("format"), time_zone(self.spec.options.get("time_zone")))

    def _addresses(self, given: Mapping[str, Any]) -> tuple[Bound, Bound, Json]:
        if "mask" in given:
            first, last = values.as_ip_span(self.target.name, given["mask"])
            after = str(ipaddress.ip_address(last) + 1)
            return first, after, {"key": given.get("key", given["mask"]), "from": first, "to": after}
        keys: Json = {side: str(given[side]) for side in ("from", "to") if given.get(side) is not None}
        key = given.get("key", f"{keys.get('from', '*')}-{keys.get('to', '*')}")
        return keys.get("from"), keys.get("to"), {"key": key, **keys}

    def query(self, low: Any, high: Any) -> Query:
        """What is in a range: from `low` on, and before `high`."""
        if self.dated:
            return dates_between(self.run, self.target, low, None if high is None else high - 1)
        node = tree.Range(self.target.name, low, high, include_upper=False)
        return compile_query(self.run.snapshot, node)


def _check(spec: Spec, target: Target) -> None:
    wanted = {
        "range": (FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT, FieldType.DATE, FieldType.JSON),
        "date_range": (FieldType.DATE, FieldType.JSON),
        "ip_range": (FieldType.IP,),
    }[spec.kind]
    if target.kind not in wanted:
        bad(
            f"Field [{target.name}] of type [{target.kind}] is not supported for aggregation [{spec.kind}]",
            "illegal_argument_exception",
        )


def _place(given: tuple[Bound, Bound, Json]) -> tuple[Any, ...]:
    """Elasticsearch answers ranges by their lower bound, then by their upper one."""
    low, high, _ = given
    if isinstance(low, str) or isinstance(high, str):
        low = None if low is None else _address(low)
        high = None if high is None else _address(high)
    return (low is not None, low or 0, high is None, high or 0)


def _address(text: Bound) -> int:
    found = ipaddress.ip_address(str(text))
    return int(found) if found.version == 6 else int(found) + 0xFFFF_0000_0000


class EngineRanges(EngineBuckets):
    """Ranges that do not overlap."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.given = _Given(run, spec)

    @staticmethod
    def fits(run: Run, spec: Spec) -> bool:
        given = _Given(run, spec)
        if spec.kind == "ip_range":
            return False
        pairs = zip(given.ranges, given.ranges[1:], strict=False)
        return all(
            one[1] is not None and other[0] is not None and float(one[1]) <= float(other[0])
            for one, other in pairs
        ) and all(low is None or high is None or float(low) < float(high) for low, high, _ in given.ranges)

    def own(self, query: Query) -> tuple[Json, Reader]:
        del query
        asked = []
        for place, (low, high, _) in enumerate(self.given.ranges):
            entry: Json = {"key": str(place)}
            for side, bound in (("from", low), ("to", high)):
                if bound is not None:
                    entry[side] = nanos(int(bound)) if self.given.dated else bound
            asked.append(entry)
        return {"range": {"field": self.given.target.fast, "ranges": asked}}, self._read

    def _read(self, raw: Json) -> Json:
        by_key = {bucket["key"]: bucket for bucket in raw["buckets"]}
        found = []
        for place, (low, high, keys) in enumerate(self.given.ranges):
            bucket = by_key[str(place)]
            inside = {
                name: value
                for name, value in bucket.items()
                if name not in ("key", "from", "to", "from_as_string", "to_as_string")
            }
            condition = lambda low=low, high=high: self.given.query(low, high)  # noqa: E731
            found.append({**keys, **inside, CONDITION: condition})
        return {"buckets": found}

    def unnamed(self, bucket: Json) -> Json:
        return {name: value for name, value in bucket.items() if name != "key"}


class Ranges(QueryBuckets):
    """Ranges that overlap, and addresses."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.given = _Given(run, spec)

    def parts(self, query: Query) -> list[tuple[Json, Query]]:
        del query
        return [(keys, self.given.query(low, high)) for low, high, keys in self.given.ranges]

    def unnamed(self, bucket: Json) -> Json:
        return {name: value for name, value in bucket.items() if name != "key"}
