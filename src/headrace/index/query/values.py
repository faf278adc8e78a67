"""Values of a query as the field's type has them; dates are in `dates.py`."""

from __future__ import annotations

import ipaddress
import math
from typing import Final

from headrace.fields import FieldType
from headrace.index.query.dates import DATES, as_date, as_date_span, iso
from headrace.index.query.scalars import Unfit, is_number, number, refuse
from headrace.index.query.tree import Scalar
from headrace.index.query.zones import EPOCH, MICROSECOND, to_datetime, to_micros

__all__ = [
    "DATES", "EPOCH", "INTEGERS", "MICROSECOND", "Unfit", "as_boolean", "as_date", "as_date_span",
    "as_integer", "as_ip_span", "as_number", "as_text", "is_number", "iso", "number", "refuse",
    "to_datetime", "to_micros",
]  # fmt: skip

INTEGERS: Final = {
    FieldType.INTEGER: (-(2**63), 2**63 - 1),
    FieldType.UNSIGNED: (0, 2**64 - 1),
}


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
    return refuse(field, FieldType.BOOLEAN, value, "only [true] or [false] are allowed")


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
