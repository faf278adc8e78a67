"""Every parameter of a path, a query or a header that some route takes: its type and what it does."""

from __future__ import annotations

from typing import Final

from headrace.model import Json
from headrace.serve.openapi.operation import Schema

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "string", "enum": ["", "true", "false"]}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "integer"}
TIME: Final[Schema] = {"type": "string", "pattern": r"^([0-9]{1,4}(ms|s|m)|0|-1)$", "examples": ["30s"]}

_STEERS_NOTHING: Final = "Taken and without effect: there is one node."


def _one(*of: str) -> Schema:
    return {"type": "string", "enum": list(of)}


PATH: Final[dict[str, tuple[Schema, str]]] = {
    "index": (TEXT, "A name, an alias, a pattern, or several with commas between."),
    "id": (TEXT, "The `_id` of a document, at most 512 bytes; a slash is `%2F` or itself."),
    "name": (TEXT, "The name of what is asked for."),
    "pipeline": (TEXT, "A pipeline of the configuration whose source is `http_push`."),
    "scroll_id": (TEXT, "As the page before gave it."),
    "metric": (TEXT, "Taken for the sake of clients; all are answered."),
    "what": (TEXT, "Taken for the sake of clients; all is answered."),
    "target": (TEXT, "The name of the new index."),
    "node": (TEXT, "There is one."),
    "metrics": (TEXT, "Taken for the sake of clients; all are answered."),
    "fields": (TEXT, "Names or patterns of fields."),
    "new": (TEXT, "The name of the new index."),
}

QUERY: Final[dict[str, tuple[Schema, str]]] = {
    "pretty": (FLAG, "The answer with line breaks."),
    "human": (FLAG, "Taken and without effect."),
    "filter_path": (TEXT, "Only these parts of the answer; `*` is one step, `**` any number."),
    "error_trace": (FLAG, "Taken and without effect."),
    "format": (_one("json", "text"), "`json`; a table of `_cat` is `text` without it."),
    "q": (TEXT, "A query in the query string's syntax."),
    "df": (TEXT, "The field that words of `q` without one are looked for in."),
    "default_operator": (_one("AND", "OR", "and", "or"), "Between the words of `q`."),
    "analyze_wildcard": (FLAG, "Taken and without effect: wildcards are matched as they are indexed."),
    "lenient": (FLAG, "Taken for `q`."),
    "ignore_unavailable": (FLAG, "Indexes that are not there are left out instead of a 404."),
    "allow_no_indices": (FLAG, "A pattern that no index has is no 404."),
    "expand_wildcards": (TEXT, _STEERS_NOTHING),
    "preference": (TEXT, _STEERS_NOTHING),
    "routing": (TEXT, _STEERS_NOTHING),
    "_source": (TEXT, "`true`, `false`, or names of the parts wanted, with commas between."),
    "_source_includes": (TEXT, "Names or patterns of the parts of `_source` wanted."),
    "_source_excludes": (TEXT, "Names or patterns of the parts of `_source` not wanted."),
    "after": (TEXT, "Tokens of writes (`Headrace-Token`): wait until a search sees them."),
    "timeout": (TIME, "How long to wait; `0` not at all, `-1` as long as is allowed."),
    "terminate_after": (COUNT, "Taken; the answer is complete."),
    "ignore_throttled": (FLAG, _STEERS_NOTHING),
    "rest_total_hits_as_int": (FLAG, "`hits.total` as a number, as before version 7."),
    "from": (COUNT, "How many of the first hits are left out; with `size` at most 10,000."),
    "size": (COUNT, "How many hits."),
    "sort": (TEXT, "`field`, `field:asc`, `field:desc`, with commas between."),
    "track_total_hits": (TEXT, "`true`, `false`, or up to how many are counted."),
    "typed_keys": (FLAG, "Names of aggregations and suggestions as `type#name`."),
    "request_cache": (FLAG, _STEERS_NOTHING),
    "search_type": (TEXT, _STEERS_NOTHING),
    "allow_partial_search_results": (FLAG, _STEERS_NOTHING),
    "batched_reduce_size": (NUMBER, _STEERS_NOTHING),
    "scroll": (TIME, "Keep what was found this long, to be paged through."),
    "max_concurrent_shard_requests": (NUMBER, _STEERS_NOTHING),
    "max_concurrent_searches": (NUMBER, _STEERS_NOTHING),
    "ccs_minimize_roundtrips": (FLAG, _STEERS_NOTHING),
    "pre_filter_shard_size": (NUMBER, _STEERS_NOTHING),
    "include_named_queries_score": (FLAG, "Taken and without effect."),
    "track_scores": (FLAG, "Scores also where a sort does not need them."),
    "version": (TEXT, "Of a search: whether each hit has its `_version`."),
    "version_type": (TEXT, "Only `internal` is meant by anything."),
    "seq_no_primary_term": (FLAG, "Whether each hit has its `_seq_no`."),
    "explain": (FLAG, "Refused where true."),
    "stored_fields": (TEXT, "Fields read from `_source`."),
    "docvalue_fields": (TEXT, "Fields read from `_source`, dates in their formats."),
    "keep_alive": (TIME, "How long the point in time is kept."),
    "allow_partial_pit_creation": (FLAG, _STEERS_NOTHING),
    "scroll_id": (TEXT, "As the page before gave it."),
    "realtime": (FLAG, "`false`: what is searchable now, without waiting for what was accepted."),
    "refresh": (
        _one("", "true", "false", "wait_for"),
        "Wait until it is searchable; `true` commits at once.",
    ),
    "fields": (TEXT, "Names or patterns of fields."),
    "include_unmapped": (FLAG, "Whether indexes without a field are named."),
    "filters": (TEXT, "`+metadata`, `-metadata`, `-parent`, `-nested`, `-multifield`."),
    "types": (TEXT, "Only fields of these types."),
    "include_empty_fields": (FLAG, "Only `true`."),
    "ack": (_one("durable", "indexed"), "What the answer waits for."),
    "wait_for_active_shards": (TEXT, _STEERS_NOTHING),
    "pipeline": (TEXT, "Taken and without effect: an index knows its own pipeline."),
    "require_alias": (FLAG, "Only an alias may be written to."),
    "require_data_stream": (FLAG, "Taken and without effect."),
    "include_source_on_error": (FLAG, "Taken and without effect."),
    "type": (TEXT, "Of an older version; without effect."),
    "list_executed_pipelines": (FLAG, "Taken and without effect."),
    "op_type": (_one("index", "create"), "`create`: only where the id is free."),
    "if_seq_no": (COUNT, "Only if the document still has this `_seq_no`."),
    "if_primary_term": (COUNT, "With `if_seq_no`; always 1."),
    "retry_on_conflict": (COUNT, "Taken: updates happen one after another."),
    "lang": (TEXT, "Taken and without effect: there are no scripts."),
    "v": (FLAG, "Names of the columns above the table."),
    "h": (TEXT, "The columns wanted."),
    "s": (TEXT, "The columns to sort by, each with `:asc` or `:desc`."),
    "bytes": (_one("b", "kb", "mb", "gb", "tb"), "The unit of sizes."),
    "time": (TEXT, "The unit of times; without effect."),
    "ts": (FLAG, "Taken and without effect."),
    "local": (FLAG, _STEERS_NOTHING),
    "master_timeout": (TIME, _STEERS_NOTHING),
    "health": (TEXT, "Taken and without effect."),
    "pri": (FLAG, _STEERS_NOTHING),
    "include_unloaded_segments": (FLAG, "Taken and without effect."),
    "flat_settings": (FLAG, "Settings by their dotted names."),
    "include_defaults": (FLAG, "Taken and without effect."),
    "level": (TEXT, "How much is told: `cluster`, `indices` or `shards`."),
    "wait_for_status": (_one("green", "yellow", "red"), "Wait until it is at least this."),
    "wait_for_no_relocating_shards": (FLAG, _STEERS_NOTHING),
    "wait_for_no_initializing_shards": (FLAG, _STEERS_NOTHING),
    "wait_for_nodes": (TEXT, "A number, or one with a comparison, such as `>=2`: there is one node."),
    "wait_for_events": (TEXT, _STEERS_NOTHING),
    "metric": (TEXT, "Taken; all are answered."),
    "forbid_closed_indices": (FLAG, "Taken; no index is ever closed."),
    "features": (TEXT, "Taken; all are answered."),
    "write_index_only": (FLAG, "Taken and without effect."),
    "preserve_existing": (FLAG, "Taken and without effect."),
    "reopen": (FLAG, "Taken; no index is ever closed."),
    "force": (FLAG, "Taken and without effect."),
    "wait_if_ongoing": (FLAG, "Taken and without effect."),
    "max_num_segments": (NUMBER, "Taken and without effect: the engine merges by itself."),
    "only_expunge_deletes": (FLAG, "Taken and without effect: the engine merges by itself."),
    "flush": (FLAG, "Taken and without effect."),
    "wait_for_completion": (FLAG, "`false`: answer at once with the task's identity, where there are tasks."),
    "create": (FLAG, "Taken and without effect."),
    "order": (NUMBER, "Taken and without effect."),
    "cause": (TEXT, "Taken and without effect."),
    "accept_enterprise": (FLAG, "Taken and without effect."),
    "categories": (TEXT, "Taken and without effect."),
    "include_type_name": (FLAG, "Taken and without effect."),
    "verbose": (FLAG, "Taken and without effect."),
    "conflicts": (_one("abort", "proceed"), "`proceed`: a document that was changed meanwhile is counted."),
    "max_docs": (NUMBER, "At most so many documents."),
    "scroll_size": (COUNT, "Documents in one write."),
    "slices": (TEXT, "Taken and without effect: all is done at once."),
    "requests_per_second": (NUMBER, "At most so many documents a second; -1 for as many as there can be."),
    "search_timeout": (TIME, "Taken and without effect."),
    "stats": (TEXT, "Taken and without effect."),
    "analyzer": (TEXT, "The analyzer, by its name."),
    "field": (TEXT, "The field whose analyzer is meant."),
    "text": (TEXT, "The text."),
    "index": (TEXT, "The index whose analyzers are meant."),
    "tokenizer": (TEXT, "The tokenizer, by its name."),
    "filter": (TEXT, "The filters, by their names."),
    "normalizer": (TEXT, "The normalizer, by its name."),
    "rewrite": (FLAG, "Taken and without effect."),
    "all_shards": (FLAG, _STEERS_NOTHING),
    "groups": (TEXT, "Taken and without effect."),
    "completion_fields": (TEXT, "Taken and without effect."),
    "fielddata_fields": (TEXT, "Taken and without effect."),
    "detailed": (TEXT, "Taken and without effect."),
    "actions": (TEXT, "Taken and without effect."),
    "nodes": (TEXT, _STEERS_NOTHING),
    "node_id": (TEXT, _STEERS_NOTHING),
    "group_by": (TEXT, "Taken and without effect."),
    "parent_task_id": (TEXT, "Taken and without effect."),
    "wait_for_timeout": (TIME, "Taken and without effect."),
    "wait_for_metadata_version": (NUMBER, "Taken and without effect."),
    "include_segment_file_sizes": (FLAG, "Taken and without effect."),
    "source": (TEXT, "The body, of a client that can send none with a GET."),
    "source_content_type": (TEXT, "The kind of `source`: `application/json`."),
    "dry_run": (FLAG, "Say what would be done, and do nothing."),
    "lazy": (FLAG, "Taken and without effect."),
    "only_errors": (FLAG, "Taken and without effect."),
    "only_managed": (FLAG, "Taken and without effect."),
    "reason": (TEXT, "Only dead letters of this reason."),
}

HEADERS: Final[dict[str, tuple[Schema, str]]] = {
    "Headrace-Ack": (_one("durable", "indexed"), "The same as `ack`, for clients that refuse its name."),
    "Headrace-After": (TEXT, "The same as `after`, for clients that refuse its name."),
    "Idempotency-Key": (
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9._-]+$"},
        "A request that is repeated under its key is stored once, and answered as it was.",
    ),
    "Content-Encoding": (
        _one("gzip", "deflate", "zstd", "snappy", "identity"),
        "How the body is compressed.",
    ),
}

ANSWERED: Final[dict[str, tuple[Schema, str]]] = {
    "Headrace-Token": (TEXT, "Give it to a search as `after`, and it sees this write."),
    "Headrace-Freshness": (TEXT, "How far each index is searchable, as JSON."),
    "Location": (TEXT, "The path of the document."),
    "WWW-Authenticate": (TEXT, "The ways to say who one is."),
    "Retry-After": (COUNT, "Seconds after which to try again."),
    "X-Elastic-Product": (TEXT, "`Elasticsearch`, by which its clients know what they may speak."),
}


def reference(where: str, name: str) -> dict[str, Json]:
    """To what `described` has, so that words which many operations share are there once."""
    return {"$ref": f"#/components/parameters/{where}.{name}"}


def described(where: str, name: str) -> dict[str, Json]:
    """A parameter of a `path`, a `query` or a `header`; one without words has its name for them."""
    schema, text = {"path": PATH, "query": QUERY, "header": HEADERS}[where].get(name, (TEXT, name))
    if where == "path":
        schema = {**schema, "minLength": 1}
    required = where == "path"
    return {"name": name, "in": where, "required": required, "description": text, "schema": dict(schema)}
