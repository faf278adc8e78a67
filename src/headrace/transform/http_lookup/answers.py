"""What the service said of a key, values in the added fields' types, and the cache that remembers it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import polars as pl

from headrace.core.errors import Retryable
from headrace.fields import Field, cast
from headrace.model import Json
from headrace.transform.http_lookup.options import ENTRY_BYTES, CacheSettings

Key: TypeAlias = tuple[str, ...]
"""The key fields of a record, as text."""


@dataclass(frozen=True, slots=True)
class Found:
    """Values of the added fields in their order, of their types, null where the answer has none."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """The service does not know the key."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer for this one key cannot be used, and asking again will not help."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The service could not be asked, or refuses to be asked at all."""

    error: Retryable


Answer: TypeAlias = Found | Missed | Refused | Unavailable

MISSED: Final = Missed()


def walk(value: Json, path: str) -> Json:
    """What lies at a dotted path, numbers counting in lists; null where nothing does."""
    for step in path.split(".") if path else ():
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def typed(
    items: Sequence[Json], paths: Mapping[str, str], fields: Mapping[str, Field]
) -> list[Found | Refused]:
    """The added fields of each item; refused where a value cannot become its field's type."""
    columns: list[list[Any]] = []
    bad: dict[int, Refused] = {}
    for name, path in paths.items():
        values = [walk(item, path) for item in items]
        converted = _converted(values, fields[name])
        columns.append(converted)
        for at, (given, made) in enumerate(zip(values, converted, strict=True)):
            if given is not None and made is None:
                expected = fields[name].type + ("[]" if fields[name].array else "")
                detail = f"{name}: the service answered {_shown(given)}, expected {expected}"
                bad.setdefault(at, Refused("lookup_wrong_type", detail))
    return [bad.get(at) or Found(values) for at, values in enumerate(zip(*columns, strict=True))]


def _converted(values: Sequence[Json], field: Field) -> list[Any]:
    """Each value as the field's type, by the one rule there is (`fields.cast`); null where it cannot be."""
    made: list[Any] = [None] * len(values)
    by_type: dict[pl.DataType, list[int]] = {}
    for at, value in enumerate(values):
        dtype = _dtype(value)
        if dtype is not None:
            by_type.setdefault(dtype, []).append(at)
    for dtype, places in by_type.items():
        column = pl.Series("value", [values[at] for at in places], dtype=dtype, strict=True).to_frame()
        converted = column.select(cast("value", dtype, field, coerce=True))["value"].to_list()
        for at, value in zip(places, converted, strict=True):
            made[at] = value
    return made


def _dtype(value: Json) -> pl.DataType | None:
    match value:
        case bool():
            return pl.Boolean()
        case int():
            if -(1 << 63) <= value < 1 << 63:
                return pl.Int64()
            return pl.UInt64() if 0 <= value < 1 << 64 else None
        case float():
            return pl.Float64()
        case str():
            return pl.String()
        case list():
            return _list(value)
    return None


def _list(values: list[Json]) -> pl.DataType | None:
    """Of one type, whole numbers counting as floats among floats; nulls and lists within cannot be."""
    inner = {_dtype(value) for value in values}
    if inner == {pl.Int64(), pl.Float64()}:
        return pl.List(pl.Float64())
    if not inner:
        return pl.List(pl.Null())
    only = inner.pop()
    return None if inner or only is None or isinstance(only, pl.List) else pl.List(only)


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


class Cache:
    """The least recently used keys go first, by number and by bytes; nothing is kept beyond its time."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._kept: OrderedDict[Key, tuple[float, int, Answer]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, now: float) -> Answer | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= now:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept[2]

    def put(self, key: Key, answer: Answer, now: float) -> None:
        if isinstance(answer, Unavailable):
            return
        self._forget(key)
        lasts = self._settings.ttl if isinstance(answer, Found) else self._settings.negative_ttl
        size = _size(key, answer)
        self._kept[key] = (now + lasts, size, answer)
        self.bytes += size
        while len(self._kept) > self._settings.size or self.bytes > self._settings.bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        if key in self._kept:
            self.bytes -= self._kept.pop(key)[1]


def _size(key: Key, answer: Answer) -> int:
    texts = [*key, *(str(value) for value in answer.values)] if isinstance(answer, Found) else [*key]
    # Four bytes a character at worst.
    return ENTRY_BYTES + 4 * sum(len(text) + 20 for text in texts)
