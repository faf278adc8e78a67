"""Values of a query as the field's type has them; dates as whole microseconds since 1970.

A date given coarsely (`2024-05`) is the span of all its microseconds, so that `lte: 2024-05` includes May.
"""

from __future__ import annotations

import ipaddress
import math
import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query.tree import Scalar

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

INTEGERS: Final = {
    FieldType.INTEGER: (-(2**63), 2**63 - 1),
    FieldType.UNSIGNED: (0, 2**64 - 1),
}
DATES: Final = (-9_223_372_036_854_775, 9_223_372_036_854_775)
"""Microseconds the engine's nanoseconds can hold: 1677 to 2262."""

DATE_FORMATS: Final = (
    "strict_date_optional_time",
    "date_optional_time",
    "strict_date_optional_time_nanos",
    "strict_date_time",
    "date_time",
    "strict_date",
    "date",
    "yyyy-MM-dd",
    "epoch_millis",
    "epoch_second",
)

_DATE: Final = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)([Tt ](?P<hour>\d\d)(:(?P<minute>\d\d)"
    r"(:(?P<second>\d\d)([.,](?P<fraction>\d{1,9}))?)?)?(?P<zone>[Zz]|[+-]\d\d:?\d\d)?)?)?)?"
)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def refuse(field: str, kind: str, value: object, why: str = "") -> NoReturn:
    """Raise what Elasticsearch answers to a value its field cannot hold."""
    reason = f"failed to create query: field [{field}] of type [{kind}] cannot take the value [{value}]"
    raise RequestError(400, "query_shard_exception", f"{reason}: {why}" if why else reason)


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def number(text: str) -> int | float:
    """A number as written: an integer where it is one."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def as_number(field: str, kind: FieldType, value: Scalar) -> int | float:
    """The number a numeric field is asked for. Raises RequestError where it is none."""
    if isinstance(value, bool):
        refuse(field, kind, value)
    if isinstance(value, str):
        if not is_number(value.strip()):
            refuse(field, kind, value, "not a number")
        value = number(value.strip())
    if isinstance(value, float) and not math.isfinite(value):
        refuse(field, kind, value, "not a finite number")
    return value


def as_integer(field: str, kind: FieldType, value: Scalar) -> int | None:
    """The integer asked for; None where no integer of the field's type equals it (1.5, 2**70)."""
    found = as_number(field, kind, value)
    low, high = INTEGERS[kind]
    if isinstance(found, float) and not found.is_integer():
        return None
    return int(found) if low <= found <= high else None


def as_boolean(field: str, value: Scalar) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    refuse(field, FieldType.BOOLEAN, value, "only [true] or [false] are allowed")


def as_text(value: Scalar) -> str:
    """A value as a keyword holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_ip_span(field: str, value: Scalar) -> tuple[str, str]:
    """First and last address of an address or a network (`10.0.0.0/8`)."""
    try:
        network = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        refuse(field, FieldType.IP, value, "not an IP address or network")
    return str(network[0]), str(network[-1])


def as_date_span(field: str, value: Scalar, format: str | None = None) -> tuple[int, int]:  # noqa: A002
    """First and last microsecond of a date as given. Raises RequestError where it is none."""
    names = format.split("||") if format else []
    for name in names:
        if name not in DATE_FORMATS:
            supported = ", ".join(DATE_FORMATS)
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"unknown date format [{name}] for field [{field}]; supported: {supported}",
            )
    if isinstance(value, bool):
        refuse(field, FieldType.DATE, value)
    if isinstance(value, str) and (match := _DATE.fullmatch(value.strip())) and not _only_epoch(names):
        return _span(field, value, match)
    if isinstance(value, str) and not is_number(value):
        why = "date math is not supported" if value.startswith("now") or "||" in value else "not a date"
        refuse(field, FieldType.DATE, value, f"{why}; use ISO 8601 or milliseconds since 1970")
    scale = 1_000_000 if "epoch_second" in names else 1_000
    moment = number(value) if isinstance(value, str) else value
    if isinstance(moment, float) and not math.isfinite(moment):
        refuse(field, FieldType.DATE, value)
    micros = moment * scale if isinstance(moment, int) else round(moment * scale)
    return micros, micros


def _only_epoch(names: list[str]) -> bool:
    return bool(names) and all(name.startswith("epoch_") for name in names)


def _span(field: str, value: str, match: re.Match[str]) -> tuple[int, int]:
    part = {name: int(text) for name, text in match.groupdict().items() if text and text.isdigit()}
    fraction = (match["fraction"] or "").ljust(6, "0")[:6]
    try:
        start = datetime(
            part["year"],
            part.get("month", 1),
            part.get("day", 1),
            part.get("hour", 0),
            part.get("minute", 0),
            part.get("second", 0),
            int(fraction),
            tzinfo=UTC,
        )
    except ValueError as error:
        refuse(field, FieldType.DATE, value, str(error))
    first = to_micros(start) - _zone(match["zone"])
    return first, first + _width(start, part) - 1


def _zone(text: str | None) -> int:
    if text is None or text in "Zz":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return (minutes if text[0] == "+" else -minutes) * 60_000_000


def _width(start: datetime, part: dict[str, int]) -> int:
    """Microseconds a date given this coarsely stands for; a full second is one instant."""
    if "second" in part:
        return 1
    if "minute" in part:
        return 60_000_000
    if "hour" in part:
        return 3_600_000_000
    days = 1 if "day" in part else monthrange(start.year, start.month)[1]
    if "month" not in part:
        days = 366 if monthrange(start.year, 2)[1] == 29 else 365
    return days * 86_400_000_000


def to_micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def to_datetime(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def iso(micros: int) -> str:
    """A date in ISO 8601 and UTC: milliseconds, or microseconds where there are any."""
    moment = to_datetime(micros)
    spec = "microseconds" if micros % 1000 else "milliseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=spec) + "Z"
