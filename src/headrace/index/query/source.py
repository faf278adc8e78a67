"""Documents as they were given: reading values from `_source`, and leaving parts of it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headrace.core.glob import any_matches

Patterns = tuple[tuple[str, ...], tuple[str, ...]]


def values_at(source: Any, path: str) -> Iterator[Any]:
    """All values under a dotted path, lists opened; a key with dots in it counts too."""
    if isinstance(source, list):
        for item in source:
            yield from values_at(item, path)
    elif not path:
        if source is not None:
            yield source
    elif isinstance(source, Mapping):
        for key, value in source.items():
            if key == path:
                yield from values_at(value, "")
            elif path.startswith(f"{key}."):
                yield from values_at(value, path[len(key) + 1 :])


def filtered(source: bytes, patterns: Patterns) -> bytes:
    """`_source` with only the included and without the excluded paths (`a`, `a.*`, `*.id`)."""
    includes, excludes = patterns
    kept = _keep(msgspec.json.decode(source), "", includes, excludes)
    return msgspec.json.encode({} if kept is None else kept)


def _keep(value: Any, path: str, includes: Sequence[str], excludes: Sequence[str]) -> Any:
    """The part of a value that stays; None where nothing does."""
    if isinstance(value, Mapping):
        kept = {
            name: part
            for name, inner in value.items()
            if (part := _child(inner, f"{path}.{name}".lstrip("."), includes, excludes)) is not _GONE
        }
        return kept or None
    return value


_GONE = object()


def _child(value: Any, path: str, includes: Sequence[str], excludes: Sequence[str]) -> Any:
    if any_matches(excludes, path):
        return _GONE
    if not includes or any_matches(includes, path):
        includes = ()
    elif not any(_leads_to(path, pattern) for pattern in includes):
        return _GONE
    if isinstance(value, Mapping) and value:
        kept = _keep(value, path, includes, excludes)
        return _GONE if kept is None else kept
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        kept_items = [_keep(item, path, includes, excludes) for item in value]
        return [item for item in kept_items if item is not None] or _GONE
    return value if not includes else _GONE


def _leads_to(path: str, pattern: str) -> bool:
    """Whether something under the path may match the pattern."""
    return pattern.startswith(f"{path}.") or "*" in pattern
