"""Set fields to the results of SQL expressions, in the order they are declared.

An expression sees the record as it came in and the results of those above it.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.core.errors import ConfigError
from headrace.model import RESERVED
from headrace.transform.base import Outcome, TransformContext
from headrace.transform.sql import Program, rejections

Settings: TypeAlias = Annotated[
    dict[str, Annotated[str, msgspec.Meta(min_length=1)]],
    msgspec.Meta(min_length=1, description="Field names and the SQL expressions they are set to."),
]

examples = ({"late": "dep_delay > 15", "route": "origin || '-' || dest"},)


def create(settings: dict[str, str], context: TransformContext) -> Set:
    for name in settings:
        if name in RESERVED:
            raise ConfigError(f"the field name {name!r} belongs to headrace, choose another", path=(name,))
    return Set(settings, context.step)


class Set:
    """Adds or replaces fields by expressions."""

    def __init__(self, texts: dict[str, str], step: str) -> None:
        self._step = step
        self._program = Program(texts)

    def bind(self, schema: pl.Schema) -> pl.Schema:
        return pl.Schema({**schema, **self._program.bind(schema)})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        result = self._program.evaluate(frame)
        kept = frame if result.values.height == frame.height else frame[result.rows]
        columns = [result.values[name] for name in self._program.texts]
        return Outcome(kept.with_columns(columns), rejections(frame, result.failures, self._step))

    def close(self) -> None: ...
