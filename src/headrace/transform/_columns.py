"""What `rename`, `drop` and `keep` share: names that must exist and must not be Headrace's own."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.model import RECORD, RESERVED


def refuse_reserved(names: Iterable[str]) -> None:
    for name in names:
        if name in RESERVED:
            raise ConfigError(f"the field name {name!r} belongs to headrace", path=(name,))


def require_known(names: Iterable[str], schema: pl.Schema) -> None:
    known = [column for column in schema if column != RECORD]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown field {name!r}, {suggest(name, known)}", path=(name,))
