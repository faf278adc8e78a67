"""What the declared retention says is due: too old by a date field, or too much by size.

Space comes back when the engine drops a segment that has nothing living left, so `max_bytes` is about the
bytes of living documents; the folder may be larger for a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import tantivy
from tantivy import FieldType, Order, Query

from headrace.index.tantivy.options import Retention
from headrace.index.tantivy.positions import count
from headrace.index.tantivy.schema import SEQ, EngineSchema, exclude_positions
from headrace.index.tantivy.store import read_meta


def due(
    index: tantivy.Index, engine: Path, retention: Retention | None, schema: EngineSchema, now: float
) -> Iterator[tuple[Query, int]]:
    """Queries of what to delete, each with how many documents it finds in the last commit."""
    if retention is None:
        return
    searcher = index.searcher()
    for query in (_too_old(index, retention, schema, now), _too_much(index, searcher, engine, retention)):
        if query is not None:
            found = count(searcher, exclude_positions(query, index.schema))
            if found:
                yield query, found


def _too_old(index: tantivy.Index, retention: Retention, schema: EngineSchema, now: float) -> Query | None:
    if retention.max_age is None or retention.field is None:
        return None
    oldest = datetime.fromtimestamp(now - float(retention.max_age), UTC)
    name = schema.engine_name(retention.field)
    return Query.range_query(index.schema, name, FieldType.Date, upper_bound=oldest, include_upper=False)


def _too_much(
    index: tantivy.Index, searcher: tantivy.Searcher, engine: Path, retention: Retention
) -> Query | None:
    if retention.max_bytes is None:
        return None
    living = count(searcher, Query.range_query(index.schema, SEQ, FieldType.Integer, lower_bound=0))
    size = living_bytes(engine)
    if size <= retention.max_bytes or not living:
        return None
    excess = min(living, math.ceil((size - retention.max_bytes) / size * living))
    last = searcher.search(Query.all_query(), limit=1, offset=excess - 1, order_by_field=SEQ, order=Order.Asc)
    newest_due = last.hits[0][0]
    return Query.range_query(index.schema, SEQ, FieldType.Integer, upper_bound=newest_due)


def living_bytes(engine: Path) -> int:
    """Bytes of the segments, each counted by its share of living documents."""
    total = 0.0
    for segment in read_meta(engine)["segments"]:
        name = segment["segment_id"].replace("-", "")
        size = sum(path.stat().st_size for path in engine.glob(f"{name}.*"))
        deleted = (segment.get("deletes") or {}).get("num_deleted_docs", 0)
        total += size * (1 - deleted / max(1, segment["max_doc"]))
    return math.ceil(total)
