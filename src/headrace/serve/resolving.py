"""Which indexes an expression such as `logs-*,-logs-old,today` means; a pure function of names and aliases.

An index reached under its own name, or under one alias without a filter, is searched whole; one reached
only under filtered aliases is bound by any of their filters. `-x` takes away the index `x` however it was
reached, and what was reached under an alias `x`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from headrace.catalogue.entry import Alias
from headrace.core.errors import RequestError
from headrace.core.glob import matches
from headrace.core.registry import suggest
from headrace.serve.datemath import dated
from headrace.serve.lists import parts_of

EVERYTHING: Final = ("", "_all", "*")

LISTED: Final = 20
"""Names that an error lists; beyond it a list helps nobody."""

Aliases = Mapping[str, Mapping[str, Alias]]


def missing(name: str, known: Collection[str] = ()) -> RequestError:
    """The 404 of an index that is not there, with the nearest name."""
    hint = f", {suggest(name, sorted(known))}" if 0 < len(known) <= LISTED else ""
    return RequestError(404, "index_not_found_exception", f"no such index [{name}]{hint}")


def like(pattern: str, names: Collection[str]) -> list[str]:
    """The names that match, sorted; `*` is any text, and hidden names (`.x`) match only patterns so begun."""
    visible = (name for name in names if pattern.startswith(".") or not name.startswith("."))
    return sorted(name for name in visible if matches(pattern, name))


def resolve(
    expression: str,
    indexes: Collection[str],
    aliases: Aliases,
    *,
    ignore_unavailable: bool = False,
    allow_no_indices: bool = True,
    now: float = 0.0,
) -> dict[str, Any]:
    """Index → the query that binds its search (None: nothing), in the order named.

    Raises RequestError 404 for a name that is not there, 400 for one that cannot be."""
    reached: dict[str, dict[str | None, None]] = {}
    everything = expression in EVERYTHING
    wild = everything
    for part in ["*"] if everything else parts_of(expression):
        name = dated(part.strip(), now)
        if wild and name.startswith("-"):
            _take_away(name[1:], reached)
            continue
        pattern = "*" if name == "_all" else name
        wild = wild or "*" in pattern
        for index, via in _meant(pattern, indexes, aliases, ignore_unavailable):
            reached.setdefault(index, {})[via] = None
    found = {index: _filter(index, ways, aliases) for index, ways in reached.items() if ways}
    if not found and not allow_no_indices:
        raise missing(expression or "_all")
    return found


def _meant(
    name: str, indexes: Collection[str], aliases: Aliases, ignore_unavailable: bool
) -> Iterator[tuple[str, str | None]]:
    """The indexes of one part of an expression, each with the alias it was reached under."""
    if "*" in name:
        yield from ((index, None) for index in like(name, indexes))
        named = like(name, aliases)
    elif name in indexes:
        yield name, None
        return
    elif name in aliases:
        named = [name]
    else:
        _absent(name, {*indexes, *aliases}, ignore_unavailable)
        return
    for alias in named:
        yield from ((index, alias) for index in sorted(aliases[alias]) if index in indexes)


def _absent(name: str, known: Collection[str], ignore_unavailable: bool) -> None:
    if name.startswith("_") or not name:
        fault = "must not start with '_'." if name else "must not be empty"
        raise RequestError(400, "invalid_index_name_exception", f"Invalid index name [{name}], {fault}")
    if not ignore_unavailable:
        raise missing(name, known)


def _take_away(pattern: str, reached: dict[str, dict[str | None, None]]) -> None:
    for index in list(reached):
        if _matches(pattern, index):
            del reached[index]
            continue
        for via in [via for via in reached[index] if via is not None and _matches(pattern, via)]:
            del reached[index][via]


def _matches(pattern: str, name: str) -> bool:
    # An exclusion takes hidden names too: what somebody wants left out is left out.
    return pattern == "_all" or matches(pattern, name)


def _filter(index: str, ways: Collection[str | None], aliases: Aliases) -> Any:
    filters: list[Any] = []
    for via in ways:
        bound = None if via is None else aliases[via][index].filter
        if bound is None:
            return None
        filters.append(bound)
    if len(filters) == 1:
        return filters[0]
    return {"bool": {"should": filters, "minimum_should_match": 1}}
