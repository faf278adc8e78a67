"""Keywords as they are searched and sorted: in lower case, without accents; `_source` keeps the original.

Values and what is asked for go through the same function, so both change alike.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import polars as pl
from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

from headrace.fields.declared import normalizers


def normalized(values: pl.Series, spec: str) -> pl.Series:
    """Texts after each step of the normalizer."""
    for step in normalizers(spec):
        values = values.str.to_lowercase() if step == "lowercase" else _folded(values)
    return values


@lru_cache(maxsize=4096)
def normalized_text(text: str, spec: str) -> str:
    """One text after each step of the normalizer."""
    return str(normalized(pl.Series([text], dtype=pl.String), spec)[0])


def _folded(values: pl.Series) -> pl.Series:
    """Only texts that are not ASCII already are looked at, each different one once."""
    others = values.filter(values.str.contains(r"[^\x00-\x7F]")).unique()
    if others.is_empty():
        return values
    fold = _fold()
    folded = pl.Series([fold(text) for text in others], dtype=pl.String)
    return values.replace(others, folded)


@lru_cache(maxsize=1)
def _fold() -> Any:
    """The engine's own table of letters (that of Lucene): more than Unicode decomposes, such as ß and ø."""
    folding = TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.ascii_fold()).build()
    return lambda text: "".join(folding.analyze(text))
