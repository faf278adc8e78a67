"""`PUT /{index}`'s mappings and settings → options of `type: tantivy`, and what of them is not honoured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.core.errors import RequestError
from headrace.fields import ELASTICSEARCH_NAMES, FieldType


@dataclass(frozen=True, slots=True)
class Mapped:
    """options: as YAML would say them; unsupported: a sentence for each thing that is not as asked."""

    options: dict[str, Any]
    unsupported: list[str] = field(default_factory=list)


def from_elasticsearch(mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapped:
    """The options of an index. Raises RequestError 400 where leaving a thing out would change results."""
    del settings
    options: dict[str, Any] = {"fields": dict(_fields("", mappings.get("properties") or {}))}
    if "dynamic" in mappings:
        given = mappings["dynamic"]
        options["dynamic"] = given if given == "strict" else given in (True, "true", "runtime")
    return Mapped(options)


def _fields(prefix: str, properties: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, declared in properties.items():
        path = f"{prefix}{name}"
        if "properties" in declared and declared.get("type", "object") in ("object", "nested"):
            found += _fields(f"{path}.", declared["properties"])
            continue
        kind = declared.get("type", "object")
        if kind not in {*FieldType, *ELASTICSEARCH_NAMES}:
            raise RequestError(
                400,
                "mapper_parsing_exception",
                f"The mapper type [{kind}] declared on field [{name}] does not exist. It might have been "
                "created within a future version or requires a plugin to be installed. "
                "Check the documentation.",
            )
        found.append((path, {"type": kind}))
    return found
