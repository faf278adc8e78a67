"""Patterns with `*`, any text, compared in steps that grow with the text and never explode.

As regular expressions they would: a client's `*a*a*a*…` is tried at every place for every star. Here the
parts between the stars are looked for one after the other, each at the first place there is: nothing is
tried twice, and nothing is missed, since an earlier place leaves more text for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern stands for a text; no other character than `*` is special."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    place, end = len(first), len(text) - len(last)
    if place > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        if part:
            found = text.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
    return True


def any_matches(patterns: Iterable[str], text: str) -> bool:
    """Whether one of them does."""
    return any(matches(pattern, text) for pattern in patterns)


def covers(wide: str, narrow: str) -> bool:
    """Whether every text that `narrow` stands for is one of `wide`: a star of it is only taken by a star."""
    return matches(wide, narrow)
