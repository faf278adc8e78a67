"""What a search found, for Python: counts, hits, and the same as a frame."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
import polars as pl

from headrace.index.base import Hit, SearchResult

SHOWN: Final = 20
"""Rows of a printed result."""


class Result:
    """The answer to a search. Iterates over its hits; `to_polars()` gives them as a frame.

    total:        all matching documents, not only those returned
    hits:         the returned ones, each with `id`, `score`, `source` (JSON bytes), `sort`, `highlight`
    aggregations: Elasticsearch's shape, {} without any
    max_score:    the best score, None where hits are sorted by fields
    """

    def __init__(
        self,
        total: int,
        hits: Sequence[Hit],
        *,
        aggregations: Mapping[str, Any] | None = None,
        max_score: float | None = None,
    ) -> None:
        self.total = total
        self.hits = tuple(hits)
        self.aggregations: Mapping[str, Any] = aggregations or {}
        self.max_score = max_score

    @classmethod
    def of(cls, found: SearchResult) -> Result:
        """From what an index's reader answers."""
        return cls(found.total, found.hits, aggregations=found.aggregations, max_score=found.max_score)

    @classmethod
    def from_response(cls, body: Mapping[str, Any]) -> Result:
        """From the JSON of a `_search` answer."""
        found = body["hits"]
        hits = [_hit(hit) for hit in found["hits"]]
        total = found.get("total", {"value": len(hits)})
        return cls(
            total["value"] if isinstance(total, Mapping) else total,
            hits,
            aggregations=body.get("aggregations"),
            max_score=found.get("max_score"),
        )

    def to_polars(self) -> pl.DataFrame:
        """`_id`, `_score`, then a column per field of the documents; nested ones as `a.b`."""
        return self._frame

    @cached_property
    def _frame(self) -> pl.DataFrame:
        rows = [_flat(msgspec.json.decode(hit.source)) for hit in self.hits]
        names = dict.fromkeys(name for row in rows for name in row)
        columns = [
            pl.Series("_id", [hit.id for hit in self.hits], pl.String),
            pl.Series("_score", [hit.score for hit in self.hits], pl.Float64),
        ]
        columns += [_column(name, [row.get(name) for row in rows]) for name in names]
        return pl.DataFrame(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The hits as an Arrow stream, for any library that reads one."""
        stream: object = self._frame.__arrow_c_stream__(requested_schema)
        return stream

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __repr__(self) -> str:
        more = "" if len(self.hits) == self.total else f", {len(self.hits)} of them here"
        head = f"{self.total} found{more}"
        return f"{head}\n{self._frame.head(SHOWN)}" if self.hits else head

    def _repr_html_(self) -> str:
        head = html.escape(f"{self.total} found, {len(self.hits)} here")
        table: str = self._frame.head(SHOWN)._repr_html_() if self.hits else ""
        return f"<p>{head}</p>{table}"


def _hit(hit: Mapping[str, Any]) -> Hit:
    return Hit(
        hit["_id"],
        hit.get("_seq_no", -1),
        msgspec.json.encode(hit.get("_source", {})),
        hit.get("_score"),
        tuple(hit.get("sort", ())),
        hit.get("highlight", {}),
    )


def _flat(document: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested objects as dotted names; lists stay lists."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        whole = f"{path}.{name}" if path else name
        found |= _flat(value, whole) if isinstance(value, Mapping) and value else {whole: value}
    return found


def _column(name: str, values: list[Any]) -> pl.Series:
    """The values in one type: their own where they agree, else as text (JSON for lists and objects)."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pl.Series(name, values, pl.Float64)
    if kinds <= {dict}:
        return pl.Series(name, [_text(value) for value in values], pl.String)
    if len(kinds) == 1:
        try:
            return pl.Series(name, values, strict=True)
        except (TypeError, pl.exceptions.PolarsError, OverflowError):
            pass  # lists whose items disagree, numbers beyond 64 bits: as text, below
    return pl.Series(name, [_text(value) for value in values], pl.String)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
