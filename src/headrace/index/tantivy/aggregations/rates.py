"""`rate`: what a bucket of a `date_histogram` holds, for each second, day or month of its length.

Days are as long as in Elasticsearch, always 24 hours; months and longer ones have their own length.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final, NoReturn

from headrace.index.query import dates
from headrace.index.query.rounding import CALENDAR, DAY, SHORT, interval
from headrace.index.query.zones import time_zone
from headrace.index.tantivy.aggregations.request import Json, Spec, bad

MICROS: Final = {**SHORT, "d": DAY, "w": 7 * DAY}
MONTHS: Final = {"M": 1, "q": 3, "y": 12}


def rate(spec: Spec, bucket: Json, options: Mapping[str, Any]) -> float:
    """The rate in one bucket of a histogram with these options. Raises RequestError."""
    amount = float(bucket[spec.name]["value"] or 0) if "field" in spec.options else float(bucket["doc_count"])
    unit = spec.options.get("unit")
    return amount if unit is None else amount / _units(spec, str(unit), bucket, options)


def _units(spec: Spec, name: str, bucket: Json, options: Mapping[str, Any]) -> float:
    """How many of the rate's units the bucket is long."""
    if name not in CALENDAR:
        _refuse(spec, name, "second, minute, hour, day, week, month, quarter and year")
    unit = CALENDAR[name]
    given = options.get("calendar_interval", options.get("interval"))
    step = CALENDAR.get(str(given), "") if given is not None else ""
    if step in MONTHS:
        if unit in MONTHS:
            return MONTHS[step] / MONTHS[unit]
        return _length(bucket["key"], MONTHS[step], options) / MICROS[unit]
    if unit in MONTHS:
        _refuse(
            spec, name, "second, minute, hour, day and week where buckets are no months, quarters or years"
        )
    fixed = options.get("fixed_interval", options.get("interval"))
    micros = MICROS[step] if step else interval(fixed, "fixed_interval")
    return micros / MICROS[unit]


def _refuse(spec: Spec, unit: str, have: str) -> NoReturn:
    reason = f"[rate] aggregation [{spec.name}]: unsupported unit [{unit}]; have: {have}"
    bad(reason, "illegal_argument_exception")


def _length(key: float, months: int, options: Mapping[str, Any]) -> float:
    zone = time_zone(options["time_zone"]) if options.get("time_zone") else UTC
    start = round(key) * 1000
    return dates.plus(start, months, "M", zone) - start
