"""An index as it is shown again: the client's own words where it gave some, and what is really there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.catalogue.entry import Alias
from headrace.index.base import Reader
from headrace.index.mapping import mapping
from headrace.serve.places import Place, PlacedIndices

CREATED_VERSION: Final = "8521000"
"""`index.version.created` of Elasticsearch 8.17."""


def aliases_of(indices: PlacedIndices, index: str) -> dict[str, Alias]:
    """What each alias makes of an index; a data stream is none."""
    plain = sorted(indices.catalogue.plain_aliases.items())
    return {alias: indexes[index] for alias, indexes in plain if index in indexes}


def stream_of(indices: PlacedIndices, index: str) -> dict[str, str]:
    """The data stream that an index backs, as it is shown of it; nothing where there is none."""
    catalogue = indices.catalogue
    for name, stream in catalogue.streams.items():
        if index in stream.indexes and index in catalogue.aliases.get(name, {}):
            return {"data_stream": name}
    return {}


def alias_body(alias: Alias) -> dict[str, Any]:
    body: dict[str, Any] = {} if alias.filter is None else {"filter": alias.filter}
    return {**body, "is_write_index": True} if alias.is_write_index else body


def mappings_of(place: Place, reader: Reader) -> dict[str, Any]:
    """The fields there are, declared or found in documents; of declared ones what else the client said.

    A field that was added later and is not declared before the next generation is shown as it is found.
    """
    found = getattr(reader, "dynamic_fields", None)
    dynamic: Mapping[str, str] = found() if callable(found) else {}
    body = mapping(reader.fields, dynamic)
    given = place.made.mappings if place.made is not None else {}
    _overlay(body["properties"], given.get("properties") or {})
    return {**{name: given[name] for name in given if name != "properties"}, **body}


def declared_of(place: Place, reader: Reader) -> dict[str, Any]:
    """The properties that were declared, those for the next generation included."""
    given = place.made.mappings if place.made is not None else {}
    properties: dict[str, Any] = mapping(reader.fields, {})["properties"]
    _overlay(properties, given.get("properties") or {})
    return merged(properties, given.get("properties") or {})


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both objects in one, all the way down; the other wins."""
    found = dict(one)
    for name, value in other.items():
        before = found.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[name] = merged(before, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return found


def _overlay(shown: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, words in given.items():
        if name not in shown or not isinstance(words, Mapping):
            continue
        here, there = shown[name], words.get("properties") or {}
        inner = here.get("properties")
        if there and isinstance(inner, dict):
            _overlay(inner, there)
        # Forms of a field beside it (`fields`) may be columns of their own, which look like properties.
        rest = {sub: value for sub, value in (inner or {}).items() if sub not in (words.get("fields") or {})}
        shown[name] = {**here, **{key: value for key, value in words.items() if key != "properties"}}
        shown[name].pop("properties", None)
        if rest:
            shown[name]["properties"] = rest


def settings_of(place: Place) -> dict[str, Any]:
    """As `GET /{index}` has them: every value a text."""
    made = place.made
    own: dict[str, Any] = {
        "index.number_of_shards": "1",
        "index.number_of_replicas": "0",
        **(flat(made.settings) if made is not None else {}),
        "index.provided_name": place.name,
        "index.uuid": made.uuid if made is not None else place.identity,
        "index.creation_date": str(round(made.created * 1000)) if made is not None else "0",
        "index.version.created": CREATED_VERSION,
    }
    return own


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"index": {"a": {"b": 1}}, "c": 2}` → `{"index.a.b": "1", "index.c": "2"}`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{path}."))
            continue
        if not prefix and not path.startswith("index."):
            path = f"index.{path}"
        found[path] = _text(value)
    return {path if path.startswith("index.") or prefix else f"index.{path}": v for path, v in found.items()}


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The other way: `{"index.a": "1"}` → `{"index": {"a": "1"}}`."""
    found: dict[str, Any] = {}
    for path, value in settings.items():
        place, (*parents, last) = found, path.split(".")
        for parent in parents:
            inner = place.setdefault(parent, {})
            # `a` and `a.b` both given: the deeper one is shown under its whole path.
            place = inner if isinstance(inner, dict) else place
        place[last] = value
    return found


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, dict) else str(value)
