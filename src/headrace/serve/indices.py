"""The indexes of the running service: those of the configuration and those made at run time, by any name.

A configured index fed by one push pipeline takes writes through that one's log; fed by none it gets an entry,
and so a log, of its own at its first write.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio.to_thread

from headrace.catalogue.entry import Alias, Catalogue, Made
from headrace.catalogue.store import Keeper
from headrace.core.errors import ConfigError, RequestError
from headrace.layout import index_directory
from headrace.serve import templates
from headrace.serve.datemath import dated
from headrace.serve.doors.principal import require
from headrace.serve.editing import IndexExists, with_index, without_indexes
from headrace.serve.index_names import check_index_name
from headrace.serve.manage.indexes import parse_new
from headrace.serve.manage.streams import make_stream
from headrace.serve.names import Target
from headrace.serve.places import Edit, New, Place, PlacedIndices
from headrace.serve.resolving import missing
from headrace.settings import Settings


@dataclass(frozen=True, slots=True)
class Feed:
    """A push pipeline of the configuration: its name, the log it reads, its own level of acknowledgement."""

    pipeline: str
    log: str
    ack: str = "durable"


@dataclass(frozen=True, slots=True)
class Configured:
    """An index of the configuration.

    fed:   some pipeline of the configuration writes to it, and so makes its folder
    feeds: those of them that take pushes
    """

    name: str
    kind: str = "tantivy"
    options: Any = None
    key: tuple[str, ...] = ()
    fed: bool = False
    feeds: tuple[Feed, ...] = ()


def configured(settings: Settings) -> dict[str, Configured]:
    """The indexes of a configuration, by name."""
    found = {}
    for name, config in settings.indexes.items():
        pipelines = [each for each in settings.pipelines.values() if each.index == name]
        feeds = tuple(
            Feed(each.name, each.source_options.log or each.name, each.source_options.ack)
            for each in pipelines
            if each.source_kind == "http_push"
        )
        key = tuple(getattr(config.options, "key", ()))
        found[name] = Configured(name, config.kind, config.options, key, bool(pipelines), feeds)
    return found


class ServerIndices(PlacedIndices):
    """`Indices` of the one process that writes the catalogue. Raises ConfigError for a name that is twice."""

    def __init__(
        self,
        configured: Mapping[str, Configured],
        keeper: Keeper,
        data_dir: Path,
        *,
        auto_create: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(now)
        self._configured = configured
        self._keeper = keeper
        self._data_dir = data_dir
        self._auto_create = auto_create
        self._placed: tuple[Catalogue, Mapping[str, Place]] | None = None
        for made in keeper.catalogue.indexes.values():
            if made.name in configured and not made.configured:
                raise ConfigError(
                    f"index {made.name!r} is in the configuration and was made at run time as well; "
                    f"rename the configured one, or take it out and send DELETE /{made.name} first",
                    path=("indexes", made.name),
                )

    @property
    def data_dir(self) -> Path:
        return self._data_dir

    @property
    def catalogue(self) -> Catalogue:
        return self._keeper.catalogue

    def places(self) -> Mapping[str, Place]:
        catalogue, placed = self.catalogue, self._placed
        if placed is None or placed[0] is not catalogue:
            self._placed = placed = catalogue, self._places(catalogue)
        return placed[1]

    def _places(self, catalogue: Catalogue) -> Mapping[str, Place]:
        places = {}
        for each in self._configured.values():
            folder = index_directory(self._data_dir, each.name)
            entry = catalogue.indexes.get(each.name)
            places[each.name] = Place(
                each.name, each.name, each.kind, folder, True, each.options, not each.fed, entry
            )
        for made in catalogue.indexes.values():
            if not made.configured:
                folder = index_directory(self._data_dir, made.folder)
                places[made.name] = Place(made.name, made.folder, made.kind, folder, False, None, True, made)
        return MappingProxyType(places)

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        """Where writes to a name go. Raises RequestError 400, and 404 where an alias is required and none."""
        name = dated(name, self._now())
        indexes = self._aliased(name)
        if indexes:
            return self.target(_write_index(name, indexes))
        require(name)
        if require_alias:
            flag = "[require_alias] request flag is [true]"
            reason = f"no such index [{name}] and {flag} and [{name}] is not an alias"
            raise RequestError(404, "index_not_found_exception", reason)
        place = self.places().get(name)
        if place is None:
            return None
        feeds = self._configured[name].feeds if place.configured else ()
        if len(feeds) > 1:
            pushes = ", ".join(f"/ingest/{feed.pipeline}" for feed in feeds)
            reason = (
                f"index [{name}] is fed by several push pipelines: say which, by writing to one of {pushes}"
            )
            raise RequestError(400, "illegal_argument_exception", reason)
        found = self.feeding(name)
        return found[0] if found else None

    def feeding(self, index: str) -> list[Target]:
        place = self.places().get(index)
        if place is None:
            return []
        if place.configured:
            each = self._configured[index]
            found = [Target(index, index, feed.log, feed.pipeline, each.key, feed.ack) for feed in each.feeds]
            key, identity = each.key, index
        else:
            found, key, identity = [], _key(place.made), place.made.uuid if place.made else place.identity
        made = place.made
        if made is not None:
            found.append(Target(index, identity, made.log, made.pipeline, key, made.ack))
        return found

    async def create(self, name: str) -> Target:
        """The target of a first write. Raises RequestError 400 for the name, 404 where that is forbidden."""
        found = self.target(name)
        if found is not None:
            return found
        name = dated(name, self._now())
        is_configured = name in self._configured
        if not is_configured and not self._auto_create:
            reason = f"no such index [{name}] and auto_create is off"
            raise RequestError(404, "index_not_found_exception", reason)
        # Where it exists by now, it was somebody else's first write: theirs is ours.
        with contextlib.suppress(IndexExists):
            await (self._enter(name, New(), configured=True) if is_configured else self._first(name))
        found = self.target(name)
        if found is None:
            raise missing(name)  # Deleted in between.
        return found

    async def _first(self, name: str) -> None:
        """Make what a first write goes to, as the templates say."""
        label = templates.makes_stream(self.catalogue, name)
        if label is not None:
            await make_stream(self, name, label)
            return
        body, _ = templates.applied(self.catalogue, name, {})
        new, _ = await parse_new(name, body)
        await self.make(name, new)

    async def make(self, name: str, made: New) -> Made:
        require(name)
        check_index_name(name)
        if name in self._configured:
            entry = self.catalogue.indexes.get(name)
            raise IndexExists(name, entry.uuid if entry else name)
        return await self._enter(name, made)

    def dropping(self, names: Collection[str]) -> Edit:
        for name in names:
            require(name)
            if name in self._configured:
                reason = f"index [{name}] is in the configuration: remove it there, and then its folder"
                raise RequestError(400, "illegal_argument_exception", reason)
        return lambda catalogue: without_indexes(catalogue, names, self._data_dir)

    async def _enter(self, name: str, new: New, *, configured: bool = False) -> Made:
        made = Made(
            name=name,
            uuid=str(uuid.uuid4()),
            created=round(self._now(), 3),
            configured=configured,
            options=dict(new.options),
            mappings=dict(new.mappings),
            settings=dict(new.settings),
        )
        await self.change(lambda catalogue: with_index(catalogue, made, new.aliases, self._known(catalogue)))
        return made

    async def change(self, edit: Edit) -> Catalogue:
        changed = await anyio.to_thread.run_sync(self._keeper.change, edit)
        self.forget_all_but(self.places())
        return changed

    def _known(self, catalogue: Catalogue) -> set[str]:
        """All names of indexes in a catalogue that is about to be changed."""
        return {*self._configured, *(made.name for made in catalogue.indexes.values() if not made.configured)}

    def _aliased(self, name: str) -> dict[str, Alias]:
        places = self.places()
        indexes = self.catalogue.aliases.get(name, {}) if name not in places else {}
        return {index: what for index, what in indexes.items() if index in places}


def _write_index(alias: str, indexes: Mapping[str, Alias]) -> str:
    writing = [index for index, what in indexes.items() if what.is_write_index]
    if len(writing) == 1:
        return writing[0]
    if len(indexes) == 1:
        return next(iter(indexes))
    reason = (
        f"no write index is defined for alias [{alias}]. The write index may be explicitly disabled using "
        "is_write_index=false or the alias points to multiple indices without one being designated as a "
        "write index"
    )
    raise RequestError(400, "illegal_argument_exception", reason)


def _key(made: Made | None) -> tuple[str, ...]:
    given = made.options.get("id") if made is not None else None
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)
