"""What `validate` can demand of a field, as boolean expressions that are true where it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import polars as pl
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.fields import IP, IPV4, IPV6, POLARS_TYPES, Field, FieldType, cast, from_iso, named

Scalar = bool | int | float | str
Characters = Annotated[int, Meta(ge=0)]
Values = Annotated[list[Scalar], Meta(min_length=1)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one field must be; of an array, what each of its values must be."""

    type: Annotated[
        str | dict[str, bool | str] | None, Meta(description="Field type; the index's own if not given.")
    ] = None
    required: Annotated[bool, Meta(description="Reject records without a value.")] = False
    min: Annotated[int | float | str | None, Meta(description="Least number or date allowed.")] = None
    max: Annotated[int | float | str | None, Meta(description="Greatest number or date allowed.")] = None
    length: Annotated[Characters | None, Meta(description="Exact number of characters.")] = None
    min_length: Annotated[Characters | None, Meta(description="Least number of characters.")] = None
    max_length: Annotated[Characters | None, Meta(description="Greatest number of characters.")] = None
    pattern: Annotated[
        str | None, Meta(description="Regular expression found somewhere in the text; `^…$` for all of it.")
    ] = None
    one_of: Annotated[Values | None, Meta(description="The values allowed.")] = None
    format: Annotated[
        Literal["email", "uri", "uuid", "ip", "ipv4", "ipv6", "date", "date-time", "hostname"] | None,
        Meta(description="A well-known form of text."),
    ] = None
    coerce: Annotated[
        bool | None,
        Meta(
            description="true: also read numbers and booleans from text; false: take no other type at all; "
            "not given: convert only what loses nothing."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Check:
    """`failing` is true where the rule is broken; `expected` says what the rule wants."""

    reason: str
    failing: pl.Expr
    expected: str


_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = rf"{_LABEL}(\.{_LABEL})*"
_PATTERNS: Final = {
    # RFC 5321 dot-atom addresses; quoted local parts are not taken.
    "email": rf"^[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*@{_HOST}$",
    # RFC 3986: a scheme and only characters that may stand in a URI.
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$",
    "uuid": r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
    "ip": IP,
    "ipv4": IPV4,
    "ipv6": IPV6,
    "hostname": rf"^{_HOST}$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    # RFC 3339: a full date and time with its zone.
    "date-time": r"^[0-9-]{10}[Tt ][0-9:]{8}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
}
_MOST_CHARS: Final = {"hostname": 253, "email": 254}
_ORDERED: Final = {FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT, FieldType.DATE}
_TEXTS: Final = {FieldType.TEXT, FieldType.KEYWORD, FieldType.IP}


def checks(name: str, rule: Rule, field: Field) -> list[Check]:
    """The checks of one field in the order of their codes; raises ConfigError for a rule that cannot be."""
    _check_fit(rule, field)
    found: list[Check] = []

    def add(reason: str, expected: str, broken: Callable[[pl.Expr], pl.Expr]) -> None:
        column = named(name)
        each = column.list.eval(broken(pl.element())).list.any() if field.array else broken(column)
        found.append(Check(reason, each, expected))

    if rule.required:
        found.append(Check("missing_field", named(name).is_null(), "a value"))
    if rule.min is not None:
        least = _literal(rule.min, field, "min")
        add("below_min", f"at least {rule.min}", lambda value: value < least)
    if rule.max is not None:
        most = _literal(rule.max, field, "max")
        add("above_max", f"at most {rule.max}", lambda value: value > most)
    _add_lengths(rule, add)
    if rule.pattern is not None:
        pattern = _compiled(rule.pattern)
        add("pattern_mismatch", f"a match of {pattern}", lambda value: ~value.str.contains(pattern))
    if rule.one_of is not None:
        allowed = pl.Series([_value(value, field, "one_of") for value in rule.one_of], dtype=_inner(field))
        one_of = ", ".join(str(value) for value in rule.one_of)
        add("not_allowed", f"one of {one_of}", lambda value: ~value.is_in(allowed.implode()))
    if rule.format is not None:
        form = rule.format
        add("bad_format", f"format {form}", lambda value: ~_of_format(value, form))
    return found


def _add_lengths(rule: Rule, add: Callable[[str, str, Callable[[pl.Expr], pl.Expr]], None]) -> None:
    least = rule.length if rule.length is not None else rule.min_length
    most = rule.length if rule.length is not None else rule.max_length
    if least is not None:
        add("too_short", f"at least {least} characters", lambda value: value.str.len_chars() < least)
    if most is not None:
        add("too_long", f"at most {most} characters", lambda value: value.str.len_chars() > most)


def _of_format(value: pl.Expr, form: str) -> pl.Expr:
    fits = value.str.contains(_PATTERNS[form])
    if form in _MOST_CHARS:
        return fits & (value.str.len_bytes() <= _MOST_CHARS[form])
    if form == "date":
        day = pl.when(fits).then(value).str.to_date("%Y-%m-%d", strict=False)
        return fits & (day.is_not_null() | value.is_null())
    if form == "date-time":
        moment = from_iso(pl.when(fits).then(value.str.to_uppercase()))
        return fits & (moment.is_not_null() | value.is_null())
    return fits


def _check_fit(rule: Rule, field: Field) -> None:
    """A rule that the field's type can never meet is a mistake in the settings."""
    ordered = [option for option in ("min", "max") if getattr(rule, option) is not None]
    textual = [
        option
        for option in ("length", "min_length", "max_length", "pattern", "format")
        if getattr(rule, option) is not None
    ]
    if ordered and field.kind not in _ORDERED:
        raise ConfigError(
            f"{ordered[0]} is for numbers and dates, not {field.type}; for lengths there are min_length "
            "and max_length",
            path=(ordered[0],),
        )
    if textual and field.kind not in _TEXTS:
        raise ConfigError(f"{textual[0]} is for texts, not {field.type}", path=(textual[0],))
    if rule.one_of is not None and field.kind is FieldType.JSON:
        raise ConfigError("one_of is not for json", path=("one_of",))
    if rule.length is not None and (rule.min_length is not None or rule.max_length is not None):
        raise ConfigError("length goes without min_length and max_length", path=("length",))
    _check_order(rule, field)


def _check_order(rule: Rule, field: Field) -> None:
    if rule.min_length is not None and rule.max_length is not None and rule.min_length > rule.max_length:
        raise ConfigError(f"min_length {rule.min_length} is above max_length {rule.max_length}")
    if rule.min is None or rule.max is None:
        return
    if _value(rule.min, field, "min") > _value(rule.max, field, "max"):
        raise ConfigError(f"min {rule.min} is above max {rule.max}")


def _compiled(pattern: str) -> str:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"not a regular expression: {text}", path=("pattern",)) from None
    return pattern


def _inner(field: Field) -> pl.DataType:
    return POLARS_TYPES[field.kind]


def _literal(bound: Scalar, field: Field, option: str) -> pl.Expr:
    """Of the field's type, but for a fraction as the bound of whole numbers."""
    if isinstance(bound, (int, float)) and not isinstance(bound, bool) and field.kind is not FieldType.DATE:
        return pl.lit(bound)
    return pl.lit(_value(bound, field, option), dtype=_inner(field))


def _value(value: Scalar, field: Field, option: str) -> Any:
    """The setting's value as the field would hold it."""
    if option in {"min", "max"} and field.kind is not FieldType.DATE:
        if isinstance(value, (int, float)):
            return value
        raise ConfigError(f"{option} {value!r} is not a number", path=(option,))
    scalar = msgspec.structs.replace(field, array=False)
    series = pl.Series("value", [value])
    converted = series.to_frame().select(cast("value", series.dtype, scalar, coerce=False)).item()
    if converted is None:
        raise ConfigError(f"{option}: {value!r} cannot be of type {field.type}", path=(option,))
    return converted
