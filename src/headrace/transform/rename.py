"""Rename fields; a record that already has a field of the new name is rejected, never overwritten."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.core.errors import ConfigError
from headrace.fields import named
from headrace.model import RECORD, Rejection
from headrace.transform._columns import refuse_reserved, require_known
from headrace.transform.base import Outcome, TransformContext

Settings: TypeAlias = Annotated[
    dict[str, Annotated[str, msgspec.Meta(min_length=1)]],
    msgspec.Meta(min_length=1, description="Old names and the new names they get."),
]

examples = ({"ts": "time", "msg": "message"},)


def create(settings: dict[str, str], context: TransformContext) -> Rename:
    refuse_reserved((*settings, *settings.values()))
    twice = [name for name, times in Counter(settings.values()).items() if times > 1]
    if twice:
        raise ConfigError(f"two fields would be renamed to {twice[0]!r}")
    return Rename(settings, context.step)


class Rename:
    """Gives columns new names, all at once, so that two can change places."""

    def __init__(self, names: dict[str, str], step: str) -> None:
        self._names = names
        self._step = step

    def bind(self, schema: pl.Schema) -> pl.Schema:
        require_known(self._names, schema)
        for old, new in self._names.items():
            if new in schema and new not in self._names:
                raise ConfigError(
                    f"{old!r} cannot be renamed to {new!r}: there is a field of that name; drop it first",
                    path=(old,),
                )
        return pl.Schema({self._names.get(name, name): dtype for name, dtype in schema.items()})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        """Fields that appeared after `bind` can be in the way: then only of the records that have them."""
        in_the_way = [new for new in self._names.values() if new in frame.columns and new not in self._names]
        if not in_the_way:
            return Outcome(frame.rename(self._names))
        taken = frame.select(pl.any_horizontal([named(new).is_not_null() for new in in_the_way])).to_series()
        kept = frame.filter(~taken).drop(in_the_way).rename(self._names)
        return Outcome(kept, tuple(self._rejected(frame.filter(taken), in_the_way)))

    def _rejected(self, frame: pl.DataFrame, in_the_way: list[str]) -> list[Rejection]:
        old_names = {new: old for old, new in self._names.items()}
        found = []
        for row in frame.select(RECORD, *in_the_way).iter_rows(named=True):
            new = next(name for name in in_the_way if row[name] is not None)
            detail = f"{old_names[new]} cannot be renamed to {new}: the record has a field of that name"
            found.append(Rejection(row[RECORD], self._step, "field_exists", detail))
        return found

    def close(self) -> None: ...
