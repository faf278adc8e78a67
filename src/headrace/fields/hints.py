"""What a destination declares, for those who decode its records: types, and which fields coerce."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from headrace.fields.declared import Field


class Hints(dict[str, pl.DataType]):
    """Field → its frame type. `coercing`: fields that take one kind of scalar for another."""

    coercing: frozenset[str] = frozenset()


def hints_of(fields: Mapping[str, Field]) -> Hints:
    found = Hints({name: field.dtype for name, field in fields.items() if field.dtype is not None})
    found.coercing = frozenset(name for name in found if fields[name].coerce)
    return found
