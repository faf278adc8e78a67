"""Pushes by hand: operations as one batch, decoded as a bulk is, and a dictionary that says what must come of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import tantivy

from headrace.index.tantivy.lines import digest
from headrace.index.tantivy.positions import count
from headrace.index.tantivy.schema import ID, SEQ, SOURCE, exclude_positions
from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.ingest.http_push.decode import Lines
from headrace.model import RECORD, Batch, Operations, Outcome, Position, RawBatch
from writing import searcher

KEY = ("push:i", "log")
LONGEST = 100 << 20


@dataclass(frozen=True)
class Op:
    """One item of a bulk request."""

    op: str = "index"
    id: str | None = None
    doc: Mapping[str, Any] | None = None
    upsert: Mapping[str, Any] | None = None
    doc_as_upsert: bool = False
    detect_noop: bool = True
    if_seq: int | None = None
    exact: bool = False

    @property
    def body(self) -> str | None:
        if self.op != "update":
            return None
        given: dict[str, Any] = {} if self.doc is None else {"doc": self.doc}
        if self.upsert is not None:
            given["upsert"] = self.upsert
        if self.doc_as_upsert:
            given["doc_as_upsert"] = True
        if not self.detect_noop:
            given["detect_noop"] = False
        return json.dumps(given)

    @property
    def document(self) -> Mapping[str, Any] | None:
        """What is on its record's line."""
        if self.op == "update":
            return self.doc if self.doc_as_upsert else self.upsert
        return None if self.op == "delete" else self.doc

    @property
    def told(self) -> bool:
        return (
            self.exact
            or self.if_seq is not None
            or self.op in ("update", "delete")
            or (self.op == "create" and self.id is not None)
        )


def index(name: str | None, /, **doc: Any) -> Op:
    return Op("index", name, doc)


def create(name: str | None, /, **doc: Any) -> Op:
    return Op("create", name, doc)


def update(name: str, /, **doc: Any) -> Op:
    return Op("update", name, doc)


def delete(name: str) -> Op:
    return Op("delete", name)


def push(*ops: Op, first: int = 0, key: tuple[str, str] = KEY, dropped: Sequence[int] = ()) -> Batch:
    """A bulk request as the pipeline hands it over; a transform left out the records `dropped`."""
    lines = [b"" if op.document is None else json.dumps(op.document).encode() for op in ops]
    frame = pl.DataFrame(
        {
            RECORD: range(first, first + len(ops)),
            "op": [op.op for op in ops],
            "id": [op.id for op in ops],
            "body": [op.body for op in ops],
            "if_seq": [op.if_seq for op in ops],
            "exact": [op.exact for op in ops],
        },
        schema={
            RECORD: pl.Int64,
            "op": pl.String,
            "id": pl.String,
            "body": pl.String,
            "if_seq": pl.Int64,
            "exact": pl.Boolean,
        },
    )
    raw = RawBatch(
        key[1],
        first,
        Position(first + len(ops)),
        b"\n".join(lines) + b"\n",
        Lines(NdjsonDecoder({}, unit="record"), LONGEST, operations=True),
        0,
        "here",
        0.0,
        operations=Operations(frame),
        numbered=True,
    )
    decoded = raw.decoder.decode(raw)
    kept = tuple(part.filter(~pl.col(RECORD).is_in(list(dropped))) for part in decoded.frames)
    return Batch("b", key[0], raw, kept, decoded.records, decoded.rejections, dropped=len(dropped))


def plain(*records: Mapping[str, Any], first: int = 0, key: tuple[str, str] = KEY) -> Batch:
    """The same records as a plain push: appended under derived ids."""
    made = push(*(Op("index", None, record) for record in records), first=first, key=key)
    return replace(made, raw=replace(made.raw, operations=None))


def derived(record: int, key: tuple[str, str] = KEY) -> str:
    return f"{digest(key)}-{record}"


def stored(directory: Path) -> dict[str, tuple[int, Any]]:
    """All committed documents: id → (`_seq`, source without nulls); fails where an id is there twice."""
    made, found = searcher(directory)
    query = exclude_positions(tantivy.Query.all_query(), made.schema)
    hits = [found.doc(address) for _, address in found.search(query, limit=max(1, count(found, query))).hits]
    by_id = {
        str(hit.get_first(ID)): (
            int(hit.get_first(SEQ) or 0),
            _bare(json.loads(bytes(hit.get_first(SOURCE) or b""))),
        )
        for hit in hits
    }
    assert len(hits) == len(by_id)
    return by_id


def _bare(value: Any) -> Any:
    """Without nulls: a nested object has those of the fields that its neighbours in a batch have."""
    if not isinstance(value, dict):
        return value
    return {name: _bare(inner) for name, inner in value.items() if inner is not None}


@dataclass
class Model:
    """What Elasticsearch would do, in the plainest Python: one dictionary, one operation after another."""

    documents: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    outcomes: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    def apply(self, record: int, op: Op) -> None:
        name = op.id if op.id is not None else derived(record)
        before = self.documents.get(name)
        result = self._result(record, op, name, before)
        if op.told:
            self.outcomes[record] = result

    def _result(
        self, record: int, op: Op, name: str, before: tuple[int, dict[str, Any]] | None
    ) -> tuple[str, int, int]:
        if op.op == "update" and before is None and op.document is None:
            return "error", 404, -1
        if op.if_seq is not None and (before is None or before[0] != op.if_seq):
            return "error", 409, -1
        if op.op == "create" and before is not None:
            return "error", 409, -1
        if op.op == "delete":
            self.documents.pop(name, None)
            return ("not_found", 404, record) if before is None else ("deleted", 200, record)
        if op.op == "update" and before is not None:
            fields = _over(before[1], op.doc or {})
            if fields == before[1] and (op.detect_noop or op.doc is None):
                return "noop", 200, before[0]
            self.documents[name] = (record, fields)
            return "updated", 200, record
        self.documents[name] = (record, dict(op.document or {}))
        return ("created", 201, record) if before is None else ("updated", 200, record)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        nested = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _over(result[name], value) if nested else value
    return result


def told(outcomes: Sequence[Outcome]) -> dict[int, tuple[str, int, int]]:
    return {found.record: (found.result, found.status, found.seq) for found in outcomes}
