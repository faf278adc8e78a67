"""`PUT /{index}`'s mappings and settings → options of `type: tantivy`, and what of them is not honoured.

Nothing is ignored in silence: what changes no answer is kept, what cannot be as asked is a sentence in
`unsupported`, and what would give wrong answers is refused as Elasticsearch refuses what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.index.mapping.analysis import Analysis
from headrace.index.mapping.index_settings import analysis_of, check_settings, field_limit, flattened
from headrace.index.mapping.leaves import Leaves
from headrace.index.mapping.notices import Notices, refused


@dataclass(frozen=True, slots=True)
class Mapped:
    """options: as YAML would say them; unsupported: a sentence for each thing that is not as asked."""

    options: dict[str, Any]
    unsupported: list[str] = field(default_factory=list)


def from_elasticsearch(mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapped:
    """The options of an index. Raises RequestError 400 where leaving a thing out would change results."""
    notices = Notices()
    flat = flattened(settings)
    check_settings(flat, notices)
    _check_root(mappings, notices)
    leaves = Leaves(Analysis(analysis_of(flat), notices), notices, flat)
    _walk("", mappings.get("properties", {}), leaves)
    leaves.copy()
    options: dict[str, Any] = {"fields": leaves.fields}
    if "dynamic" in mappings:
        options["dynamic"] = _dynamic(mappings["dynamic"], notices)
    if (limit := field_limit(flat)) is not None:
        options["field_limit"] = limit
    return Mapped(options, notices.sentences())


def _walk(prefix: str, properties: Any, leaves: Leaves) -> None:
    """Objects by their inner fields, everything else by its type."""
    if not isinstance(properties, Mapping):
        raise refused(f"Expected map for property [properties] on field [{prefix.rstrip('.') or '_doc'}]")
    for name, declared in properties.items():
        path = f"{prefix}{name}"
        if not name or any(not part.strip() for part in str(name).split(".")):
            raise refused("field name cannot be an empty string")
        if not isinstance(declared, Mapping):
            raise refused(
                f"Failed to parse mapping: Expected map for property [properties] on field [{name}]"
            )
        kind = declared.get("type", "object")
        if kind in ("object", "nested"):
            _object(path, str(kind), declared, leaves)
        else:
            leaves.add(path, str(kind), declared)


def _object(path: str, kind: str, declared: Mapping[str, Any], leaves: Leaves) -> None:
    notices = leaves.notices
    for option in declared:
        if option not in _OF_OBJECTS:
            raise refused(
                f"Failed to parse mapping: Mapping definition for [{path}] has unsupported parameters:  "
                f"[{option} : {declared[option]}]"
            )
    if declared.get("enabled") in (False, "false"):
        leaves.keep(path, kind)
        return
    if kind == "nested":
        notices.add(
            "the objects in a list of type [nested] are searched together, like those of type [object]; "
            "queries of type [nested] are refused",
            path,
        )
    if "dynamic" in declared and declared["dynamic"] not in (True, "true"):
        notices.add("[dynamic] is a matter of the whole index here, not of one object", path)
    inner = declared.get("properties") or {}
    if not inner:
        leaves.fields[path] = {"type": kind if kind == "object" else "object"}
    _walk(f"{path}.", inner, leaves)


_OF_OBJECTS: Final = (
    "type", "properties", "enabled", "dynamic", "subobjects", "include_in_parent", "include_in_root", "meta",
    "store_array_source", "synthetic_source_keep",
)  # fmt: skip


def _dynamic(given: Any, notices: Notices) -> bool | str:
    match str(given).lower():
        case "true" | "strict_allow_templates":
            return True
        case "false":
            return False
        case "strict":
            return "strict"
        case "runtime":
            notices.add("[dynamic: runtime] is taken as [true]: undeclared fields are indexed")
            return True
        case _:
            raise refused(f"No enum constant org.elasticsearch.index.mapper.ObjectMapper.Dynamic.{given}")


def _check_root(mappings: Mapping[str, Any], notices: Notices) -> None:
    for name, value in mappings.items():
        if name not in _ROOT:
            raise refused(f"Root mapping definition has unsupported parameters:  [{name} : {value}]")
    if mappings.get("runtime"):
        raise refused(
            f"runtime fields are not computed here: [{', '.join(mappings['runtime'])}]; "
            "declare the fields, and fill them in before they are indexed"
        )
    if mappings.get("dynamic_templates"):
        notices.add(
            "[dynamic_templates] are not applied: an undeclared field is searched by the type of its values "
            "in JSON, as words and as a whole; declare the fields that need another type"
        )
    for name, default, sentence in _DIFFERENT:
        if str(mappings.get(name, default)).lower() != default:
            notices.add(sentence)
    source = mappings.get("_source") or {}
    if (
        str(source.get("enabled", "true")).lower() == "false"
        or source.get("excludes")
        or source.get("includes")
    ):
        notices.add("[_source] is always kept, and whole; filter it in the search")
    if (mappings.get("_routing") or {}).get("required"):
        notices.add("[_routing] has no effect: an index is one shard, and documents are found by their id")


_ROOT: Final = (
    "properties", "dynamic", "_source", "_routing", "_meta", "dynamic_templates", "date_detection",
    "numeric_detection", "dynamic_date_formats", "runtime", "subobjects", "_size", "_field_names",
    "_doc_count", "_data_stream_timestamp", "enabled",
)  # fmt: skip
_DIFFERENT: Final = (
    (
        "date_detection",
        "true",
        "[date_detection: false] is not honoured: an undeclared RFC 3339 date is one; declare it as keyword",
    ),
    ("numeric_detection", "false", "[numeric_detection] is not honoured: an undeclared text is a text"),
    (
        "enabled",
        "true",
        "[enabled: false] of the whole mapping is not honoured; give [dynamic: false] instead",
    ),
)
