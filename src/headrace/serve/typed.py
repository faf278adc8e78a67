"""`typed_keys`: each aggregation named `type#name`, as typed clients read their answers.

The type is the answer's own, not the request's: `terms` is `sterms`, `lterms` or `dterms`, by its keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace.fields import Field, FieldType
from headrace.serve.buckets import read

NAMES: Final = {
    "percentiles": "tdigest_percentiles",
    "cumulative_sum": "simple_value",
    "serial_diff": "simple_value",
    "moving_fn": "simple_value",
    "bucket_script": "simple_value",
    "avg_bucket": "simple_value",
    "sum_bucket": "simple_value",
    "min_bucket": "bucket_metric_value",
    "max_bucket": "bucket_metric_value",
}
"""Answers that are of another type than what was asked for."""

_TERMS: Final = {
    FieldType.INTEGER: "lterms",
    FieldType.DATE: "lterms",
    FieldType.BOOLEAN: "lterms",
    FieldType.UNSIGNED: "ulterms",
    FieldType.FLOAT: "dterms",
    FieldType.KEYWORD: "sterms",
    FieldType.TEXT: "sterms",
    FieldType.IP: "sterms",
}

Fields = Mapping[str, Field]


def typed(asked: Mapping[str, Any], answer: Any, fields: Fields) -> Any:
    """An answer's aggregations under their typed names, at every level."""
    return {
        _name(asked, name, found, fields): _inside(asked, name, found, fields)
        for name, found in answer.items()
    }


def _name(asked: Mapping[str, Any], name: str, found: Any, fields: Fields) -> str:
    if name not in asked:
        return name
    kind, options, _ = read(name, asked[name])
    if kind == "terms":
        return f"{_terms(options, found, fields)}#{name}"
    return f"{NAMES.get(kind, kind)}#{name}"


def _terms(options: Mapping[str, Any], found: Any, fields: Fields) -> str:
    """By the field's declared type, else by the keys there are."""
    name = str(options.get("field", ""))
    declared = fields.get(name)
    if declared is not None and declared.kind in _TERMS:
        return _TERMS[declared.kind]
    keys = [bucket["key"] for bucket in found["buckets"]]
    if any(isinstance(key, str) for key in keys):
        return "sterms"
    if any(isinstance(key, float) for key in keys):
        return "dterms"
    if keys:
        return "lterms"
    return "sterms" if name.endswith(".keyword") else "umterms"


def _inside(asked: Mapping[str, Any], name: str, found: Any, fields: Fields) -> Any:
    if name not in asked or not isinstance(found, dict):
        return found
    _, _, inner = read(name, asked[name])
    if not inner:
        return found
    if "buckets" not in found:
        return typed(inner, found, fields)
    return {**found, "buckets": _buckets(inner, found["buckets"], fields)}


def _buckets(inner: Mapping[str, Any], buckets: Any, fields: Fields) -> Any:
    if isinstance(buckets, dict):
        return {key: typed(inner, bucket, fields) for key, bucket in buckets.items()}
    listed: Sequence[Any] = buckets
    return [typed(inner, bucket, fields) for bucket in listed]
