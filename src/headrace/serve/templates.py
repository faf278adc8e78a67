"""Templates: what an index is made with where the one who makes it does not say; pure functions.

The matching index template of the highest priority decides alone, on top of its components; older templates
(`_template`) count only where there is none, all that match, the highest order last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.catalogue.entry import Catalogue
from headrace.core.errors import RequestError
from headrace.core.glob import any_matches
from headrace.index.mapping import from_elasticsearch
from headrace.index.mapping.index_settings import flattened

PARTS: Final = ("settings", "mappings", "aliases")


def matching(catalogue: Catalogue, name: str) -> str | None:
    """The name of the index template for an index (or a data stream) of this name."""
    found = [
        (priority(body), label)
        for label, body in catalogue.templates.index.items()
        if any_matches(body["index_patterns"], name)
    ]
    return max(found)[1] if found else None


def makes_stream(catalogue: Catalogue, name: str) -> str | None:
    """The template by which a first write to this name makes a data stream."""
    label = matching(catalogue, name)
    return label if label is not None and "data_stream" in catalogue.templates.index[label] else None


def applied(catalogue: Catalogue, name: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A `PUT /{index}` body on top of its templates, and what of those cannot be had and is left out."""
    label = matching(catalogue, name)
    if label is not None:
        below = composed(catalogue, catalogue.templates.index[label])
    else:
        below = _legacy(catalogue, name)
    if not below:
        return dict(body), []
    settings, mappings, told = possible(below.get("settings", {}), below.get("mappings", {}))
    aliases = {alias.replace("{index}", name): given for alias, given in below.get("aliases", {}).items()}
    parts = {"settings": settings, "mappings": mappings, "aliases": aliases}
    return {each: value for each, value in merged(parts, body).items() if value}, told


def composed(catalogue: Catalogue, body: Mapping[str, Any]) -> dict[str, Any]:
    """A template with its components under it."""
    found: dict[str, Any] = {}
    for component in body.get("composed_of") or []:
        known = catalogue.templates.component.get(component)
        if known is not None:
            found = merged(found, known.get("template") or {})
    return merged(found, body.get("template") or {})


def _legacy(catalogue: Catalogue, name: str) -> dict[str, Any]:
    known = catalogue.templates.legacy.values()
    found: dict[str, Any] = {}
    for body in sorted(known, key=lambda body: int(body.get("order", 0))):
        if any_matches(body["index_patterns"], name):
            found = merged(found, {part: body[part] for part in PARTS if part in body})
    return found


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, mappings and aliases of both; the other wins, field by field."""
    settings = {**_settings(one), **_settings(other)}
    found: dict[str, Any] = {
        "settings": settings,
        "mappings": _mappings(one.get("mappings") or {}, other.get("mappings") or {}),
        "aliases": {**(one.get("aliases") or {}), **(other.get("aliases") or {})},
    }
    rest = {name: value for name, value in {**one, **other}.items() if name not in PARTS}
    return {**{name: value for name, value in found.items() if value}, **rest}


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    return {f"index.{name}": value for name, value in flattened(body.get("settings") or {}).items()}


def _mappings(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = {**one, **other}
    if "properties" in one and "properties" in other:
        found["properties"] = _properties(one["properties"], other["properties"])
    if "dynamic_templates" in one and "dynamic_templates" in other:
        found["dynamic_templates"] = [*one["dynamic_templates"], *other["dynamic_templates"]]
    return found


def _properties(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Objects are merged, a field is replaced whole."""
    found = dict(one)
    for name, field in other.items():
        before = found.get(name)
        both = isinstance(before, Mapping) and isinstance(field, Mapping)
        if both and "properties" in before and "properties" in field:  # type: ignore[operator]  # mappings
            inner = _properties(before["properties"], field["properties"])  # type: ignore[index]
            found[name] = {**before, **field, "properties": inner}  # type: ignore[dict-item]
        else:
            found[name] = field
    return found


def possible(
    settings: Mapping[str, Any], mappings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What of a template an index can have, and words for the rest: a shipper's template is no reason to
    refuse its documents, whose fields are then found as they come."""
    told: list[str] = []
    kept = dict(settings)
    if not _fits({}, kept):
        kept = {name: value for name, value in settings.items() if _fits({}, {name: value}, told, name)}
        if not _fits({}, kept, told, "settings"):
            kept = {}
    if _fits(mappings, kept):
        return kept, dict(mappings), told
    root = {
        name: value
        for name, value in mappings.items()
        if name == "properties" or _fits({name: value}, kept, told, name)
    }
    if isinstance(root.get("properties"), Mapping):
        root["properties"] = _possible(root["properties"], kept, "", told)
    return kept, root if _fits(root, kept, told, "mappings") else {}, told


def _possible(
    properties: Mapping[str, Any], settings: Mapping[str, Any], prefix: str, told: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in properties.items():
        if _fits({"properties": {name: field}}, settings):
            found[name] = field
        elif isinstance(field, Mapping) and isinstance(field.get("properties"), Mapping):
            inner = _possible(field["properties"], settings, f"{prefix}{name}.", told)
            found[name] = {**field, "properties": inner}
        else:
            _fits({"properties": {name: field}}, settings, told, f"{prefix}{name}")
    return found


def _fits(
    mappings: Mapping[str, Any],
    settings: Mapping[str, Any],
    told: list[str] | None = None,
    what: str = "",
) -> bool:
    try:
        from_elasticsearch(mappings, settings)
    except RequestError as error:
        if told is not None:
            told.append(f"[{what}] of the template is left out: {error.reason}")
        return False
    return True


def priority(body: Mapping[str, Any]) -> int:
    return int(body.get("priority") or 0)


def overlap(one: str, other: str) -> bool:
    """Whether some name matches both patterns: they are walked side by side."""
    if not _alike(one.partition("*")[0], other.partition("*")[0]):
        return False
    seen: set[tuple[int, int]] = set()
    places = [(0, 0)]
    while places:
        a, b = places.pop()
        if (a, b) in seen:
            continue
        seen.add((a, b))
        if a == len(one) and b == len(other):
            return True
        at, bt = one[a : a + 1], other[b : b + 1]
        if at == "*":
            places += [(a + 1, b), *([(a, b + 1)] if bt else [])]
        if bt == "*":
            places += [(a, b + 1), *([(a + 1, b)] if at else [])]
        if at and at == bt:
            places.append((a + 1, b + 1))
    return False


def _alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
