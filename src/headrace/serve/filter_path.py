"""`filter_path`: the parts of an answer that are wanted, or (with a `-`) are not.

`*` stands for any part of one name, `**` for any number of names; lists are looked through. What is left out
goes first, then what is wanted is kept; nothing left is `{}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_NOTHING: Final = object()

Steps = tuple[str, ...]


def filtered(body: Any, paths: Sequence[str]) -> Any:
    """The wanted part of a decoded body."""
    given = [path.strip() for path in paths if path.strip()]
    excluded = [_steps(path[1:]) for path in given if path.startswith("-")]
    included = [_steps(path) for path in given if not path.startswith("-")]
    if excluded:
        body = _without(body, excluded)
    if not included:
        return body
    found = _only(body, included)
    return {} if found is _NOTHING else found


def _steps(path: str) -> Steps:
    return tuple(path.split("."))


def _below(name: str, paths: Sequence[Steps]) -> tuple[bool, list[Steps]]:
    """Whether a path ends at this name, and those that go on below it."""
    ends, more = False, []
    for steps in paths:
        first, rest = steps[0], steps[1:]
        if first == "**":
            more.append(steps)
            inner, further = _below(name, [rest]) if rest else (True, [])
            ends = ends or inner
            more += further
        elif _expression(first).fullmatch(name):
            ends = ends or not rest
            more += [rest] if rest else []
    return ends, more


@lru_cache(maxsize=256)
def _expression(step: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in step.split("*")), re.DOTALL)


def _only(value: Any, paths: Sequence[Steps]) -> Any:
    if isinstance(value, list):
        return [part for item in value if (part := _only(item, paths)) is not _NOTHING] or _NOTHING
    if not isinstance(value, dict):
        return _NOTHING
    found = {}
    for name, inner in value.items():
        ends, more = _below(name, paths)
        part = inner if ends else _only(inner, more) if more else _NOTHING
        if part is not _NOTHING:
            found[name] = part
    return found or _NOTHING


def _without(value: Any, paths: Sequence[Steps]) -> Any:
    if isinstance(value, list):
        return [_without(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        ends, more = _below(name, paths)
        if not ends:
            found[name] = _without(inner, more) if more else inner
    return found
