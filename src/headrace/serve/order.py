"""The order of sort values from several indexes: the engine's own, missing values where they are asked for.

Values of one field may differ in type between documents; then false, true come first, texts, numbers.
"""

from __future__ import annotations

from functools import total_ordering
from typing import Any


def ascending(value: Any, *, missing_last: bool = True) -> tuple[Any, ...]:
    """Something to compare with; a missing value is last unless asked otherwise."""
    if value is None:
        return (1 if missing_last else -1,)
    return (0, _kind(value), value)


def descending(value: Any, *, missing_last: bool = True) -> tuple[Any, ...]:
    if value is None:
        return (1 if missing_last else -1,)
    return (0, _Down((_kind(value), value)))


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return 0
    return 1 if isinstance(value, str) else 2


@total_ordering
class _Down:
    """Compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: tuple[int, Any]) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and self.value == other.value

    def __lt__(self, other: _Down) -> bool:
        return other.value < self.value

    __hash__ = None  # type: ignore[assignment]
