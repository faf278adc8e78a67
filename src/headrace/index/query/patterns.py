"""Prefixes, wildcards, and ranges of texts as regular expressions of the engine's term automaton.

A range of texts is one as well (all texts from "ab" on are `ab.*`, or begin with `a` and something past
`b`, or with something past `a`), since the engine has no range over texts.
"""

from __future__ import annotations

from typing import Final

ANYTHING: Final = r"(?s:.)*"
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$#&-~/ ")
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


def escape(text: str) -> str:
    """The text itself, as a pattern."""
    return "".join(f"\\{char}" if char in _SPECIAL and char not in " /" else char for char in text)


def prefix(text: str, *, ignore_case: bool = False) -> str:
    return _cased(escape(text), ignore_case) + ANYTHING


def wildcard(text: str, *, ignore_case: bool = False) -> str:
    """`*` any number of characters, `?` one, a backslash takes the next one literally."""
    out: list[str] = []
    chars = iter(text)
    for char in chars:
        if char == "\\":
            out.append(escape(next(chars, "\\")))
        elif char == "*":
            out.append(ANYTHING)
        else:
            out.append("(?s:.)" if char == "?" else escape(char))
    return _cased("".join(out), ignore_case)


def regexp(text: str, *, ignore_case: bool = False) -> str:
    return _cased(text, ignore_case)


def between(lower: str | None, upper: str | None, *, include_lower: bool, include_upper: bool) -> str | None:
    """All texts of a range in code point order; None where there can be none."""
    if lower is not None and upper is not None:
        if lower > upper or (lower == upper and not (include_lower and include_upper)):
            return None
        return _both(lower, upper, include_lower, include_upper)
    if lower is not None:
        return _from(lower, include_lower)
    return ANYTHING if upper is None else _to(upper, include_upper)


def _cased(pattern: str, ignore_case: bool) -> str:
    return f"(?i:{pattern})" if ignore_case else pattern


def _any_of(choices: list[str]) -> str | None:
    return f"({'|'.join(choices)})" if choices else None


def _class(first: int, last: int) -> str | None:
    """One character of a span of code points."""
    if first in _SURROGATES:
        first = _SURROGATES.stop
    if last in _SURROGATES:
        last = _SURROGATES.start - 1
    return f"[\\x{{{first:X}}}-\\x{{{last:X}}}]" if first <= last else None


def _from(text: str, inclusive: bool) -> str | None:
    choices = []
    for place, char in enumerate(text):
        if past := _class(ord(char) + 1, _LAST):
            choices.append(escape(text[:place]) + past + ANYTHING)
    longer = ANYTHING if inclusive else "(?s:.)" + ANYTHING
    return _any_of([*choices, escape(text) + longer])


def _to(text: str, inclusive: bool) -> str | None:
    choices = [escape(text)] if inclusive else []
    for place, char in enumerate(text):
        choices.append(escape(text[:place]))
        if before := _class(0, ord(char) - 1):
            choices.append(escape(text[:place]) + before + ANYTHING)
    return _any_of(choices)


def _both(lower: str, upper: str, include_lower: bool, include_upper: bool) -> str | None:
    same = 0
    while same < min(len(lower), len(upper)) and lower[same] == upper[same]:
        same += 1
    head, low, high = escape(lower[:same]), lower[same:], upper[same:]
    if not low:
        rest = _to_past_empty(high, include_lower, include_upper)
        return None if rest is None else head + rest
    choices = []
    if after := _from(low[1:], include_lower):
        choices.append(escape(low[0]) + after)
    if middle := _class(ord(low[0]) + 1, ord(high[0]) - 1):
        choices.append(middle + ANYTHING)
    if until := _to(high[1:], include_upper):
        choices.append(escape(high[0]) + until)
    found = _any_of(choices)
    return None if found is None else head + found


def _to_past_empty(upper: str, include_lower: bool, include_upper: bool) -> str | None:
    """Texts up to `upper`, the empty one only if asked for."""
    if include_lower:
        return _to(upper, include_upper) if upper else "()"
    choices = []
    if before := _class(0, ord(upper[0]) - 1):
        choices.append(before + ANYTHING)
    if until := _to(upper[1:], include_upper):
        choices.append(escape(upper[0]) + until)
    return _any_of(choices)
