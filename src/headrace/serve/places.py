"""Where each index is and how it is opened: what the server and the read-only folder have in common.

Readers are opened when first asked for, looked at again while there is no folder yet, and closed when their
index is gone. An index that nobody has written to may have no folder: it is empty, not an error.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import anyio
import msgspec

from headrace.catalogue.entry import Alias, Catalogue, Made
from headrace.core.errors import ConfigError, Fatal, RequestError
from headrace.core.registry import kind
from headrace.index.base import Reader
from headrace.serve import resolving
from headrace.serve.datemath import dated
from headrace.serve.doors.principal import in_use, require, require_named, visible, visible_aliases
from headrace.serve.lists import parts_of
from headrace.serve.names import Named, Target
from headrace.units import decode

Edit: TypeAlias = "Callable[[Catalogue], Catalogue]"
"""A change of the catalogue: a pure function, which may raise RequestError."""


@dataclass(frozen=True, slots=True)
class Place:
    """One concrete index.

    identity: changes when an index is dropped and another made under its name
    options:  the settings of its kind where they are known: it can then be searched before it has a folder
    made:     its entry in the catalogue
    """

    name: str
    identity: str
    kind: str
    directory: Path
    configured: bool = True
    options: Any = None
    may_be_absent: bool = False
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class New:
    """What an index is made with: the options of its kind, and what the client asked for in its own words."""

    options: Mapping[str, Any] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, Alias] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    identity: str
    reader: Reader
    empty: bool


class PlacedIndices(ABC):
    """`Indices`, but for writing, over what `places()` and `catalogue` say. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self.making = anyio.Lock()
        # Held while the next index of an alias is made: two first writes make one.

    @abstractmethod
    def places(self) -> Mapping[str, Place]:
        """All concrete indexes by name, as of now."""

    @property
    @abstractmethod
    def data_dir(self) -> Path:
        """Where the folders of indexes are."""

    @property
    @abstractmethod
    def catalogue(self) -> Catalogue:
        """As of now: entries, and the aliases of all indexes."""

    @abstractmethod
    async def change(self, edit: Edit) -> Catalogue:
        """Change the catalogue, durably. Raises RequestError, 400 where nothing may be changed here."""

    @abstractmethod
    async def make(self, name: str, made: New) -> Made:
        """Make an index, durably. Raises RequestError 400, IndexExists."""

    @abstractmethod
    def dropping(self, names: Collection[str]) -> Edit:
        """The change that forgets indexes made at run time and has their folders deleted.

        Raises RequestError for an index of the configuration."""

    @abstractmethod
    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        """As `Indices.target`."""

    @abstractmethod
    async def create(self, name: str) -> Target:
        """As `Indices.create`."""

    @abstractmethod
    def feeding(self, index: str) -> list[Target]:
        """All logs whose records go into a concrete index; none for one that has never been pushed to."""

    def names(self) -> list[str]:
        return sorted(visible(self.places()))

    def get(self, name: str) -> Reader:
        """Raises RequestError 404 `index_not_found_exception`, 503 `index_not_ready`."""
        require(name)
        places = self.places()
        if name not in places:
            raise resolving.missing(name, list(visible(places)))
        with self._lock:
            return self._reader(places[name])

    def select(
        self, expression: str, *, ignore_unavailable: bool = False, allow_no_indices: bool = True
    ) -> dict[str, Any]:
        """Index → filter of its aliases, as `resolve`, without opening anything."""
        self.check_allowed(expression)
        return resolving.resolve(
            expression,
            visible(self.places()),
            visible_aliases(self.catalogue.aliases),
            ignore_unavailable=ignore_unavailable,
            allow_no_indices=allow_no_indices,
            now=self._now(),
        )

    def dated(self, name: str) -> str:
        """A name with the dates of now filled in. Raises RequestError 400."""
        return dated(name, self._now())

    def check_allowed(self, expression: str) -> None:
        """Whether whoever asks may use all indexes that are named outright. Raises RequestError 403."""
        if in_use():
            parts = ",".join(self.dated(part.strip()) for part in parts_of(expression))
            require_named(parts, self.places(), self.catalogue.aliases)

    def resolve(
        self, expression: str, *, ignore_unavailable: bool = False, allow_no_indices: bool = True
    ) -> list[Named]:
        found = self.select(
            expression, ignore_unavailable=ignore_unavailable, allow_no_indices=allow_no_indices
        )
        return [Named(name, self.get(name), bound) for name, bound in found.items()]

    def close(self) -> None:
        with self._lock:
            for opened in self._open.values():
                opened.reader.close()
            self._open = {}

    def forget_all_but(self, places: Mapping[str, Place]) -> None:
        """Close the readers of indexes that are gone, or are others by now."""
        with self._lock:
            for name, opened in list(self._open.items()):
                if name not in places or places[name].identity != opened.identity:
                    del self._open[name]
                    opened.reader.close()

    def _reader(self, place: Place) -> Reader:
        opened = self._open.get(place.name)
        if opened is not None and opened.identity == place.identity:
            if not (opened.empty and has_folder(place)):
                return opened.reader
            opened.reader.close()
        empty = place.may_be_absent and not has_folder(place)
        reader = _empty(place) if empty else _opened(place)
        self._open[place.name] = _Open(place.identity, reader, empty)
        return reader


def settings_of(kind_name: str, options: Mapping[str, Any]) -> Any:
    """The raw options of an index as the settings of its kind. Raises RequestError 400."""
    try:
        return msgspec.convert(options, kind("index", kind_name).settings_type, dec_hook=decode)
    except (msgspec.ValidationError, ConfigError) as error:
        raise RequestError(
            400, "illegal_argument_exception", f"cannot make such an index: {error}"
        ) from error


def check_options(name: str, kind_name: str, options: Mapping[str, Any]) -> None:
    """Whether an index can be made with these raw options. Raises RequestError 400."""
    settings = settings_of(kind_name, options)
    try:
        kind("index", kind_name).load().empty_reader(name, settings).close()
    except ConfigError as error:
        raise RequestError(400, "mapper_parsing_exception", f"cannot make such an index: {error}") from error


def has_folder(place: Place) -> bool:
    # The description is written last: before it there is nothing to open.
    return (place.directory / "index.json").exists()


def _opened(place: Place) -> Reader:
    module = kind("index", place.kind).load()
    if not hasattr(module, "open_reader"):
        reason = f"an index of type {place.kind} cannot be searched"
        raise RequestError(400, "illegal_argument_exception", reason)
    try:
        reader: Reader = module.open_reader(place.directory)
    except Fatal as error:
        _not_ready(place, error)
    return reader


def _empty(place: Place) -> Reader:
    module = kind("index", place.kind).load()
    if not hasattr(module, "empty_reader"):
        return _opened(place)
    try:
        options = place.options if place.made is None else settings_of(place.kind, place.made.options)
        reader: Reader = module.empty_reader(place.name, options)
    except (ConfigError, Fatal) as error:
        _not_ready(place, error)
    return reader


def _not_ready(place: Place, why: object) -> NoReturn:
    reason = f"index [{place.name}] cannot be searched yet: {why}"
    raise RequestError(503, "index_not_ready", reason)
