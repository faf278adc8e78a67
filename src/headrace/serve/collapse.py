"""`collapse`: the best hit of each value of a field; total and aggregations are those of all hits.

Each round asks for what is in none of the groups found so far, so that a group of a million hits costs no
more than one of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

import msgspec

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.base import SearchRequest
from headrace.index.query import values
from headrace.index.query.bounds import PER_HIT, holding, let_go
from headrace.index.query.source import filtered, values_at
from headrace.index.tantivy.sorting import LARGEST_PAGE
from headrace.index.tantivy.targets import Target, resolve
from headrace.index.tantivy.view import TantivyView

KINDS: Final = (FieldType.KEYWORD, FieldType.INTEGER, FieldType.UNSIGNED, FieldType.FLOAT, FieldType.JSON)


def collapsed(parts: Sequence[Any], request: SearchRequest, search: Callable[..., Any]) -> Any:
    """What `search` finds of `request`, one hit a group. Raises RequestError."""
    field = str(request.collapse)
    if request.search_after is not None:
        _bad("cannot use [collapse] in conjunction with [search_after]; use [from]")
    wanted = request.start + request.size
    if wanted > LARGEST_PAGE:
        _bad(f"[from] + [size] of a search with [collapse] is at most {LARGEST_PAGE}, found [{wanted}]")
    targets = {part.name: _target(part.view, field) for part in parts}
    asked = replace(
        request, collapse=None, start=0, source=True, size=min(2 * wanted, LARGEST_PAGE) if wanted else 0
    )
    before = holding()
    first = answer = search(parts, asked)
    groups: dict[Any, Any] = {}
    while wanted:
        for found in answer.hits:
            groups.setdefault(_group(targets[found.index], found.hit.source), found)
        if len(groups) >= wanted or len(answer.hits) < asked.size:
            break
        let_go(before + sum(PER_HIT + 2 * len(found.hit.source) for found in groups.values()))
        # Only hits are asked for once more.
        asked = replace(asked, aggregations=None, count=False, post_filter=_beyond(request, field, groups))
        answer = search(parts, asked)
    chosen = list(groups.values())[request.start : wanted]
    if isinstance(request.source, tuple):
        patterns = request.source
        chosen = [
            replace(found, hit=replace(found.hit, source=filtered(found.hit.source, patterns)))
            for found in chosen
        ]
    return replace(first, hits=chosen)


def _target(view: object, field: str) -> Target:
    if not isinstance(view, TantivyView):
        _bad("[collapse] is for indexes of type tantivy")
    target = resolve(view.snapshot, field)
    if target.kind not in KINDS:
        reason = f"collapse is not supported for the field [{field}] of the type [{target.kind}]"
        _bad(f"{reason}; collapse by a keyword or a number")
    return target


def _group(target: Target, source: bytes) -> Any:
    """The value of a document; None where it has none. Raises RequestError for several."""
    inside = values_at(msgspec.json.decode(source), target.path_in_source)
    found = list(dict.fromkeys(target.values([value for value in inside if value is not None])))
    if len(found) > 1:
        _bad(
            f"failed to collapse by [{target.name}]: the collapse field must be single valued, found {found}"
        )
    if not found:
        return None
    # An undeclared 5 is found as 5.0 and as "5": it is one group with them.
    return values.as_text(found[0]) if target.kind is FieldType.JSON else found[0]


def _beyond(request: SearchRequest, field: str, groups: dict[Any, Any]) -> dict[str, Any]:
    """The post filter, and none of the groups."""
    seen = [value for value in groups if value is not None]
    outside: list[Any] = [{"terms": {field: seen}}] if seen else []
    body: dict[str, Any] = {"must_not": outside}
    must: list[Any] = [] if request.post_filter is None else [request.post_filter]
    if None in groups:
        must.append({"exists": {"field": field}})
    return {"bool": {**body, **({"must": must} if must else {})}}


def _bad(reason: str) -> NoReturn:
    raise RequestError(400, "illegal_argument_exception", reason)
