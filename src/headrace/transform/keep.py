"""Keep only the named fields of every record, in the order they are named."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.model import RECORD
from headrace.transform._columns import refuse_reserved, require_known
from headrace.transform.base import Outcome, TransformContext

Settings: TypeAlias = Annotated[
    list[str], msgspec.Meta(min_length=1, description="Names of the fields to keep; all others are left out.")
]

examples = (["carrier", "flight", "time_hour"],)


def create(settings: list[str], context: TransformContext) -> Keep:  # noqa: ARG001  every kind takes both
    refuse_reserved(settings)
    return Keep(list(dict.fromkeys(settings)))


class Keep:
    """Leaves all columns out but the named ones and the record's number."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def bind(self, schema: pl.Schema) -> pl.Schema:
        require_known(self._names, schema)
        hidden = [RECORD] if RECORD in schema else []
        return pl.Schema({name: schema[name] for name in (*hidden, *self._names)})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        return Outcome(frame.select(RECORD, *self._names))

    def close(self) -> None: ...
