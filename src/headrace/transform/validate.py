"""Check fields against declared rules; a record that breaks one is rejected with the first it broke.

Types come from the index unless a rule names one, and values that can become their field's type without
loss do (see `headrace.fields.cast`). One vectorised pass; details are built for the failing records only.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import polars as pl

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.fields import Field, FieldType, cast, named, parse_field
from headrace.model import RECORD, RESERVED, Rejection
from headrace.transform._rules import Check, Rule, checks
from headrace.transform.base import Outcome, TransformContext

Settings: TypeAlias = Annotated[
    dict[str, Rule], msgspec.Meta(min_length=1, description="Field names and the rules for their values.")
]

examples = (
    {"dep_delay": {"min": -120, "max": 2000}, "origin": {"one_of": ["JFK", "LGA", "EWR"]}},
    {"email": {"type": "keyword", "required": True, "format": "email"}},
)

_FAILED = "_headrace_failed"
_SHOWN_CHARS = 80


def create(settings: dict[str, Rule], context: TransformContext) -> Validate:
    return Validate(settings, context)


class Validate:
    """Applies the rules in the order they are declared."""

    def __init__(self, rules: dict[str, Rule], context: TransformContext) -> None:
        self._step = context.step
        self._rules = rules
        self._fields = {name: _declared(name, rule, context) for name, rule in rules.items()}
        self._checks = {
            name: _checked(name, rules[name], field) for name, field in self._fields.items() if field
        }

    def bind(self, schema: pl.Schema) -> pl.Schema:
        bound = dict(schema)
        for name, rule in self._rules.items():
            field = self._fields[name] or _inferred(name, schema)
            self._fields[name] = field
            self._checks[name] = _checked(name, rule, field)
            bound[name] = field.dtype or bound.get(name, pl.Null())
        return pl.Schema(bound)

    def apply(self, frame: pl.DataFrame) -> Outcome:
        given = _with_missing(frame, self._fields)
        converted = given.with_columns_seq(
            [self._converted(name, given.schema[name]) for name in self._rules]
        )
        plan = [(name, check) for name in self._rules for check in self._checks[name]]
        failed = self._lost(given, converted)
        if plan:
            failed |= converted.select(_any([check.failing for _, check in plan])).to_series()
        if not failed.any():
            return Outcome(converted)
        rejected = self._rejections(given.filter(failed), converted.filter(failed), plan)
        return Outcome(converted.filter(~failed), rejected)

    def close(self) -> None: ...

    def _converted(self, name: str, dtype: pl.DataType) -> pl.Expr:
        field = self._fields[name]
        assert field is not None, "bound before applied"
        coerce = self._rules[name].coerce
        if coerce is False and field.kind is not FieldType.JSON and not _same(dtype, field):
            return pl.when(named(name).is_null()).then(pl.lit(None, dtype=field.dtype)).alias(name)
        return cast(name, dtype, field, coerce=bool(coerce))

    def _lost(self, given: pl.DataFrame, converted: pl.DataFrame) -> pl.Series:
        """Rows in which a value could not become its field's type."""
        lost = pl.repeat(value=False, n=given.height, dtype=pl.Boolean, eager=True)
        for name in self._rules:
            if converted[name].null_count() != given[name].null_count():
                lost |= converted[name].is_null() & given[name].is_not_null()
        return lost

    def _rejections(
        self, given: pl.DataFrame, converted: pl.DataFrame, plan: list[tuple[str, Check]]
    ) -> tuple[Rejection, ...]:
        flags = [converted.select(check.failing.fill_null(value=False)).to_series() for _, check in plan]
        found: list[Rejection] = []
        for row, record in enumerate(given[RECORD]):
            broken = [entry for entry, flag in zip(plan, flags, strict=True) if flag[row]]
            reason, detail = self._verdict(given, converted, row, broken)
            found.append(Rejection(record, self._step, reason, detail))
        return tuple(found)

    def _verdict(
        self, given: pl.DataFrame, converted: pl.DataFrame, row: int, broken: list[tuple[str, Check]]
    ) -> tuple[str, str]:
        """Reason and detail of the first rule broken, in declared order; a wrong type comes first."""
        for name in self._rules:
            value = given[name][row]
            if value is not None and converted[name][row] is None:
                field = self._fields[name]
                assert field is not None, "bound before applied"
                expected = field.type + ("[]" if field.array else "")
                return "wrong_type", f"{name}: found {_shown(value)}, expected {expected}"
            for of, check in broken:
                if of == name:
                    return check.reason, f"{name}: found {_shown(value)}, expected {check.expected}"
        raise AssertionError("a failing row has a broken rule")


def _declared(name: str, rule: Rule, context: TransformContext) -> Field | None:
    if name in RESERVED:
        raise ConfigError(f"the field name {name!r} belongs to headrace", path=(name,))
    if rule.type is None:
        return context.fields.get(name)
    try:
        return parse_field(rule.type)
    except ConfigError as error:
        raise error.inside(name, "type") from None


def _checked(name: str, rule: Rule, field: Field) -> list[Check]:
    try:
        return checks(name, rule, field)
    except ConfigError as error:
        raise error.inside(name) from None


def _inferred(name: str, schema: pl.Schema) -> Field:
    """The field as the sample has it, where neither rule nor index says a type."""
    if name not in schema:
        known = [column for column in schema if column != RECORD]
        raise ConfigError(
            f"unknown field {name!r}, {suggest(name, known)}; a field that only some records have needs "
            f"its type here: {name}: {{type: keyword}}",
            path=(name,),
        )
    dtype = schema[name]
    if isinstance(dtype, (pl.List, pl.Array)):
        return Field(_kind(pl.Series(dtype=dtype.inner).dtype).value, array=True)
    return Field(_kind(dtype).value)


def _kind(dtype: pl.DataType) -> FieldType:
    if dtype.is_unsigned_integer():
        return FieldType.UNSIGNED
    if dtype.is_integer():
        return FieldType.INTEGER
    if dtype.is_numeric():
        return FieldType.FLOAT
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return FieldType.DATE
    by_type = {pl.Boolean: FieldType.BOOLEAN, pl.String: FieldType.KEYWORD}
    return by_type.get(type(dtype), FieldType.JSON)


def _same(dtype: pl.DataType, field: Field) -> bool:
    """Whether values are of the field's own kind as they stand (`coerce: false` takes no others)."""
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if isinstance(inner, pl.Null) or (isinstance(dtype, pl.List) and not field.array):
        return True  # cast decides
    own = _kind(inner if isinstance(inner, pl.DataType) else inner())
    text = {FieldType.TEXT, FieldType.KEYWORD, FieldType.IP, FieldType.DATE}
    whole = {FieldType.INTEGER, FieldType.UNSIGNED}
    if own is FieldType.KEYWORD:
        return field.kind in text
    return own is field.kind or (own in whole and field.kind in whole)


def _with_missing(frame: pl.DataFrame, fields: dict[str, Field | None]) -> pl.DataFrame:
    missing = [
        pl.lit(None, dtype=field.dtype if field else None).alias(name)
        for name, field in fields.items()
        if name not in frame.columns
    ]
    return frame.with_columns(missing) if missing else frame


def _any(failing: list[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal([check.fill_null(value=False) for check in failing]).alias(_FAILED)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
