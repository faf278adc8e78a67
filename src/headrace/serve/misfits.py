"""Aggregations of an index where values did not fit their field: of each kind apart, then merged as over two.

A document has a field's values in one place, its column or beside it. So those whose values are beside are
asked like another index in which the field is not declared, and the answers are put together as those of
several indexes are. What does not merge leaves these values out, and the answer says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from headrace.core.errors import RequestError
from headrace.index.base import Divisible, SearchRequest, View
from headrace.serve import merge

MOST_FIELDS: Final = 3
"""Fields of one request whose misfits are taken in: each doubles the parts."""

Told = tuple[str, ...]
"""What an answer leaves out, in words."""


def aggregated(name: str, view: View, request: SearchRequest) -> tuple[Any, Told]:
    """The aggregations of one index, or None where it has no misfits in any of their fields."""
    wanted = request.aggregations or {}
    if not isinstance(view, Divisible) or not (fields := view.misfits(set(_fields(wanted)))):
        return None, ()
    merging = {key: body for key, body in wanted.items() if len(fields) <= MOST_FIELDS and _merges(key, body)}
    rest = {key: body for key, body in wanted.items() if key not in merging}
    request = replace(
        request,
        now=request.now or time.time_ns() // 1000,
        size=0,
        start=0,
        sort=(),
        search_after=None,
        highlight=None,
    )
    found: dict[str, Any] = {}
    told: Told = ()
    if merging:
        asked = replace(request, aggregations=merge.planned(merging))
        sides = view.apart(fields)
        found |= merge.merged(merging, [(name, side.search(asked).aggregations or {}) for side in sides])
    if rest:
        plain = replace(request, aggregations=rest)
        found |= view.search(plain).aggregations or {}
        told = tuple(_left_out(name, key, body, fields) for key, body in rest.items())
    return {key: found[key] for key in wanted}, tuple(text for text in told if text)


def _left_out(index: str, name: str, body: Any, fields: Sequence[str]) -> str:
    own = sorted(set(fields) & set(_fields(body)))
    if not own:
        return ""
    return (
        f"aggregation [{name}] leaves out the values of [{', '.join(own)}] in [{index}] that did not fit the"
        " field's type; find them by a query, and make the index anew with a type that fits all"
    )


def _merges(name: str, body: Any) -> bool:
    try:
        merge.planned({name: body})
    except RequestError:
        return False
    return True


def _fields(request: Any) -> Iterator[str]:
    """Every [field] of a request, at any depth."""
    if isinstance(request, Mapping):
        for key, value in request.items():
            if key == "field" and isinstance(value, str):
                yield value
            else:
                yield from _fields(value)
    elif isinstance(request, list):
        for value in request:
            yield from _fields(value)
