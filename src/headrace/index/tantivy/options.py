"""The options of an index on Tantivy, as a configuration spells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.fields import Field, FieldType, parse_fields
from headrace.index.tantivy.schema import FIELD_LIMIT, build
from headrace.units import Duration, Size

THREADS: Final = 2
MEMORY: Final = Size("200MB")
LEAST_MEMORY_PER_THREAD: Final = Size("16MB")
"""The engine refuses less than 15 MB for a thread."""


STRICT: Final = "strict"
AUTO: Final = "auto"
NEVER: Final = "never"


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is deleted when it is due."""

    max_age: Annotated[
        Duration | None, Meta(description="Documents whose `field` is older are deleted, for example `30d`.")
    ] = None
    field: Annotated[str | None, Meta(description="The date field that says how old a document is.")] = None
    max_bytes: Annotated[
        Size | None, Meta(description="Above this size the oldest documents (by arrival) are deleted.")
    ] = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `type: tantivy`."""

    fields: Annotated[
        dict[str, str | dict[str, Any]],
        Meta(
            description="Declared fields: a type, `type[]` for lists, or `{type: text, analyzer: english}`."
        ),
    ] = {}
    id: Annotated[
        str | list[str] | None,
        Meta(description="Field or fields that identify a record: it replaces the one with the same values."),
    ] = None
    dynamic: Annotated[
        bool | Literal["strict"],
        Meta(
            description="Undeclared fields: true indexes them, false only keeps them, strict rejects records."
        ),
    ] = True
    field_limit: Annotated[
        int, Meta(description="Declared fields beyond it share one JSON field: kept and searchable.", ge=1)
    ] = FIELD_LIMIT
    retention: Annotated[Retention | None, Meta(description="When documents are deleted by themselves.")] = (
        None
    )
    memory: Annotated[Size, Meta(description="Memory of the engine's writer before it writes a segment.")] = (
        MEMORY
    )
    live: Annotated[
        str,
        Meta(
            description="Newest commits in memory, settled to disk every second: `auto` (with `headrace "
            "run`, where only pushes feed it), `never`, or a folder on a tmpfs.",
            min_length=1,
        ),
    ] = NEVER
    threads: Annotated[int, Meta(description="Threads that index.", ge=1, le=8)] = THREADS

    @property
    def key(self) -> tuple[str, ...]:
        """The fields of the declared id; empty where ids are derived."""
        if self.id is None:
            return ()
        return (self.id,) if isinstance(self.id, str) else tuple(self.id)

    @property
    def dynamic_name(self) -> str:
        return self.dynamic if isinstance(self.dynamic, str) else str(self.dynamic).lower()

    def declared(self) -> dict[str, Field]:
        """The fields, parsed. Raises ConfigError with the path of the one that is wrong."""
        return parse_fields(self.fields)


def check(settings: Settings) -> dict[str, Field]:
    """The declared fields, after a look at what types and bounds cannot say. Raises ConfigError."""
    fields = settings.declared()
    build(fields, field_limit=settings.field_limit)
    if settings.id is not None and not settings.key:
        raise ConfigError("id names no field; leave it out to have ids made", path=("id",))
    unknown = [name for name in settings.key if name not in fields]
    if unknown and settings.dynamic == STRICT:
        raise ConfigError(
            f"id {unknown[0]!r} is not declared, and dynamic: strict would reject every record that has it, "
            f"{suggest(unknown[0], list(fields))}",
            path=("id",),
        )
    if settings.memory < settings.threads * LEAST_MEMORY_PER_THREAD:
        least = Size(settings.threads * LEAST_MEMORY_PER_THREAD)
        raise ConfigError(
            f"memory {settings.memory} is too little for {settings.threads} threads; at least {least}",
            path=("memory",),
        )
    if settings.live not in (AUTO, NEVER) and not settings.live.startswith("/"):
        raise ConfigError(
            f"live is auto, never, or the whole path of a folder on a tmpfs, not {settings.live!r}",
            path=("live",),
        )
    if settings.retention is not None:
        _check_retention(settings.retention, fields)
    return fields


def _check_retention(retention: Retention, fields: Mapping[str, Field]) -> None:
    if retention.max_age is None:
        return
    declared = fields.get(retention.field or "")
    if declared is None or declared.kind is not FieldType.DATE:
        dates = ", ".join(name for name, field in fields.items() if field.kind is FieldType.DATE) or "none"
        raise ConfigError(
            f"max_age needs a declared date field, not {retention.field!r} (have: {dates})",
            path=("retention", "field"),
        )
