"""A plain script with `tantivy`: the engine without a service, no positions, no ids of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import tantivy

from benches.instead import BATCH, Question, Record
from benches.records import encode


class Script:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.told = f"a script with tantivy {version('tantivy')}"
        self._index = tantivy.Index(_schema(), str(folder))
        self._index.config_reader("manual")
        self._writer = self._index.writer(heap_size=200_000_000, num_threads=2)

    def load(self, source: Path) -> None:
        with source.open("r", encoding="utf-8") as file:
            while lines := list(islice(file, BATCH)):
                for line in lines:
                    self._writer.add_json(line)
                self._writer.commit()
        self._index.reload()

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._writer.add_json(encode(record))
        self._writer.commit()
        self._index.reload()

    def ask(self, question: Question) -> int:
        searcher = self._index.searcher()
        if question.kind == "terms":
            query = tantivy.Query.range_query(
                self._index.schema, "status", tantivy.FieldType.Integer, lower_bound=question.value
            )
            by = {"by": {"terms": {"field": "service"}, "aggs": {"mean": {"avg": {"field": "dur"}}}}}
            return len(searcher.aggregate(query, by)["by"]["buckets"])
        newest: Any = {"order_by_field": "ts"} if question.kind == "filter" else {}
        found = searcher.search(self._query(question), limit=10, **newest)
        return len([searcher.doc(address).to_dict() for _, address in found.hits])

    def _query(self, question: Question) -> tantivy.Query:
        schema = self._index.schema
        if question.kind == "term":
            return tantivy.Query.term_query(schema, "id", question.value)
        if question.kind == "phrase":
            return tantivy.Query.phrase_query(schema, "message", question.value.split())
        before = datetime.fromisoformat(question.value)
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Must, tantivy.Query.term_query(schema, "service", question.service)),
                (tantivy.Occur.Must, tantivy.Query.term_query(schema, "level", "error")),
                (
                    tantivy.Occur.Must,
                    tantivy.Query.range_query(
                        schema, "ts", tantivy.FieldType.Date, upper_bound=before, include_upper=False
                    ),
                ),
            ]
        )

    def close(self) -> None:
        self._writer.wait_merging_threads()


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in ("id", "level", "service"):
        builder.add_text_field(name, stored=True, fast=True, tokenizer_name="raw")
    builder.add_date_field("ts", stored=True, indexed=True, fast=True)
    builder.add_integer_field("status", stored=True, indexed=True, fast=True)
    builder.add_float_field("dur", stored=True, indexed=True, fast=True)
    builder.add_text_field("message", stored=True)
    return builder.build()


def create(folder: Path) -> Script:
    return Script(folder)
