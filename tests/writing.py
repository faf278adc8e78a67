"""Feed an index by hand: batches made of frames, and what the index holds afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import tantivy

from headrace.core.clock import SystemClock
from headrace.index.tantivy import Settings, store
from headrace.index.tantivy.positions import count
from headrace.index.tantivy.schema import ID, SEQ, SOURCE, exclude_positions
from headrace.index.tantivy.writer import Writer
from headrace.model import RECORD, Batch, Decoded, Decoder, Position, RawBatch
from headrace.units import Size


class NoDecoder:
    """For batches that are decoded already."""

    def decode(self, raw: RawBatch) -> Decoded:
        raise NotImplementedError

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        return None


def batch(
    *frames: pl.DataFrame,
    first: int,
    records: int,
    partition: str = "p",
    pipeline: str = "pipe",
    dropped: int = 0,
) -> Batch:
    """Frames with RECORD as a batch that ends at record `first + records`."""
    decoder: Decoder = NoDecoder()
    raw = RawBatch(partition, first, Position(first + records), b"", decoder, 0, "here", 0.0)
    return Batch("b", pipeline, raw, frames, records, dropped=dropped)


def rows(*records: Mapping[str, Any], first: int = 0, **schema: Any) -> Batch:
    """Dictionaries as one batch of one frame, numbered from `first`."""
    frame = pl.DataFrame(list(records), schema_overrides=schema, strict=False, infer_schema_length=None)
    if not frame.width:
        frame = pl.DataFrame(height=len(records))
    numbers = pl.Series(RECORD, range(first, first + len(records)), dtype=pl.Int64)
    return batch(frame.insert_column(0, numbers), first=first, records=len(records))


def settings(**options: Any) -> Settings:
    return Settings(**{"memory": Size("40MB"), **options})


def writer(directory: Path, **options: Any) -> Writer:
    """An opened writer."""
    made = Writer("i", directory, settings(**options), SystemClock())
    made.open()
    return made


def searcher(directory: Path) -> tuple[tantivy.Index, tantivy.Searcher]:
    index = store.open_engine(directory)
    return index, index.searcher()


def documents(directory: Path) -> dict[str, Any]:
    """All committed documents: id → source; fails where an id is there twice."""
    index, found = searcher(directory)
    query = exclude_positions(tantivy.Query.all_query(), index.schema)
    hits = [found.doc(address) for _, address in found.search(query, limit=max(1, count(found, query))).hits]
    by_id = {str(hit.get_first(ID)): json.loads(bytes(hit.get_first(SOURCE) or b"")) for hit in hits}
    assert len(hits) == len(by_id)
    assert len(hits) == len({hit.get_first(SEQ) for hit in hits})
    return by_id


def sources(directory: Path) -> list[Any]:
    """All sources in the order of their `_seq`."""
    index, found = searcher(directory)
    query = exclude_positions(tantivy.Query.all_query(), index.schema)
    hits = [found.doc(address) for _, address in found.search(query, limit=max(1, count(found, query))).hits]
    hits.sort(key=lambda hit: int(hit.get_first(SEQ) or 0))
    return [msgspec.json.decode(bytes(hit.get_first(SOURCE) or b"")) for hit in hits]


def matches(directory: Path, field: str, value: object) -> int:
    """How many documents have a value; of floats and dates by a range, since they have no terms."""
    index, found = searcher(directory)
    query = tantivy.Query.term_query(index.schema, field, value)
    if isinstance(value, float | datetime) and "." not in field:
        kind = tantivy.FieldType.Float if isinstance(value, float) else tantivy.FieldType.Date
        query = tantivy.Query.range_query(index.schema, field, kind, value, value)
    return count(found, query)


def reasons(rejections: Sequence[Any]) -> list[tuple[int, str]]:
    return [(found.record, found.reason) for found in rejections]
