"""Drop fields from every record."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.transform._columns import refuse_reserved, require_known
from headrace.transform.base import Outcome, TransformContext

Settings: TypeAlias = Annotated[
    list[str], msgspec.Meta(min_length=1, description="Names of the fields to leave out.")
]

examples = (["year", "month", "day"],)


def create(settings: list[str], context: TransformContext) -> Drop:  # noqa: ARG001  every kind takes both
    refuse_reserved(settings)
    return Drop(settings)


class Drop:
    """Leaves the named columns out."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def bind(self, schema: pl.Schema) -> pl.Schema:
        require_known(self._names, schema)
        return pl.Schema({name: dtype for name, dtype in schema.items() if name not in self._names})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        return Outcome(frame.drop(self._names, strict=False))

    def close(self) -> None: ...
