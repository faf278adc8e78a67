"""How large a regular expression is once its repetitions are written out: what it costs to be compiled.

The engine makes an automaton of it, and refuses one that is too large only when most of it is made, which
took seconds for `((a?){100}){99}`. Elasticsearch has bounds for both, 1,000 characters and 10,000 states.
"""

from __future__ import annotations

import re
from typing import Final

from headrace.core.errors import RequestError

LARGEST: Final = 1_000
"""Letters and classes, a class that reaches beyond ASCII counting as `WIDE`: compiled within 0.3 s."""

LONGEST: Final = 10_000
"""Characters of one that is looked at at all; patterns made of wildcards may be longer than a client's."""

WIDE: Final = 10
"""Bytes of UTF-8 that one character is tried as, in all their ranges."""

_PIECE: Final = re.compile(
    r"""(?P<escaped>\\(?:[pPxu]\{[^}]*\}?|.)?)
      | (?P<chosen>\[\^?\]?(?:\\.|\[:\w*:\]|[^\]\\])*\]?)
      | (?P<open>\((?:\?[A-Za-z-]*:|\?P?<\w*>)?)
      | (?P<close>\))
      | \{(?P<least>\d{0,9})(?:,(?P<most>\d{0,9}))?\}
      | (?P<sign>[*+?|^$])
      | (?P<dot>\.)
      | (?P<letter>.)""",
    re.DOTALL | re.VERBOSE,
)


def check_regexp(regex: str) -> str:
    """The expression, if it is not too large. Raises RequestError 400."""
    size = max(len(regex), written_out(regex))
    if size <= LARGEST:
        return regex
    shown = regex if len(regex) <= 200 else regex[:200] + "…"
    reason = (
        f"the regular expression [{shown}] has a size of {size} with its repetitions written out, at most "
        f"{LARGEST}; repeat less, or use a wildcard"
    )
    raise RequestError(400, "illegal_argument_exception", reason)


def written_out(regex: str) -> int:
    """The letters and classes that it stands for. Groups may be nested: their repetitions multiply."""
    if len(regex) > LONGEST:
        return len(regex)
    groups, last = [0], 0
    for piece in _PIECE.finditer(regex):
        kind = piece.lastgroup
        if kind == "open":
            groups.append(0)
        elif kind == "close" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif kind in ("least", "most"):
            times = max(int(piece[name] or 1) for name in ("least", "most"))
            groups[-1] += last * (times - 1)
            last *= times
        elif kind in ("escaped", "chosen", "dot", "letter"):
            last = WIDE if _is_wide(kind, piece[0]) else 1
            groups[-1] += last
    return sum(groups)


def _is_wide(kind: str, text: str) -> bool:
    if kind == "escaped":
        return text[1:2].isalpha()
    if kind == "chosen":
        return text.startswith("[^") or "\\" in text or not text.isascii()
    return kind == "dot"
