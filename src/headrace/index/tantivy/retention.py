"""What the declared retention says is due: too old by a date field, or too much by size.

Space comes back when the engine drops a segment that has nothing living left, so `max_bytes` is about the
bytes of living documents; the folder may be larger for a while.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import tantivy
from tantivy import FieldType, Occur, Order, Query

from headrace.index.tantivy.options import Retention
from headrace.index.tantivy.positions import count
from headrace.index.tantivy.schema import SEQ, EngineSchema
from headrace.index.tantivy.store import read_meta


def due(
    index: tantivy.Index, engine: Path, retention: Retention, schema: EngineSchema, now: float
) -> tuple[Query, int] | None:
    """What to delete of the last commit's documents, and how many they are; None if nothing is due.

    Bounded by `_seq`, so that it says the same at the next commit, whatever is added until then.
    """
    searcher = index.searcher()
    reasons = [_too_old(index, retention, schema, now), _too_much(index, searcher, engine, retention)]
    found = [(Occur.Should, query) for query in reasons if query is not None]
    if not found:
        return None
    newest = searcher.search(_documents(index), limit=1, order_by_field=SEQ, order=Order.Desc)
    if not newest.hits:
        return None
    known = Query.range_query(index.schema, SEQ, FieldType.Integer, upper_bound=newest.hits[0][0])
    query = Query.boolean_query([(Occur.Must, known), (Occur.Must, Query.boolean_query(found))])
    documents = count(searcher, query)
    return (query, documents) if documents else None


def _documents(index: tantivy.Index) -> Query:
    """All but position documents: they have no `_seq`."""
    return Query.range_query(index.schema, SEQ, FieldType.Integer, lower_bound=0)


def _too_old(index: tantivy.Index, retention: Retention, schema: EngineSchema, now: float) -> Query | None:
    if retention.max_age is None or retention.field is None:
        return None
    oldest = max(datetime.fromtimestamp(now - float(retention.max_age), UTC), tantivy.MIN_DATETIME)
    name = schema.engine_name(retention.field)
    return Query.range_query(index.schema, name, FieldType.Date, upper_bound=oldest, include_upper=False)


def _too_much(
    index: tantivy.Index, searcher: tantivy.Searcher, engine: Path, retention: Retention
) -> Query | None:
    if retention.max_bytes is None:
        return None
    living, size = count(searcher, _documents(index)), living_bytes(engine)
    if size <= retention.max_bytes or not living:
        return None
    excess = min(living, math.ceil((size - retention.max_bytes) / size * living))
    last = searcher.search(_documents(index), limit=1, offset=excess - 1, order_by_field=SEQ, order=Order.Asc)
    return Query.range_query(index.schema, SEQ, FieldType.Integer, upper_bound=last.hits[0][0])


def living_bytes(engine: Path) -> int:
    """Bytes of the segments, each counted by its share of living documents."""
    total = 0.0
    for segment in read_meta(engine)["segments"]:
        name = segment["segment_id"].replace("-", "")
        size = sum(path.stat().st_size for path in engine.glob(f"{name}.*"))
        deleted = (segment.get("deletes") or {}).get("num_deleted_docs", 0)
        total += size * (1 - deleted / max(1, segment["max_doc"]))
    return math.ceil(total)
