"""The shapes of bodies and answers: from our types where there are some, else as Elasticsearch has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_type_hints

import msgspec

from headrace.buffer.status import BufferStatus
from headrace.core.flags import FlagsStatus
from headrace.core.watch import BreakerStatus
from headrace.model import Position
from headrace.serve.admin import PartitionStatus, PipelineStatus
from headrace.serve.breakers import Command
from headrace.serve.openapi.operation import Schema, ref

TYPES: Final = (PipelineStatus, BreakerStatus, BufferStatus, FlagsStatus, Command)

OBJECT: Final[Schema] = {"type": "object"}
TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {}
OBJECTS: Final[Schema] = {"type": "array", "items": {"type": "object"}}


def an_object(*required: str, **properties: Schema) -> Schema:
    """An object; what is not named here may be there too."""
    found: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        found["required"] = list(required)
    return found


def only(*required: str, **properties: Schema) -> Schema:
    """An object of these keys and no others."""
    return {**an_object(*required, **properties), "additionalProperties": False}


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": dict(schema)}


def one_of(*schemas: Schema) -> Schema:
    return {"anyOf": [dict(schema) for schema in schemas]}


def named(schema: Schema) -> Schema:
    """An object that has one such value under any name."""
    return {"type": "object", "additionalProperties": dict(schema)}


FIELD: Final[Schema] = {"type": "string", "minLength": 1, "examples": ["status"]}
VALUE: Final[Schema] = {"type": ["string", "number", "boolean"]}
PER_FIELD: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": dict(one_of(VALUE, OBJECT)),
}
ORDER: Final[Schema] = {"type": "string", "enum": ["asc", "desc"]}
SORT: Final[Schema] = one_of(
    TEXT, list_of(one_of(TEXT, {"type": "object", "maxProperties": 1, "additionalProperties": dict(ORDER)}))
)
SOURCE: Final[Schema] = one_of(
    FLAG, TEXT, list_of(TEXT), only(includes=list_of(TEXT), excludes=list_of(TEXT))
)

PER_FIELD_QUERIES: Final = (
    "match",
    "match_phrase",
    "match_phrase_prefix",
    "match_bool_prefix",
    "term",
    "prefix",
    "wildcard",
    "regexp",
    "fuzzy",
)
_QUERIES: Final = list_of(ref("Query"))
QUERIES: Final[Mapping[str, Schema]] = {
    "match_all": only(boost=NUMBER),
    "match_none": only(),
    **dict.fromkeys(PER_FIELD_QUERIES, PER_FIELD),
    "terms": {"type": "object", "additionalProperties": dict(list_of(VALUE)), "maxProperties": 1},
    "range": named(an_object(gt=VALUE, gte=VALUE, lt=VALUE, lte=VALUE, format=TEXT, time_zone=TEXT)),
    "exists": only("field", field=FIELD),
    "ids": only("values", values=list_of(TEXT)),
    "bool": only(
        must=one_of(_QUERIES, ref("Query")),
        filter=one_of(_QUERIES, ref("Query")),
        should=one_of(_QUERIES, ref("Query")),
        must_not=one_of(_QUERIES, ref("Query")),
        minimum_should_match=one_of(WHOLE, TEXT),
        boost=NUMBER,
    ),
    "constant_score": only("filter", filter=ref("Query"), boost=NUMBER),
    "dis_max": only("queries", queries=_QUERIES, tie_breaker=NUMBER),
    "boosting": only(
        "positive",
        "negative",
        "negative_boost",
        positive=ref("Query"),
        negative=ref("Query"),
        negative_boost=NUMBER,
    ),
    "function_score": only("query", query=ref("Query"), weight=NUMBER, boost=NUMBER),
    "multi_match": an_object("query", query=TEXT, fields=list_of(TEXT), type=TEXT, operator=TEXT),
    "query_string": an_object("query", query=TEXT, default_field=TEXT, fields=list_of(TEXT), lenient=FLAG),
    "simple_query_string": an_object("query", query=TEXT, fields=list_of(TEXT), default_operator=TEXT),
}
"""Every kind of query there is; a test compares."""

_METRIC: Final = only("field", field=FIELD, missing=NUMBER)
_KINDS: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("avg", "min", "max", "sum", "stats", "extended_stats", "value_count"), _METRIC),
    "cardinality": only("field", field=FIELD),
    "percentiles": only("field", field=FIELD, percents=list_of(NUMBER)),
    "terms": only("field", field=FIELD, size=WHOLE, order=named(ORDER), min_doc_count=WHOLE, missing=VALUE),
    "multi_terms": only("terms", terms=list_of(only("field", field=FIELD)), size=WHOLE),
    "range": only(
        "field", "ranges", field=FIELD, ranges=list_of(an_object(**{"from": NUMBER, "to": NUMBER}))
    ),
    "date_range": only("field", "ranges", field=FIELD, ranges=OBJECTS, format=TEXT),
    "ip_range": only("field", "ranges", field=FIELD, ranges=OBJECTS),
    "histogram": only("field", "interval", field=FIELD, interval=NUMBER, min_doc_count=WHOLE),
    "date_histogram": an_object(
        "field", field=FIELD, fixed_interval=TEXT, calendar_interval=TEXT, format=TEXT
    ),
    "composite": an_object("sources", sources=OBJECTS, size=WHOLE, after=OBJECT),
    "top_hits": only(size=WHOLE, sort=SORT, _source=SOURCE, **{"from": WHOLE}),
    "top_metrics": an_object("metrics", metrics=ANYTHING, sort=SORT, size=WHOLE),
    "missing": only("field", field=FIELD),
    "global": only(),
    "filter": ref("Query"),
    "filters": only("filters", filters=named(ref("Query"))),
    **dict.fromkeys(("cumulative_sum", "derivative"), an_object("buckets_path", buckets_path=TEXT)),
    "serial_diff": an_object("buckets_path", buckets_path=TEXT, lag=WHOLE),
    "moving_fn": an_object(
        "buckets_path", "window", "script", buckets_path=TEXT, window=WHOLE, script=TEXT, shift=WHOLE
    ),
    "bucket_script": an_object("buckets_path", "script", buckets_path=named(TEXT), script=TEXT),
    "rate": only(field=FIELD, unit=TEXT, mode=TEXT),
    "bucket_sort": an_object(sort=SORT, size=WHOLE),
    **dict.fromkeys(
        ("avg_bucket", "max_bucket", "min_bucket", "sum_bucket", "stats_bucket"),
        an_object("buckets_path", buckets_path=TEXT),
    ),
}
AGGREGATIONS: Final[dict[str, Any]] = {
    **_KINDS,
    "aggs": ref("Aggregations"),
    "aggregations": ref("Aggregations"),
}

_FORMATTED: Final = list_of(one_of(TEXT, an_object("field", field=FIELD, format=TEXT)))
SEARCH_BODY: Final = only(
    query=ref("Query"),
    size=WHOLE,
    sort=SORT,
    search_after=list_of(ANYTHING),
    _source=SOURCE,
    highlight=an_object(fields=named(OBJECT)),
    aggs=ref("Aggregations"),
    aggregations=ref("Aggregations"),
    collapse=an_object("field", field=FIELD),
    suggest=OBJECT,
    track_total_hits=one_of(FLAG, WHOLE),
    track_scores=FLAG,
    timeout=TEXT,
    version=FLAG,
    seq_no_primary_term=FLAG,
    post_filter=ref("Query"),
    min_score=NUMBER,
    terminate_after=WHOLE,
    fields=_FORMATTED,
    docvalue_fields=_FORMATTED,
    stored_fields=one_of(TEXT, list_of(TEXT)),
    pit=an_object("id", id=TEXT, keep_alive=TEXT),
    **{"from": WHOLE},
)

SHARDS: Final = an_object("total", "successful", "failed", total=WHOLE, successful=WHOLE, failed=WHOLE)
HIT: Final = an_object(
    "_index",
    "_id",
    "_score",
    _index=TEXT,
    _id=TEXT,
    _score={"type": ["number", "null"]},
    _source=OBJECT,
    _version=WHOLE,
    _seq_no=WHOLE,
    _primary_term=WHOLE,
    sort=list_of(ANYTHING),
    highlight=named(list_of(TEXT)),
    fields=named(list_of(ANYTHING)),
)
TOTAL: Final = one_of(WHOLE, an_object("value", "relation", value=WHOLE, relation=TEXT))
SEARCH_ANSWER: Final = an_object(
    took=WHOLE,
    timed_out=FLAG,
    _shards=SHARDS,
    aggregations=OBJECT,
    _scroll_id=TEXT,
    pit_id=TEXT,
    hits=an_object(total=TOTAL, max_score={"type": ["number", "null"]}, hits=list_of(ref("Hit"))),
)
"""Nothing of it is required: `filter_path` takes away what it does not name."""

CAUSE: Final = an_object("type", "reason", type=TEXT, reason=TEXT, index=TEXT)
ERROR: Final = an_object(
    "error",
    "status",
    error=an_object("type", "reason", "root_cause", type=TEXT, reason=TEXT, root_cause=list_of(CAUSE)),
    status=WHOLE,
)
WRITTEN: Final = an_object(
    _index=TEXT,
    _id=TEXT,
    _version=WHOLE,
    result=TEXT,
    _shards=SHARDS,
    _seq_no=WHOLE,
    _primary_term=WHOLE,
    forced_refresh=FLAG,
)
_ITEM: Final = an_object(
    _index=TEXT,
    _id={"type": ["string", "null"]},
    status=WHOLE,
    result=TEXT,
    error=an_object(type=TEXT, reason=TEXT),
)
_TARGET: Final = an_object(_index=TEXT, _id=TEXT, if_seq_no=WHOLE, if_primary_term=WHOLE, require_alias=FLAG)
ACTION: Final[Schema] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {name: dict(_TARGET) for name in ("index", "create", "update", "delete")},
}
UPDATE: Final = an_object(doc=OBJECT, upsert=OBJECT, doc_as_upsert=FLAG, detect_noop=FLAG)
MAPPING: Final = an_object(
    properties=named(an_object(type=TEXT, format=TEXT)),
    dynamic=one_of(FLAG, {"enum": ["true", "false", "strict"]}),
)

DESCRIBED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Error": ERROR,
    "Query": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": dict(QUERIES),
    },
    "Aggregations": named(
        {"type": "object", "minProperties": 1, "properties": AGGREGATIONS, "additionalProperties": False}
    ),
    "SearchBody": SEARCH_BODY,
    "SearchAnswer": SEARCH_ANSWER,
    "Hit": HIT,
    "Written": WRITTEN,
    "BulkAction": ACTION,
    "BulkAnswer": an_object(took=WHOLE, errors=FLAG, items=list_of(named(_ITEM))),
    "Document": an_object(_index=TEXT, _id=TEXT, found=FLAG, _version=WHOLE, _seq_no=WHOLE, _source=OBJECT),
    "Update": UPDATE,
    "Acknowledged": an_object(acknowledged=FLAG, headrace=OBJECT),
    "Mapping": MAPPING,
    "Count": an_object(count=WHOLE, _shards=SHARDS),
    "Accepted": an_object(
        accepted=WHOLE, pipeline=TEXT, log=TEXT, first=WHOLE, end=WHOLE, token={"type": ["string", "null"]}
    ),
}


def components() -> dict[str, Any]:
    """All of them by name."""
    shown: dict[Any, Any] = {each: _shown(each) for each in (Position, PartitionStatus, PipelineStatus)}
    types = [shown.get(each, each) for each in TYPES]
    _, typed = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {**typed, **DESCRIBED}


def _shown(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same struct with `Json` as what it is to a schema, anything: msgspec knows no recursive types."""
    hints = get_type_hints(struct, localns={"Json": Any, **_SHOWN})
    fields = [
        (each.name, hints[each.name]) if each.required else (each.name, hints[each.name], _default(each))
        for each in msgspec.structs.fields(struct)
    ]
    made = msgspec.defstruct(struct.__name__, fields, namespace={"__doc__": struct.__doc__})
    _SHOWN[struct.__name__] = made
    return made


def _default(each: Any) -> Any:
    return each.default if each.default is not msgspec.NODEFAULT else each.default_factory()


_SHOWN: Final[dict[str, Any]] = {}
