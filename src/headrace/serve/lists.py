"""Lists of names in a URL or a body: `a,b,c`, of a bounded length.

Each name may be a pattern, compared with all there is: so many of them take as long as so many requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headrace.core.errors import RequestError

MOST_NAMES: Final = 1_024
"""Each is looked for among all there are, or in every hit, or is one more column to sort by."""


def parts_of(expression: str) -> list[str]:
    """The parts between commas, as they stand. Raises RequestError 400 for too many."""
    few(range(expression.count(",") + 1), expression[:20] + "…")
    return expression.split(",")


def list_of(text: str | None) -> tuple[str, ...]:
    """`a,b` of a URL, without spaces and empty parts. Raises RequestError 400 for too many."""
    return tuple(name.strip() for name in parts_of(text) if name.strip()) if text else ()


def few(names: Sequence[Any] | dict[str, Any], what: str) -> None:
    """Raises RequestError 400 for more names than a request may have."""
    if len(names) > MOST_NAMES:
        reason = f"[{what}] has {len(names)} entries, at most {MOST_NAMES}; use patterns, or fewer names"
        raise RequestError(400, "illegal_argument_exception", reason)
