"""What each field of an index can be asked for, as Elasticsearch's `_field_caps` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.fields import Field, FieldType
from headrace.index.mapping.shown import type_name

FAMILIES: Final = {"wildcard": "keyword", "constant_keyword": "keyword", "match_only_text": "text"}
"""Types that clients are to treat as another."""


@dataclass(frozen=True, slots=True)
class Capability:
    """A field's type and uses; `parent` is an object's path, `multi` another field under another name."""

    type: str
    searchable: bool = True
    aggregatable: bool = True
    metadata: bool = False
    parent: bool = False
    multi: bool = False


METADATA: Final = {
    "_id": Capability("_id", aggregatable=False, metadata=True),
    "_source": Capability("_source", searchable=False, aggregatable=False, metadata=True),
}


def capabilities(fields: Mapping[str, Field], dynamic: Mapping[str, str]) -> dict[str, Capability]:
    """All fields by path: declared ones, those that documents have, and the objects round them."""
    found = {path: _declared(field) for path, field in fields.items()}
    for path, kind in dynamic.items():
        found.setdefault(path, Capability(kind, aggregatable=kind != "text"))
        if kind == "text" and path not in fields:
            found.setdefault(f"{path}.keyword", Capability("keyword", multi=True))
    for path in list(found):
        parts = path.split(".")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            found.setdefault(parent, Capability("object", searchable=False, aggregatable=False, parent=True))
    return {**found, **METADATA}


def _declared(field: Field) -> Capability:
    name = type_name(field)
    kind = FAMILIES.get(name, name)
    plain = kind == "object"
    return Capability(
        kind,
        searchable=field.index and not plain,
        aggregatable=field.index and not plain and field.kind is not FieldType.TEXT,
        parent=plain,
        multi=field.of is not None,
    )
