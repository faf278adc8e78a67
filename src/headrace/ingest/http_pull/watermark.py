"""The highest value of a field, and how far to go back from it.

Values are numbers, or texts: ISO 8601 dates are compared as moments, other texts as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from headrace.core.errors import Fatal
from headrace.ingest.http_pull.options import Watermark
from headrace.units import Duration

Mark: TypeAlias = str | int | float


def highest(options: Watermark, known: Mark | None, values: Iterable[Any]) -> Mark | None:
    """The highest of what was known and these. Raises Fatal where they cannot be compared."""
    high = known
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Fatal(
                f"watermark field {options.field!r} holds {value!r}: expected a number, or a date as text"
            )
        if high is not None and isinstance(value, str) != isinstance(high, str):
            raise Fatal(f"watermark field {options.field!r} holds both text and numbers: {high!r}, {value!r}")
        if high is None or _key(value) > _key(high):
            high = value
    return high


def back(options: Watermark, high: Mark | None) -> Mark | None:
    """What to ask for next: `high`, less the overlap."""
    if high is None:
        return options.initial
    if not options.overlap:
        return high
    if not isinstance(high, str):
        if isinstance(options.overlap, str):
            raise Fatal(
                f"watermark field {options.field!r} holds numbers ({high}): write `overlap` as a number"
            )
        return high - options.overlap
    moment = _moment(high)
    if moment is None or not isinstance(options.overlap, str):
        raise Fatal(
            f"watermark field {options.field!r} holds {high!r}: an `overlap` needs dates and a duration "
            "(`5m`), or numbers"
        )
    return (moment - timedelta(seconds=Duration(options.overlap))).isoformat().replace("+00:00", "Z")


def _key(value: Mark) -> tuple[int, Any]:
    """Dates before and apart from other texts, so that any two values compare."""
    if not isinstance(value, str):
        return 0, value
    moment = _moment(value)
    return (0, moment) if moment is not None else (1, value)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
