"""Tantivy, the embedded index: documents and positions in one commit, upserts by id or appends.

`owner` is the index as pipelines see it, `writer` does the work, `rows` renders frames for the engine,
`schema` knows which engine field holds what, `store` the folder; `reader` searches, in any process.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from headrace.index.base import Index, IndexContext, Reader
from headrace.index.tantivy.options import Retention, Settings

__all__ = ["Retention", "Settings", "create", "empty_reader", "examples", "open_reader"]

examples: Final = (
    {"fields": {"message": "text", "level": "keyword", "time": "date"}},
    {
        "id": "order",
        "dynamic": "strict",
        "fields": {"order": "keyword", "price": "float", "tags": "keyword[]"},
    },
    {"fields": {"time": "date"}, "retention": {"max_age": "30d", "field": "time", "max_bytes": "50GB"}},
)


def create(settings: Settings, context: IndexContext) -> Index:
    """The writing side, not yet open. Raises ConfigError."""
    from headrace.index.tantivy.owner import TantivyIndex

    return TantivyIndex(settings, context)


def open_reader(directory: Path, **options: Any) -> Reader:
    """The searching side of the index in `directory`; takes no lock. Raises StoreError."""
    module = importlib.import_module("headrace.index.tantivy.reader")
    reader: Reader = module.open_reader(directory, **options)
    return reader


def empty_reader(name: str, settings: Settings) -> Reader:
    """The searching side of an index before its folder is made. Raises ConfigError."""
    module = importlib.import_module("headrace.index.tantivy.empty")
    reader: Reader = module.EmptyReader(name, settings)
    return reader
