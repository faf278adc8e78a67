"""Frames → the engine's JSON, column by column: Python never sees a value.

What the engine must never be given is taken out here: nulls (refused), values of another type than declared
(some are refused, an integer in a date field kills the writer later), numbers that are not finite. A value
that cannot become its declared type goes to the dynamic pair under the same path, or its row is rejected,
as `dynamic` says. NaN is a missing value everywhere: JSON has no other name for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Final

import polars as pl

from headrace.fields import Field, FieldType, cast, located, named, without
from headrace.index.tantivy.columns import adapted, copied, leftover, place
from headrace.index.tantivy.isodates import with_iso_dates
from headrace.index.tantivy.jsontext import object_text, plain
from headrace.index.tantivy.originals import Originals, source_text
from headrace.index.tantivy.schema import DYNAMIC, DYNAMIC_TEXT, ID, SOURCE, EngineSchema
from headrace.model import RECORD, RESERVED, Rejection

ORDINAL: Final = "_ordinal"
BODY: Final = "_body"

LONGEST_ID: Final = 512
"""Bytes. Past 65,530 the engine stores an id without indexing it: an upsert would double the record."""

ID_SEPARATOR: Final = "|"

STAGE: Final = "index"

UNKNOWN: Final = Originals()

_AS_THEY_ARE: Final = {
    FieldType.TEXT,
    FieldType.KEYWORD,
    FieldType.INTEGER,
    FieldType.UNSIGNED,
    FieldType.BOOLEAN,
}
"""Kinds whose values are fit for the engine whenever the frame's type is the declared one."""

_MOMENT: Final = (
    r"^(167[89]|16[89][0-9]|1[7-9][0-9]{2}|2[01][0-9]{2}|22[0-5][0-9])-"
    r"((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z$"
)
"""Moments in UTC that are there for certain; a leap day is not among them, and costs no more than a cast."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows ready for the engine, and those that are not.

    frame:     RECORD, ORDINAL, `_id` (null where it is to be derived), `_source` and `_body` as JSON texts;
               `_body` is null where `_source` serves as well
    conflicts: per declared field, how many values went to the dynamic pair instead
    """

    frame: pl.DataFrame
    rejections: tuple[Rejection, ...] = ()
    conflicts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Rows that cannot be indexed: where, the reason's code, and the column that shows why."""

    where: pl.Series
    reason: str
    expected: str
    found: pl.Series


@dataclass(frozen=True)
class RowFormat:
    """How frames become rows of one index."""

    schema: EngineSchema
    key: tuple[str, ...]
    dynamic: str

    @cached_property
    def _adapting(self) -> dict[str, Field]:
        """Columns whose values are indexed otherwise than they are kept."""
        return {
            name: declared
            for name in self.schema.columns
            if (declared := self.schema.fields[name]).normalizer or declared.ignore_above
        }

    @cached_property
    def _copying(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema.columns if self.schema.fields[name].copies)

    @cached_property
    def _taken(self) -> dict[str, bool]:
        """Paths of documents that the dynamic pair never has, each with whether it may lie in lists."""
        own = (name for name in self.schema.columns if self.schema.fields[name].of is None)
        return {name: self.schema.fields[name].many for name in [*own, *self.schema.kept]}

    def render(self, frame: pl.DataFrame, originals: Originals = UNKNOWN) -> Rows:
        """The rows of a frame that has RECORD and ORDINAL; those that are still as they were sent stay so."""
        user = _without_nan(without(frame, RECORD, ORDINAL))
        kept = originals.kept(frame[RECORD], user)
        raw = self._declared(user)
        moments = {name for name in raw.columns if self._is_moment_text(raw[name])}
        typed, failed = self._typed(raw, moments)
        indexed = adapted(typed, self._adapting)
        unknown = self._unknown(user)
        ids = self._ids(user, typed)
        refusals = [
            *self._reserved(user),
            *(self._missing_ids(user, ids) if ids is not None else ()),
            *self._wrong_types(raw, failed),
            *self._unknown_fields(unknown),
        ]
        source = source_text(user, frame.height, kept)
        body = None
        if not self._shareable(user, raw, failed, moments):
            body = self._body(frame.height, raw, indexed, failed, unknown)
        elif kept is not None and not kept.plain:
            body = object_text(user, frame.height)
        empty = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
        rows = pl.DataFrame(
            {
                RECORD: frame[RECORD],
                ORDINAL: frame[ORDINAL],
                ID: empty if ids is None else ids,
                SOURCE: source,
                BODY: empty if body is None else body,
            }
        )
        conflicts = (
            {name: int(where.sum()) for name, where in failed.items()} if self.dynamic == "true" else {}
        )
        return Rows(*_refuse(rows, refusals), conflicts)

    def _declared(self, user: pl.DataFrame) -> pl.DataFrame:
        """The columns with an engine field of their own, nested ones brought up, by their declared name."""
        fields = self.schema.fields
        found = ((name, place(user.schema, name, fields[name])) for name in self.schema.columns)
        declared = user.select_seq(value[0].alias(name) for name, value in found if value is not None)
        copies = (copied(user, name, fields[name]) for name in self._copying)
        return declared.with_columns_seq(each for each in copies if each is not None)

    def _typed(
        self, raw: pl.DataFrame, moments: AbstractSet[str]
    ) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
        """Values as their declared types, and per field where that failed; `moments` are fit as texts."""
        typed = raw.with_columns_seq(
            cast(name, dtype, self.schema.fields[name], coerce=False)
            for name, dtype in raw.schema.items()
            if name not in moments and not _fits(dtype, self.schema.fields[name])
        )
        failed = {
            name: raw[name].is_not_null() & typed[name].is_null()
            for name in raw.columns
            if typed[name].null_count() > raw[name].null_count()
        }
        return typed, failed

    def _is_moment_text(self, values: pl.Series) -> bool:
        """Whether these are dates in a form that the engine reads as we would, and that no id is made of."""
        declared = self.schema.fields[values.name]
        return (
            declared.kind is FieldType.DATE
            and not declared.format
            and isinstance(values.dtype, pl.String)
            and values.name not in self.key
            and values.str.contains(_MOMENT).all()
        )

    def _unknown(self, user: pl.DataFrame) -> pl.DataFrame:
        """What has no engine field of its own, by path (a dot in a key is a path to the engine)."""
        leaves: dict[str, pl.Expr] = {}
        for name, dtype in user.schema.items():
            for path, value in leftover(name, named(name), dtype, self._taken):
                leaves.setdefault(path, value.alias(path))
        return user.select_seq(leaves.values()) if leaves else pl.DataFrame()

    def _ids(self, user: pl.DataFrame, typed: pl.DataFrame) -> pl.Series | None:
        if not self.key:
            return None
        parts = [_id_part(user, typed, name) for name in self.key]
        if len(parts) == 1:
            return parts[0]
        # Escaped, so that ("a|b", "c") and ("a", "b|c") stay two ids.
        escaped = [
            part.str.replace_all("\\", "\\\\", literal=True).str.replace_all(
                ID_SEPARATOR, f"\\{ID_SEPARATOR}", literal=True
            )
            for part in parts
        ]
        columns = pl.DataFrame([part.alias(str(number)) for number, part in enumerate(escaped)])
        return columns.select(pl.concat_str(pl.all(), separator=ID_SEPARATOR)).to_series()

    def _missing_ids(self, user: pl.DataFrame, ids: pl.Series) -> Iterator[_Refusal]:
        missing = ids.is_null() | (ids == "")
        key = ", ".join(self.key)
        if missing.any():
            present = [name for name in user.columns if name in self.key]
            found = user.select(
                pl.struct([named(name) for name in present]) if present else pl.lit("nothing")
            ).to_series()
            yield _Refusal(missing, "missing_id", f"{key}: a value to make the id of", _tall(found, user))
        length = ids.str.len_bytes()
        long = (length > LONGEST_ID).fill_null(value=False)
        if long.any():
            yield _Refusal(long, "id_too_long", f"{key}: at most {LONGEST_ID} bytes", length)

    def _wrong_types(self, raw: pl.DataFrame, failed: Mapping[str, pl.Series]) -> Iterator[_Refusal]:
        if self.dynamic == "true":
            return
        for name, where in failed.items():
            declared = self.schema.fields[name]
            if declared.ignore_malformed:
                continue
            kind = f"{declared.type}[]" if declared.array else declared.type
            yield _Refusal(where, "wrong_type", f"{name}: {kind}", raw[name])

    def _unknown_fields(self, unknown: pl.DataFrame) -> Iterator[_Refusal]:
        if self.dynamic != "strict":
            return
        for name in unknown.columns:
            inside = _declared_inside(name, self.schema.fields)
            if not inside and unknown[name].null_count() < unknown.height:
                where = unknown[name].is_not_null()
                # Few: a record has one that is near, and a detail is no place for hundreds of names.
                known = get_close_matches(name, self.schema.fields, n=1)
                near = f" (did you mean {known[0]!r}?)" if known else ""
                expected = f"only declared fields (dynamic: strict), not {name!r}{near}"
                yield _Refusal(where, "unknown_field", expected, unknown[name])

    @staticmethod
    def _reserved(user: pl.DataFrame) -> Iterator[_Refusal]:
        for name in RESERVED.intersection(user.columns):
            where = user[name].is_not_null()
            yield _Refusal(where, "reserved_field", f"{name}: a name of ours", user[name])

    def _shareable(
        self,
        user: pl.DataFrame,
        raw: pl.DataFrame,
        failed: Mapping[str, pl.Series],
        moments: AbstractSet[str],
    ) -> bool:
        """Whether `_source` is just what the engine is to index: one rendering less."""
        return (
            not failed
            and set(user.columns) == set(raw.columns)
            and all(self.schema.columns[name] == name for name in raw.columns)
            and self._adapting.keys().isdisjoint(raw.columns)
            and all(
                name in moments
                or (dtype == self.schema.fields[name].dtype and not isinstance(dtype, pl.List))
                for name, dtype in raw.schema.items()
            )
        )

    def _body(
        self,
        height: int,
        raw: pl.DataFrame,
        typed: pl.DataFrame,
        failed: Mapping[str, pl.Series],
        unknown: pl.DataFrame,
    ) -> pl.Series:
        lists = [name for name, dtype in typed.schema.items() if isinstance(dtype, pl.List)]
        columns = typed.with_columns(named(name).list.drop_nulls() for name in lists).rename(
            self.schema.columns, strict=False
        )
        dynamic = self._dynamic(raw, failed, unknown)
        text = object_text(columns, height)
        if dynamic is None:
            return text
        dated = with_iso_dates(dynamic) if self.schema.iso_dates else dynamic
        return _joined(text, object_text(dated, height))

    def _dynamic(
        self, raw: pl.DataFrame, failed: Mapping[str, pl.Series], unknown: pl.DataFrame
    ) -> pl.DataFrame | None:
        """What both fields of the dynamic pair get; None where they stay away."""
        if self.dynamic != "true":
            unknown = unknown.select(
                name for name in unknown.columns if _declared_inside(name, self.schema.fields)
            )
            failed = {}
        conflicts = [
            raw.select(pl.when(where).then(named(name)).alias(name)).to_series()
            for name, where in failed.items()
        ]
        columns = unknown.with_columns(conflicts) if unknown.width else pl.DataFrame(conflicts)
        return columns if columns.width else None


def _fits(dtype: pl.DataType, declared: Field) -> bool:
    if declared.kind not in _AS_THEY_ARE:
        return False
    own = declared.dtype
    return dtype == own or (declared.many and own is not None and dtype == pl.List(own))


def _declared_inside(path: str, fields: Mapping[str, Field]) -> bool:
    """Whether a path is a declared field without engine column (json, degraded), or inside one."""
    parts = path.split(".")
    return any(".".join(parts[:end]) in fields for end in range(1, len(parts) + 1))


def _without_nan(frame: pl.DataFrame) -> pl.DataFrame:
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    lists = [
        named(name).list.eval(pl.element().fill_nan(None))
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List) and dtype.inner.is_float()
    ]
    if not floats and not lists:
        return frame
    return frame.with_columns_seq(*(named(name).fill_nan(None) for name in floats), *lists)


def _id_part(user: pl.DataFrame, typed: pl.DataFrame, name: str) -> pl.Series:
    """One key field as text; null where there is none, or where it is no scalar."""
    found = located(user.schema, name)
    if found is None:
        return pl.Series([None], dtype=pl.String).new_from_index(0, user.height)
    given = _scalar_text(user.select(found[0].alias(name)).to_series())
    if name not in typed.columns or typed[name].dtype == user.schema.get(name):
        return given
    # A declared key has one spelling, whatever type a record gave it in: as typed where that is possible.
    canonical = _scalar_text(typed[name])
    return pl.select(pl.coalesce(canonical, given)).to_series()


def _scalar_text(values: pl.Series) -> pl.Series:
    if values.dtype.is_nested() or isinstance(values.dtype, pl.Binary):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(values))
    text = values.to_frame("id").select(plain(pl.col("id"), values.dtype).cast(pl.String))
    return text.to_series()


def _joined(text: pl.Series, dynamic: pl.Series) -> pl.Series:
    """The object with the dynamic pair put in front of its fields."""
    frame = pl.DataFrame({"text": text, "dynamic": dynamic})
    rest = pl.when(pl.col("text") == "{}").then(pl.lit("}")).otherwise("," + pl.col("text").str.slice(1))
    pair = [pl.lit(f'{{"{DYNAMIC}":'), "dynamic", pl.lit(f',"{DYNAMIC_TEXT}":'), "dynamic", rest]
    return frame.select(pl.concat_str(pair).alias(BODY)).to_series()


def _tall(values: pl.Series, frame: pl.DataFrame) -> pl.Series:
    return values if len(values) == frame.height else values.new_from_index(0, frame.height)


def _refuse(rows: pl.DataFrame, refusals: Sequence[_Refusal]) -> tuple[pl.DataFrame, tuple[Rejection, ...]]:
    """Take refused rows out; the first reason of each is told."""
    told: dict[int, Rejection] = {}
    for refusal in refusals:
        for row in refusal.where.arg_true():
            if row not in told:
                told[row] = Rejection(
                    record=rows[RECORD][row],
                    ordinal=rows[ORDINAL][row],
                    stage=STAGE,
                    reason=refusal.reason,
                    detail=f"expected {refusal.expected}; found {str(refusal.found[row])[:200]!r}",
                )
    if not told:
        return rows, ()
    kept = rows.with_row_index("_row").filter(~pl.col("_row").is_in(list(told))).drop("_row")
    return kept, tuple(told[row] for row in sorted(told))
