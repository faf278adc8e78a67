"""An index's fields as Elasticsearch's `_mapping` shows them: types as given, multi-fields inside theirs."""

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
    copies = _copied_to(fields)
    for path, field in fields.items():
        if field.of is None and (field.kind is not FieldType.JSON or path not in properties):
            _put(properties, path, _declared(path, field, fields, copies))
    return {"properties": properties}


def type_name(field: Field) -> str:
    """The declared name where it is one of Elasticsearch's only, else the nearest of those."""
    if field.coerce and field.type in ("integer", "float"):
        return field.type  # as Elasticsearch's mapping said, where the name means the same sort of number
    ours = {str(kind) for kind in FieldType}
    return field.type if field.type not in ours else ELASTICSEARCH_TYPES[field.kind]


def _copied_to(fields: Mapping[str, Field]) -> dict[str, list[str]]:
    """Which fields a field's values are copied to; ours say it the other way round."""
    found: dict[str, list[str]] = {}
    for target, field in fields.items():
        for source in field.copies:
            found.setdefault(source, []).append(target)
    return found


def _declared(
    path: str, field: Field, fields: Mapping[str, Field], copies: Mapping[str, list[str]]
) -> dict[str, Any]:
    shown = {"type": type_name(field), **_options(field)}
    if path in copies:
        shown["copy_to"] = copies[path]
    inner = {
        name.removeprefix(f"{path}."): {"type": type_name(each), **_options(each)}
        for name, each in fields.items()
        if each.of == path
    }
    return {**shown, "fields": inner} if inner else shown


def _options(field: Field) -> dict[str, Any]:
    """What is not as Elasticsearch has it by default, under its names."""
    if not field.index:
        return {"enabled": False} if field.kind is FieldType.JSON else {"index": False, "doc_values": False}
    shown: dict[str, Any] = {}
    if field.kind is FieldType.TEXT and field.analyzer != "default":
        shown["analyzer"] = _named(field.analyzer)
    if field.normalizer:
        shown["normalizer"] = _named(field.normalizer)
    if field.format:
        shown["format"] = field.format
    if field.ignore_above is not None:
        shown["ignore_above"] = field.ignore_above
    if field.ignore_malformed:
        shown["ignore_malformed"] = True
    return shown


def _named(spec: str) -> str:
    """A spelled analyzer or normalizer by the name in front of it."""
    return spec.partition("=")[0].strip()


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
