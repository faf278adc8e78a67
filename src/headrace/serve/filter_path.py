"""`filter_path`: the parts of an answer that are wanted, or (with a `-`) are not.

`*` stands for any part of one name, `**` for any number of names; lists are looked through. What is left out
goes first, then what is wanted is kept; nothing left is `{}`. All paths are followed at once, as the set of
steps that may come next: however many ways there are to read `**.**`, a name is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from headrace.core.errors import RequestError
from headrace.core.glob import matches

MOST_STEPS: Final = 1_024
"""Of all paths together: each may have to be compared with every name of an answer."""

REMEMBERED: Final = 1_000
"""Names whose way on is known; hits have the same few again and again."""

_NOTHING: Final = object()
_ANY: Final = "**"

State = frozenset[int]
"""The steps that may come next."""


def check(paths: Sequence[str]) -> None:
    """Raises RequestError 400 for more steps than an answer is compared with."""
    steps = sum(path.count(".") + 1 for path in paths)
    if steps > MOST_STEPS:
        reason = f"[filter_path] has {steps} steps, at most {MOST_STEPS}; use fewer paths, or `*` in them"
        raise RequestError(400, "illegal_argument_exception", reason)


def filtered(body: Any, paths: Sequence[str]) -> Any:
    """The wanted part of a decoded body. Raises RequestError as `check`."""
    check(paths)
    given = [path.strip() for path in paths if path.strip()]
    excluded = _Paths(path[1:] for path in given if path.startswith("-"))
    included = _Paths(path for path in given if not path.startswith("-"))
    if excluded.start:
        body = _without(body, excluded, excluded.start)
    if not included.start:
        return body
    found = _only(body, included, included.start)
    return {} if found is _NOTHING else found


class _Paths:
    """The steps of all paths in a row, and which of them end one."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._steps: list[str] = []
        self._last: list[bool] = []
        start: set[int] = set()
        for path in paths:
            begin = len(self._steps)
            for step in path.split("."):
                if step != _ANY or self._steps[begin:][-1:] != [_ANY]:
                    self._steps.append(step)
                    self._last.append(False)
            self._last[-1] = True
            self._come_to(begin, start)
        self.start: State = frozenset(start)
        self._known: dict[tuple[State, str], tuple[bool, State]] = {}

    def below(self, state: State, name: str) -> tuple[bool, State]:
        """Whether a path ends at this name, and the steps that may come below it."""
        found = self._known.get((state, name))
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[state, name] = self._after(state, name)
        return found

    def _after(self, state: State, name: str) -> tuple[bool, State]:
        ends, more = False, set[int]()
        for step in state:
            stays = self._steps[step] == _ANY
            if not stays and not matches(self._steps[step], name):
                continue
            ends = ends or self._last[step]
            if stays:
                self._come_to(step, more)
            elif not self._last[step]:
                self._come_to(step + 1, more)
        return ends, frozenset(more)

    def _come_to(self, step: int, state: set[int]) -> None:
        """`**` may stand for no name at all: the step behind it may come as well."""
        state.add(step)
        if self._steps[step] == _ANY and not self._last[step]:
            state.add(step + 1)


def _only(value: Any, paths: _Paths, state: State) -> Any:
    if isinstance(value, list):
        return [part for item in value if (part := _only(item, paths, state)) is not _NOTHING] or _NOTHING
    if not isinstance(value, dict):
        return _NOTHING
    found = {}
    for name, inner in value.items():
        ends, more = paths.below(state, name)
        part = inner if ends else _only(inner, paths, more) if more else _NOTHING
        if part is not _NOTHING:
            found[name] = part
    return found or _NOTHING


def _without(value: Any, paths: _Paths, state: State) -> Any:
    if isinstance(value, list):
        return [_without(item, paths, state) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        ends, more = paths.below(state, name)
        if not ends:
            found[name] = _without(inner, paths, more) if more else inner
    return found
