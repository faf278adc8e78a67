"""What the catalogue holds of each index that was not (only) made by the configuration."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.catalogue.template import Stream, Templates

MADE: Final = "push:"
"""Begins the names of the catalogue's pipelines; no configured one can be called so."""

GENERATION: Final = "generation:"
"""Begins the name of the subscription that holds a log while a generation is made of it; the UUID follows."""


class Alias(msgspec.Struct, frozen=True, omit_defaults=True):
    """One index under another name; `filter` is a query that searches through the alias are bound by."""

    filter: dict[str, Any] | None = None
    is_write_index: bool = False


class Building(msgspec.Struct, frozen=True):
    """The generation of an index that is being made beside the one in use (PROTOCOL 27)."""

    generation: int
    options: dict[str, Any]


class Made(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An index made at run time, or (`configured`) one of the configuration's that got a push log here.

    uuid:     its identity, for ever: names its log in the buffer
    created:  unix seconds
    kind, options: what the configuration would say of it: `type` and that kind's options
    mappings, settings: as the client gave them, to be shown again
    ack:      `durable` or `indexed`: what a write to it waits for where the request does not say
    generation: grows when the index is made anew from its documents, for another mapping
    building: the next one, while it is made
    """

    name: str
    uuid: str
    created: float
    configured: bool = False
    kind: str = "tantivy"
    options: dict[str, Any] = {}
    mappings: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    ack: str = "durable"
    generation: int = 0
    building: Building | None = None

    @property
    def folder(self) -> str:
        """Its folder's name, unless configured."""
        return folder_of(self.uuid, self.generation)

    @property
    def folders(self) -> list[str]:
        """All that is its own on disk."""
        if self.building is None:
            return [self.folder]
        return [self.folder, folder_of(self.uuid, self.building.generation)]

    @property
    def log(self) -> str:
        return self.uuid

    @property
    def pipeline(self) -> str:
        """The pipeline that reads its log: named so that no configured one can be called the same."""
        return f"{MADE}{self.name}"


def folder_of(uuid: str, generation: int) -> str:
    return f"{uuid}-{generation}" if generation else uuid


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it. `version` grows by one with each change; `aliases`: alias → index → what it is there.

    `dropped` names folders of indexes that are to be deleted; a folder that is in no list is left alone.
    """

    format: int = 1
    version: int = 0
    indexes: dict[str, Made] = {}
    aliases: dict[str, dict[str, Alias]] = {}
    dropped: list[str] = []
    templates: Templates = Templates()
    streams: dict[str, Stream] = {}

    def is_stream(self, name: str) -> bool:
        """Whether an alias is a data stream: one of its indexes is a backing index."""
        stream, indexes = self.streams.get(name), self.aliases.get(name, {})
        return stream is not None and any(index in indexes for index in stream.indexes)

    @property
    def plain_aliases(self) -> dict[str, dict[str, Alias]]:
        """The aliases that are no data streams."""
        return {name: indexes for name, indexes in self.aliases.items() if not self.is_stream(name)}
