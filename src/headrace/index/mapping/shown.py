"""An index's fields as Elasticsearch's `_mapping` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.fields import Field, FieldType

ELASTICSEARCH_TYPES: Final = {
    FieldType.TEXT: "text",
    FieldType.KEYWORD: "keyword",
    FieldType.INTEGER: "long",
    FieldType.UNSIGNED: "unsigned_long",
    FieldType.FLOAT: "double",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.IP: "ip",
    FieldType.JSON: "object",
}


def mapping(fields: Mapping[str, Field], dynamic: Mapping[str, str]) -> dict[str, Any]:
    """`{"properties": …}` of declared fields and of those that documents were found to have."""
    properties: dict[str, Any] = {}
    for path, kind in dynamic.items():
        if path not in fields:
            _put(properties, path, _dynamic(kind))
    for path, field in fields.items():
        if field.kind is not FieldType.JSON or path not in properties:
            _put(properties, path, {"type": _name(field)})
    return {"properties": properties}


def _name(field: Field) -> str:
    """The declared name where it is one of Elasticsearch's, else the nearest of those."""
    ours = {str(kind) for kind in FieldType}
    return field.type if field.type not in ours else ELASTICSEARCH_TYPES[field.kind]


def _dynamic(kind: str) -> dict[str, Any]:
    if kind != "text":
        return {"type": kind}
    return {"type": "text", "fields": {"keyword": {"type": "keyword"}}}


def _put(properties: dict[str, Any], path: str, leaf: dict[str, Any]) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        inner = properties.setdefault(parent, {"properties": {}})
        properties = inner.setdefault("properties", {})
    properties[name] = {**properties.get(name, {}), **leaf}
