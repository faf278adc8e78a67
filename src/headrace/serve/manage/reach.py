"""Which templates whoever asks may read and change: those that decide on nothing but what its key may use.

A template gives its indexes names as well: an alias of it is as good as one that is made by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.catalogue.entry import Catalogue
from headrace.serve import templates
from headrace.serve.doors.principal import bound, require_patterns, within

Kept = dict[str, dict[str, Any]]


def readable(catalogue: Catalogue, kind: str) -> Kept:
    """The templates of a kind that whoever asks may read; of components those that such templates use."""
    kept: Kept = getattr(catalogue.templates, kind)
    if bound() is None:
        return kept
    if kind != "component":
        return {name: body for name, body in kept.items() if within(body["index_patterns"])}
    mine = readable(catalogue, "index").values()
    used = {component for body in mine for component in body.get("composed_of") or []}
    return {name: body for name, body in kept.items() if name in used}


def check_change(
    catalogue: Catalogue, kind: str, name: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Whether a template may be put in the place of another, {} of none. Raises RequestError 403."""
    if kind == "component":
        return  # of no index: the door asks for a key of all of them
    what = "index template" if kind == "index" else "template"
    for body in (before, now):
        require_patterns(what, name, body.get("index_patterns", ()))
    whole = templates.composed(catalogue, now) if kind == "index" else now
    for alias in whole.get("aliases") or {}:
        names = [alias.replace("{index}", pattern) for pattern in now["index_patterns"]]
        require_patterns(what, name, names)
