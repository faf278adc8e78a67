"""Keep the records for which a condition is true; the others are dropped, and counted as dropped.

A condition that is null (a field it needs is missing) is not true.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.core.errors import ConfigError
from headrace.transform.base import Outcome, TransformContext
from headrace.transform.sql import Program, rejections

Settings: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, description="An SQL condition over the fields of one record.")
]

examples = ("month between 1 and 12", "status >= 400 or method = 'POST'")

_CONDITION = "condition"


def create(settings: str, context: TransformContext) -> Where:
    return Where(settings, context.step)


class Where:
    """Filters by one boolean expression."""

    def __init__(self, text: str, step: str) -> None:
        self._step = step
        try:
            self._program = Program({_CONDITION: text})
        except ConfigError as error:
            raise ConfigError(error.message) from None

    def bind(self, schema: pl.Schema) -> pl.Schema:
        try:
            dtype = self._program.bind(schema)[_CONDITION]
        except ConfigError as error:
            raise ConfigError(error.message) from None
        if not isinstance(dtype, (pl.Boolean, pl.Null)):
            text = self._program.texts[_CONDITION]
            raise ConfigError(f"a condition must be true or false, but {text!r} is of type {dtype}")
        return schema

    def apply(self, frame: pl.DataFrame) -> Outcome:
        result = self._program.evaluate(frame)
        true = result.values[_CONDITION].cast(pl.Boolean).fill_null(value=False)
        kept = frame.filter(true) if len(true) == frame.height else frame[result.rows.filter(true)]
        return Outcome(kept, rejections(frame, result.failures, self._step), dropped=len(true) - kept.height)

    def close(self) -> None: ...
