"""The `sort` of a search, of its body or its URL, as keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from headrace.core.errors import RequestError
from headrace.index.base import SortKey
from headrace.serve.lists import list_of


def _fail(reason: str, kind: str = "illegal_argument_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def given_formats(given: Any) -> dict[int, str]:
    """The `format` of each key that has one, by place."""
    entries = [
        (name, options)
        for entry in (given if isinstance(given, list) else [given])
        for name, options in (entry.items() if isinstance(entry, dict) else [(entry, None)])
    ]
    return {
        place: str(options["format"])
        for place, (_, options) in enumerate(entries)
        if isinstance(options, dict) and options.get("format")
    }


def sort_parameter(text: str | None) -> tuple[SortKey, ...]:
    """`a:desc,b` of a URL."""
    keys = []
    for entry in list_of(text):
        name, _, order = entry.rpartition(":") if entry.endswith((":asc", ":desc")) else (entry, "", "")
        keys.append(_key(name, order or None, None))
    return tuple(keys)


def sort_keys(given: Any) -> tuple[SortKey, ...]:
    """The `sort` of a body: names, `{name: order}`, `{name: {order, missing}}`. Raises RequestError."""
    keys: list[SortKey] = []
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, str):
            keys += sort_parameter(entry) if entry.endswith((":asc", ":desc")) else [_key(entry, None, None)]
        elif isinstance(entry, dict):
            keys += [_sort_entry(name, options) for name, options in entry.items()]
        else:
            _fail(f"a sort key is a name or an object, found [{entry}]", "parsing_exception")
    return tuple(keys)


def _sort_entry(name: str, options: Any) -> SortKey:
    if isinstance(options, str):
        return _key(name, options, None)
    if not isinstance(options, dict):
        _fail(f"the sort on [{name}] is an order or an object, found [{options}]", "parsing_exception")
    for option in options:
        if option not in ("order", "missing", "unmapped_type", "mode", "format"):
            _fail(
                f"the sort on [{name}] has no option [{option}]; have: format, missing, order",
                "parsing_exception",
            )
    descending = str(options.get("order", "desc" if name == "_score" else "asc")).lower() == "desc"
    if options.get("mode") not in (None, "max" if descending else "min"):
        _fail(f"the sort on [{name}] supports [mode] only as {'max' if descending else 'min'}")
    key = _key(name, options.get("order"), options.get("missing"))
    return replace(key, unmapped=options.get("unmapped_type") is not None)


def _key(name: str, order: Any, missing: Any) -> SortKey:
    order = str(order or ("desc" if name == "_score" else "asc")).lower()
    if order not in ("asc", "desc"):
        _fail(f"the sort order of [{name}] is asc or desc, found [{order}]")
    if missing not in (None, "_first", "_last"):
        _fail(f"[missing] of the sort on [{name}] is _first or _last, found [{missing}]")
    return SortKey(name, order == "desc", missing != "_first")
