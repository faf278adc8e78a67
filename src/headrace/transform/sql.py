"""SQL expressions over a frame, one record's failure never touching another's.

The fast path evaluates the whole frame. Only when that fails is the frame halved, down to the records that
cannot be computed: one bad record in n costs O(log n) evaluations. Expressions are fenced
(`headrace.transform._fence`), so the halves give what the whole would have given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from headrace.core.errors import ConfigError
from headrace.fields import named
from headrace.model import RECORD, Rejection
from headrace.transform._fence import compile_expression, refuse_casts_of_text, unknown_field

DETAIL_CHARS: Final = 300
_ROW: Final = "_headrace_row"
_ENGINE_ERRORS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that has no result, and why."""

    row: int
    reason: str
    detail: str


@dataclass(slots=True)
class Evaluated:
    """Results of the rows that have one: `values` beside `rows`, their places in the frame, ascending."""

    values: pl.DataFrame
    failures: list[Failure] = field(default_factory=list)

    @property
    def rows(self) -> pl.Series:
        return self.values[_ROW]


class Program:
    """Named expressions, each seeing the results of those before it; compiled at once."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self._expressions: dict[str, pl.Expr] = {}
        for name, text in self.texts.items():
            try:
                self._expressions[name] = compile_expression(text)
            except ConfigError as error:
                raise error.inside(name) from None
        self._inputs: dict[str, pl.DataType] = {}
        self._outputs: dict[str, pl.DataType] = {}

    def bind(self, schema: pl.Schema) -> dict[str, pl.DataType]:
        """Try each expression on an empty frame; the types of the results, by name."""
        frame = pl.DataFrame(schema=schema)
        known = [name for name in schema if name != RECORD]
        self._inputs.clear()
        self._outputs.clear()
        for name, expression in self._expressions.items():
            for column in expression.meta.root_names():
                if column not in frame.columns:
                    raise unknown_field(self.texts[name], column, known).inside(name)
                if column in schema and column not in self._outputs:
                    self._inputs[column] = schema[column]
            try:
                refuse_casts_of_text(self.texts[name], expression, frame)
                frame = frame.with_columns(expression.alias(name))
            except ConfigError as error:
                raise error.inside(name) from None
            except _ENGINE_ERRORS as error:
                raise ConfigError(f"{words(error)} in {self.texts[name]!r}", path=(name,)) from None
            self._outputs[name] = frame.schema[name]
        return dict(self._outputs)

    def evaluate(self, frame: pl.DataFrame) -> Evaluated:
        """Results of the bound types for every row that has them, and failures for the others."""
        frame = frame.with_row_index(_ROW)
        other = [
            name
            for name, dtype in self._inputs.items()
            if frame.schema[name] != dtype and not isinstance(dtype, pl.Null)
        ]
        if not other:
            return self._finished(*self._attempt(frame))
        # A null has no type of its own: it is taken as the bound one, whatever its neighbours are.
        nulls = frame.select(pl.all_horizontal([named(name).is_null() for name in other])).to_series()
        as_bound = frame.filter(nulls).with_columns(
            [pl.lit(None, dtype=self._inputs[name]).alias(name) for name in other]
        )
        first = self._finished(*self._attempt(as_bound))
        second = self._finished(*self._attempt(frame.filter(~nulls)))
        return Evaluated(
            pl.concat([first.values, second.values]).sort(_ROW),
            sorted(first.failures + second.failures, key=lambda failure: failure.row),
        )

    def _run(self, frame: pl.DataFrame) -> pl.DataFrame:
        for name, expression in self._expressions.items():
            frame = frame.with_columns(expression.alias(name))
        return frame.select(_ROW, *self._expressions)

    def _attempt(self, frame: pl.DataFrame) -> tuple[list[pl.DataFrame], list[Failure]]:
        try:
            return [self._run(frame)], []
        except _ENGINE_ERRORS:
            typing = self._type_error(frame)
        if typing is None:
            return self._bisect(frame)
        return [], [Failure(row, "wrong_type", self._explain(typing)) for row in frame[_ROW]]

    def _bisect(self, frame: pl.DataFrame) -> tuple[list[pl.DataFrame], list[Failure]]:
        try:
            return [self._run(frame)], []
        except _ENGINE_ERRORS as error:
            if frame.height == 1:
                return [], [Failure(frame[_ROW][0], "bad_value", self._explain(words(error)))]
        half = frame.height // 2
        left, right = self._bisect(frame[:half]), self._bisect(frame[half:])
        return left[0] + right[0], left[1] + right[1]

    def _type_error(self, frame: pl.DataFrame) -> str | None:
        """The engine's words if these types can never be computed, whatever the values."""
        try:
            self._run(frame.clear())
        except _ENGINE_ERRORS as error:
            return words(error)
        return None

    def _explain(self, text: str) -> str:
        return f"{text} in {'; '.join(self.texts.values())!r}"[:DETAIL_CHARS]

    def _finished(self, parts: list[pl.DataFrame], failures: list[Failure]) -> Evaluated:
        empty = pl.DataFrame(schema={_ROW: pl.UInt32, **self._outputs})
        if not parts:
            return Evaluated(empty, failures)
        values = pl.concat(parts, how="vertical_relaxed")
        for name, dtype in self._outputs.items():
            values, typed = self._as_bound(values, name, dtype)
            values, finite = self._finite(values, name)
            failures += typed + finite
        failures.sort(key=lambda failure: failure.row)
        return Evaluated(values, failures)

    def _as_bound(
        self, values: pl.DataFrame, name: str, dtype: pl.DataType
    ) -> tuple[pl.DataFrame, list[Failure]]:
        """A result of another type than was bound passes where the bound type holds it exactly."""
        found = values.schema[name]
        if found == dtype or isinstance(dtype, pl.Null):
            return values, []
        column = named(name)
        if isinstance(found, pl.Null):
            return values.with_columns(column.cast(dtype)), []
        if found.is_numeric() and dtype.is_numeric():
            cast = column.cast(dtype, strict=False)
            exact = (cast.cast(found, strict=False) == column) & cast.is_not_null()
        else:
            cast, exact = pl.lit(None, dtype=dtype), pl.lit(value=False)
        bad = values.select(_ROW, name, bad=column.is_not_null() & ~exact)
        failures = [
            Failure(row, "wrong_type", f"{name}: {self.texts[name]!r} gave {value!r}, expected {dtype}")
            for row, value in bad.filter("bad").select(_ROW, name).iter_rows()
        ]
        return values.filter(~bad["bad"]).with_columns(cast.alias(name)), failures

    def _finite(self, values: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[Failure]]:
        if not values.schema[name].is_float():
            return values, []
        bad = ~values[name].is_finite().fill_null(value=True)
        if not bad.any():
            return values, []
        failures = [
            Failure(row, "bad_value", f"{name}: {self.texts[name]!r} gave {value}, which no index can hold")
            for row, value in values.filter(bad).select(_ROW, name).iter_rows()
        ]
        return values.filter(~bad), failures


def words(error: BaseException) -> str:
    """What the engine said, in one line."""
    return " ".join(str(error).split("\n\nThis error occurred")[0].split())[:DETAIL_CHARS]


def rejections(frame: pl.DataFrame, failures: list[Failure], stage: str) -> tuple[Rejection, ...]:
    """The failures as rejected records of the frame they came from."""
    records = frame[RECORD]
    return tuple(Rejection(records[f.row], stage, f.reason, f.detail) for f in failures)
