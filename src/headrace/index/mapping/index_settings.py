"""`settings` of an index: read in any of their spellings; those that change nothing here are only kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.core.glob import any_matches, matches
from headrace.index.mapping.notices import Notices, refused

# fmt: off
KEPT: Final = (
    "number_of_shards", "number_of_replicas", "number_of_routing_shards", "auto_expand_replicas",
    "refresh_interval", "codec", "hidden", "priority", "gc_deletes", "routing.*", "routing_partition_size",
    "routing_path", "lifecycle.*", "translog.*", "merge.*", "search.*", "indexing.*", "store.*",
    "unassigned.*", "soft_deletes.*", "max_*", "mapping.depth.limit", "mapping.nested_fields.limit",
    "mapping.nested_objects.limit", "mapping.field_name_length.limit", "mapping.dimension_fields.limit",
    "mapping.total_fields.ignore_dynamic_beyond_limit", "mapping.source.mode",
    "load_fixed_bitset_filters_eagerly",
    "shard.check_on_startup", "write.wait_for_active_shards", "highlight.*", "analyze.*", "allocation.*",
    "warmer.*", "format", "fielddata.cache", "query_string.lenient", "queries.cache.enabled",
    "requests.cache.enable", "replication.type", "knn", "knn.*", "plugins.*", "opendistro.*",
)
"""Settings of how Elasticsearch does its work, which is done otherwise here: no answer differs."""
# fmt: on

ELSEWHERE: Final = {
    "sort.*": "documents are not kept in an order of yours; sort in the search",
    "*_pipeline": "ingest pipelines of Elasticsearch are not run; transform in one of the configuration",
    "query.default_field": "a query string without fields searches all of them",
    "query.*": "it has no effect",
    "similarity.*": "scores are BM25 with its usual constants",
    "blocks.*": "an index is not blocked",
    "mode": "it is an index like any other",
    "time_series.*": "it is an index like any other",
    "look_ahead_time": "it is an index like any other",
}
"""Settings that would change answers, and what holds instead."""


def flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"index": {"a": 1}}`, `{"index.a": 1}` and `{"a": 1}` as `{"a": 1}`."""
    return {name.removeprefix("index."): value for name, value in _leaves("", settings)}


def _leaves(prefix: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(f"{prefix}{name}.", value)
        elif not isinstance(value, Mapping):
            yield prefix + name, value


def analysis_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The `analysis` part, as an object again: part → name → definition."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        if name.startswith("analysis.") and name.count(".") >= 3:
            _, part, inner = name.split(".", 2)
            label, option = inner.rsplit(".", 1)
            found.setdefault(part, {}).setdefault(label, {})[option] = value
    return found


def check_settings(flat: Mapping[str, Any], notices: Notices) -> None:
    """Refuse what is not known as Elasticsearch does; tell what is known and not honoured."""
    for name, value in flat.items():
        _check_number(name, value)
        if name.startswith("analysis.") or name in HONOURED or any_matches(KEPT, name):
            continue
        known = next((pattern for pattern in ELSEWHERE if matches(pattern, name)), None)
        if known is None:
            raise refused(
                f"unknown setting [index.{name}] please check that any required plugins are installed, or "
                "check the breaking changes documentation for removed settings",
                "illegal_argument_exception",
            )
        if value not in (None, "_none", False, "false", "standard", "*"):
            notices.add(f"setting [index.{name}] is not honoured: {ELSEWHERE[known]}")


NUMBERS: Final = {
    "number_of_shards": (1, 1024),
    "number_of_replicas": (0, 2**31 - 1),
    "number_of_routing_shards": (1, 2**31 - 1),
    "mapping.total_fields.limit": (1, 2**31 - 1),
}
"""Least and greatest, as Elasticsearch has them: also of what is only kept."""


def _check_number(name: str, value: Any) -> None:
    if name not in NUMBERS or value is None:
        return
    least, most = NUMBERS[name]
    reason = f"Failed to parse value [{value}] for setting [index.{name}]"
    try:
        number = int(str(value))
    except ValueError:
        raise refused(f"{reason}: not a whole number", "illegal_argument_exception") from None
    if not least <= number <= most:
        bound = f">= {least}" if number < least else f"<= {most}"
        raise refused(f"{reason} must be {bound}", "illegal_argument_exception")


HONOURED: Final = ("mapping.total_fields.limit", "mapping.ignore_malformed", "mapping.coerce")


def field_limit(flat: Mapping[str, Any]) -> int | None:
    given = flat.get("mapping.total_fields.limit")
    return None if given is None else int(str(given))
