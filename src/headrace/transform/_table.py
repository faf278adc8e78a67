"""The table behind `lookup`: read whole, its keys as text, and unique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.fields import Field, cast, named

HIT: Final = "_headrace_hit"
FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What is wanted of a table: key columns, columns to add by their new names, and how to read it."""

    path: Path
    keys: tuple[str, ...]
    add: dict[str, str]
    duplicates: str
    null_values: tuple[str, ...]


def key_name(index: int) -> str:
    return f"_headrace_key{index}"


def value_name(field: str) -> str:
    return f"_headrace_value:{field}"


def signature(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; None while it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def key_text(column: str, dtype: pl.DataType) -> pl.Expr | None:
    """Key values as text, so that 7 finds "7"; None for a type that cannot be a key."""
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return named(column).dt.to_string("iso")
    possible = dtype.is_integer() or isinstance(
        dtype, (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    )
    return cast(column, dtype, Field("keyword"), coerce=False) if possible else None


def key_columns(names: Iterable[str], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """A record's key fields as texts, by `key_name`; of a type that cannot be a key they find nothing."""
    made = []
    for index, name in enumerate(names):
        never = pl.when(named(name).is_null()).then(pl.lit(None, dtype=pl.String))
        text = key_text(name, schema[name])
        made.append((never if text is None else text).alias(key_name(index)))
    return made


def read_table(plan: TablePlan) -> pl.DataFrame:
    """Key columns, added columns and `HIT`; raises ConfigError saying what is wrong with the file."""
    frame = _read(plan)
    for column in (*plan.keys, *plan.add.values()):
        if column not in frame.columns:
            have = suggest(column, frame.columns)
            raise ConfigError(f"{plan.path.name} has no column {column!r}, {have}", passing=True)
    keys = []
    for index, column in enumerate(plan.keys):
        text = key_text(column, frame.schema[column])
        if text is None:
            raise ConfigError(
                f"column {column!r} of {plan.path.name} is of type {frame.schema[column]}: not a key",
                passing=True,
            )
        keys.append(text.alias(key_name(index)))
    table = frame.select(
        *keys,
        *(pl.col(column).alias(value_name(field)) for field, column in plan.add.items()),
        pl.lit(value=True).alias(HIT),
    )
    return _unique(table, plan)


def _read(plan: TablePlan) -> pl.DataFrame:
    form = FORMATS.get(plan.path.suffix.lower())
    if form is None:
        raise ConfigError(f"{plan.path.name} is no table: its name must end in {', '.join(sorted(FORMATS))}")
    try:
        if form == "parquet":
            return pl.read_parquet(plan.path)
        if form == "ndjson":
            return pl.read_ndjson(plan.path, infer_schema_length=None)
        return pl.read_csv(
            plan.path,
            separator="\t" if form == "tsv" else ",",
            infer_schema_length=None,
            schema_overrides=dict.fromkeys(plan.keys, pl.String),  # "007" stays what it is
            null_values=list(plan.null_values),
        )
    except FileNotFoundError:
        raise ConfigError(f"no table at {plan.path}", passing=True) from None
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"cannot read {plan.path}: {reason}", passing=True) from None


def _unique(table: pl.DataFrame, plan: TablePlan) -> pl.DataFrame:
    keys = [key_name(index) for index in range(len(plan.keys))]
    table = table.filter(pl.all_horizontal(pl.col(keys).is_not_null()))
    if plan.duplicates != "refuse":
        keep = "first" if plan.duplicates == "first" else "last"
        return table.unique(keys, keep=keep, maintain_order=True)  # type: ignore[arg-type]
    again = table.select(pl.struct(keys).is_duplicated()).to_series()
    if not again.any():
        return table
    key = table.filter(again).select(keys).row(0)
    same = pl.all_horizontal([pl.col(name) == value for name, value in zip(keys, key, strict=True)])
    first, second = table.select(pl.arg_where(same)).to_series().to_list()[:2]
    shown = ", ".join(f"{name}={value}" for name, value in zip(plan.keys, key, strict=True))
    raise ConfigError(
        f"{plan.path.name} has {shown} twice, in rows {first + 1} and {second + 1}; "
        "say duplicates: first or last if that is meant",
        passing=True,
    )
