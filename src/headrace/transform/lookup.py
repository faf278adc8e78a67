"""Add fields from a table by key: CSV, TSV, Parquet or NDJSON, read again when the file changes.

Keys are compared as text, so a number finds the same number written as text. A null is never found.
"""

from __future__ import annotations

import logging
from typing import Annotated, Literal

import msgspec
import polars as pl
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.core.log import event
from headrace.core.registry import suggest
from headrace.fields import named
from headrace.model import RECORD, RESERVED, Rejection
from headrace.transform._table import (
    HIT,
    TablePlan,
    key_columns,
    key_name,
    key_text,
    read_table,
    signature,
    value_name,
)
from headrace.transform.base import Outcome, TransformContext

log = logging.getLogger(__name__)

Scalar = bool | int | float | str | None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `lookup`."""

    table: Annotated[
        str, Meta(description="File with the table: .csv, .tsv, .parquet, .ndjson.", min_length=1)
    ]
    key: Annotated[
        str | Annotated[list[str], Meta(min_length=1)] | Annotated[dict[str, str], Meta(min_length=1)],
        Meta(description="Field(s) to look up; `{field: column}` where the table calls them otherwise."),
    ]
    add: Annotated[
        Annotated[list[str], Meta(min_length=1)] | Annotated[dict[str, str], Meta(min_length=1)],
        Meta(description="Columns to add; `{field: column}` to give them other names."),
    ]
    on_miss: Annotated[
        Literal["keep", "reject", "default"],
        Meta(description="What to do with a record whose key is not in the table."),
    ] = "keep"
    default: Annotated[
        dict[str, Scalar], Meta(description="Values of the added fields for `on_miss: default`.")
    ] = {}
    duplicates: Annotated[
        Literal["refuse", "first", "last"], Meta(description="Which row counts if the table has a key twice.")
    ] = "refuse"
    null_values: Annotated[
        list[str], Meta(description="Texts of a CSV or TSV table that mean no value, such as NA.")
    ] = []
    reload_interval: Annotated[
        float, Meta(description="Seconds between two looks whether the file has changed.", ge=0)
    ] = 1.0


examples = (
    {"table": "airlines.csv", "key": "carrier", "add": {"airline": "name"}},
    {
        "table": "airports.csv",
        "key": {"dest": "faa"},
        "add": {"dest_name": "name"},
        "on_miss": "default",
        "default": {"dest_name": "unknown"},
    },
)


def create(settings: Settings, context: TransformContext) -> Lookup:
    added = _mapping(settings.add)
    for name in added:
        if name in RESERVED:
            raise ConfigError(f"the field name {name!r} belongs to headrace", path=("add", name))
    if (settings.on_miss == "default") != bool(settings.default):
        raise ConfigError("on_miss: default and default: {field: value} go together", path=("on_miss",))
    for name in settings.default:
        if name not in added:
            message = f"default for {name!r}, which is not added, {suggest(name, list(added))}"
            raise ConfigError(message, path=("default", name))
    return Lookup(settings, context)


def _mapping(names: str | list[str] | dict[str, str]) -> dict[str, str]:
    if isinstance(names, dict):
        return names
    return {name: name for name in ([names] if isinstance(names, str) else names)}


class Lookup:
    """A left join with a small table that keeps order and number of the records."""

    def __init__(self, settings: Settings, context: TransformContext) -> None:
        self._settings = settings
        self._context = context
        self._keys = _mapping(settings.key)
        self._plan = TablePlan(
            path=context.base / settings.table,
            keys=tuple(self._keys.values()),
            add=_mapping(settings.add),
            duplicates=settings.duplicates,
            null_values=tuple(settings.null_values),
        )
        self._table = pl.DataFrame()
        self._signature: tuple[int, int, int] | None = None
        self._next_look = 0.0

    @property
    def worst_case_bytes(self) -> int:
        """The table, and a second one while a changed file is read, with the text it is read from."""
        return 3 * int(self._table.estimated_size())

    def bind(self, schema: pl.Schema) -> pl.Schema:
        known = [name for name in schema if name != RECORD]
        for name in self._keys:
            if name not in known:
                raise ConfigError(f"unknown field {name!r}, {suggest(name, known)}", path=("key", name))
            if key_text(name, schema[name]) is None:
                raise ConfigError(
                    f"field {name!r} is of type {schema[name]}, which cannot be a key; make it a whole "
                    "number or a text first",
                    path=("key", name),
                )
        self._signature = signature(self._plan.path)
        self._next_look = self._context.clock.monotonic() + self._settings.reload_interval
        try:
            self._table = read_table(self._plan)
        except ConfigError as error:
            raise error.inside("table") from None
        self._defaults()
        added = {name: self._table.schema[value_name(name)] for name in self._plan.add}
        return pl.Schema({**schema, **added})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        self._reload_if_changed()
        joined = self._join(frame)
        hit = joined[HIT].is_not_null()
        if self._settings.on_miss == "reject" and not hit.all():
            missed = self._rejections(frame.filter(~hit))
            return Outcome(self._added(joined.filter(hit)).select(self._columns(frame)), missed)
        return Outcome(self._added(joined).select(self._columns(frame)))

    def close(self) -> None: ...

    def _columns(self, frame: pl.DataFrame) -> list[str]:
        return list(dict.fromkeys([*frame.columns, *self._plan.add]))

    def _join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With the table's columns."""
        keys = key_columns(self._keys, frame.schema)
        on = [key_name(index) for index in range(len(keys))]
        return frame.with_columns(keys).join(self._table, on=on, how="left", maintain_order="left")

    def _added(self, joined: pl.DataFrame) -> pl.DataFrame:
        """Found values; else the default, or what the record had (if it is of the table's type)."""
        hit = pl.col(HIT).is_not_null()
        added = []
        for name in self._plan.add:
            dtype = self._table.schema[value_name(name)]
            otherwise = pl.lit(None, dtype=dtype)
            if self._settings.on_miss == "default":
                otherwise = pl.lit(self._settings.default.get(name), dtype=dtype)
            elif joined.schema.get(name) == dtype:
                otherwise = named(name)
            added.append(pl.when(hit).then(pl.col(value_name(name))).otherwise(otherwise).alias(name))
        return joined.with_columns(added)

    def _defaults(self) -> None:
        """Each default must be a value of its column's type."""
        for name, value in self._settings.default.items():
            dtype = self._table.schema[value_name(name)]
            try:
                pl.Series([value], dtype=dtype, strict=True)
            except (TypeError, pl.exceptions.PolarsError):
                message = f"{value!r} is not of type {dtype}, which {name!r} has in the table"
                raise ConfigError(message, path=("default", name)) from None

    def _rejections(self, missed: pl.DataFrame) -> tuple[Rejection, ...]:
        found = []
        for row in missed.select(RECORD, *self._keys).iter_rows(named=True):
            key = ", ".join(f"{name}={row[name]!r}" for name in self._keys)[:80]
            detail = f"{key} is not in {self._plan.path.name}"
            found.append(Rejection(row[RECORD], self._context.step, "lookup_miss", detail))
        return tuple(found)

    def _reload_if_changed(self) -> None:
        now = self._context.clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._settings.reload_interval
        found = signature(self._plan.path)
        if found == self._signature:
            return
        self._signature = found
        self._reload()

    def _reload(self) -> None:
        """A table that cannot be used leaves the last good one in place, and is said once per change."""
        try:
            table = self._read_again()
        except ConfigError as error:
            event(log.warning, "lookup.reload_failed", table=self._plan.path.name, reason=error.message)
            return
        self._table = table
        event(log.info, "lookup.reloaded", table=self._plan.path.name, rows=table.height)

    def _read_again(self) -> pl.DataFrame:
        table = read_table(self._plan)
        if table.schema != self._table.schema:
            raise ConfigError(f"the columns of {self._plan.path.name} have other types than at the start")
        return table
