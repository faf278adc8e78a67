"""The exact types of JSON values, and which records can share a frame without changing any of them.

A shape is a scalar's letter, ("list", shape) or ("object", ((key, shape), …)):
n null, b boolean, i integer that fits 64 bits signed, u one that fits only unsigned, f float, s string.
Null fits every shape; otherwise two shapes share a frame only if they are equal where both say something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

import polars as pl

from headrace.ingest.formats.base import Hints

Shape: TypeAlias = "str | tuple[str, Any]"

LARGEST_SIGNED: Final = 2**63 - 1
LARGEST_UNSIGNED: Final = 2**64 - 1
LARGEST_EXACT: Final = 2**53
EMPTY: Final[Shape] = ("object", ())

_TYPES: Final[dict[str, pl.DataType]] = {
    "n": pl.Null(),
    "b": pl.Boolean(),
    "i": pl.Int64(),
    "u": pl.UInt64(),
    "f": pl.Float64(),
    "s": pl.String(),
}


class Unsupported(Exception):
    """A value no column type holds exactly, such as a list of numbers and text."""


def coerced_shape(value: Any, hints: Hints) -> Shape:
    """The shape of an object with all scalars of the fields that coerce as texts; raises Unsupported.

    So a list of mixed scalars has one type; what each of them is, the index decides as for a single value.
    """
    return shape_of(value, hints, texts=getattr(hints, "coercing", frozenset()))


def shape_of(value: Any, hints: Hints, path: str = "", texts: AbstractSet[str] = frozenset()) -> Shape:
    """The shape of a decoded JSON value, scalars under the paths `texts` as texts; raises Unsupported."""
    kind = type(value)
    if path in texts and kind in (int, float, bool):
        return "s"
    if kind is str:
        return "s"
    if kind is int:
        return "f" if wants_float(hints, path) else _integer(value)
    if value is None:
        return "n"
    if kind is float:
        return "f"
    if kind is bool:
        return "b"
    if kind is dict:
        prefix = f"{path}." if path else ""
        return (
            "object",
            tuple([(key, shape_of(item, hints, prefix + key, texts)) for key, item in value.items()]),
        )
    return _list(value, hints, path, texts)


def wants_float(hints: Hints, path: str) -> bool:
    """Whether the destination declares a float at `path`, so that an integer is read as one."""
    hint = hints.get(path)
    return hint is not None and (hint == pl.Float64 or hint == pl.List(pl.Float64))


def _integer(value: int) -> str:
    if -LARGEST_SIGNED - 1 <= value <= LARGEST_SIGNED:
        return "i"
    return "u" if 0 < value <= LARGEST_UNSIGNED else "f"


def _list(values: list[Any], hints: Hints, path: str, texts: AbstractSet[str]) -> Shape:
    shapes = {shape_of(value, hints, path, texts) for value in values}
    numbers = {shape for shape in shapes if shape in ("i", "u", "f")}
    if len(numbers) > 1:
        shapes = (shapes - numbers) | {_mixed_numbers(values, path)}
    inner: Shape = "n"
    for shape in shapes:
        merged = unify(inner, shape)
        if merged is None:
            raise Unsupported(f"field {path!r}: a list that mixes {describe(inner)} and {describe(shape)}")
        inner = merged
    return ("list", inner)


def _mixed_numbers(values: list[Any], path: str) -> str:
    numbers = [value for value in values if type(value) in (int, float)]
    if all(type(n) is int for n in numbers) and min(numbers) >= 0 and max(numbers) <= LARGEST_UNSIGNED:
        return "u"
    if all(type(n) is float or abs(n) <= LARGEST_EXACT for n in numbers):
        return "f"
    raise Unsupported(f"field {path!r}: a list of numbers that no number type holds exactly")


def unify(one: Shape, other: Shape) -> Shape | None:
    """The shape both fit without a change of type, or None."""
    if other in (one, "n"):
        return one
    if one == "n":
        return other
    if isinstance(one, str) or isinstance(other, str) or one[0] != other[0]:
        return None
    if one[0] == "list":
        inner = unify(one[1], other[1])
        return None if inner is None else ("list", inner)
    return _unify_objects(one[1], other[1])


def _unify_objects(one: Iterable[tuple[str, Shape]], other: Iterable[tuple[str, Shape]]) -> Shape | None:
    merged: dict[str, Shape] = dict(one)
    for key, shape in other:
        both = unify(merged.get(key, "n"), shape)
        if both is None:
            return None
        merged[key] = both
    return ("object", tuple(merged.items()))


def group(shapes: Sequence[Shape]) -> list[tuple[Shape, list[int]]]:
    """First-fit: each shape's index joins the first group it fits."""
    groups: list[tuple[Shape, list[int]]] = []
    known: dict[Shape, int] = {}
    for index, shape in enumerate(shapes):
        at = known.get(shape)
        if at is None:
            at = known[shape] = _place(groups, shape)
        groups[at][1].append(index)
    return groups


def _place(groups: list[tuple[Shape, list[int]]], shape: Shape) -> int:
    for at, (have, members) in enumerate(groups):
        both = unify(have, shape)
        if both is not None:
            groups[at] = (both, members)
            return at
    groups.append((shape, []))
    return len(groups) - 1


def dtype(shape: Shape) -> pl.DataType:
    if isinstance(shape, str):
        return _TYPES[shape]
    if shape[0] == "list":
        return pl.List(dtype(shape[1]))
    return pl.Struct({key: dtype(inner) for key, inner in shape[1]})


def members(shape: Shape) -> tuple[tuple[str, Shape], ...]:
    """Keys and shapes of an object."""
    assert not isinstance(shape, str)
    found: tuple[tuple[str, Shape], ...] = shape[1]
    return found


def contains(shape: Shape, letter: str) -> bool:
    if isinstance(shape, str):
        return shape == letter
    if shape[0] == "list":
        return contains(shape[1], letter)
    return any(contains(inner, letter) for _, inner in shape[1])


def describe(shape: Shape) -> str:
    if isinstance(shape, str):
        return {"n": "null", "b": "booleans", "f": "floats", "s": "text"}.get(shape, "integers")
    return "lists" if shape[0] == "list" else "objects"
