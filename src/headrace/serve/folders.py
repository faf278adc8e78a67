"""The indexes of a folder, to be searched without a configuration and without writing a byte."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from headrace.catalogue.entry import Catalogue, Made
from headrace.catalogue.store import Watcher
from headrace.core.errors import ConfigError, RequestError, StoreError
from headrace.core.log import event
from headrace.index.tantivy import store
from headrace.layout import catalogue_file, index_directory
from headrace.serve.names import Target
from headrace.serve.places import Edit, New, Place, PlacedIndices

log = logging.getLogger(__name__)


class FolderReaders(PlacedIndices):
    """Readers of an index directory, or of all those of a data directory; new ones are found as they appear.

    Their names are those they were made with. Raises ConfigError when there is no index in the folder.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._watcher = Watcher(catalogue_file(directory))
        self._known = Catalogue()
        self._watching = threading.Lock()
        self._described: dict[Path, tuple[tuple[int, int], str]] = {}
        if not directory.is_dir():
            raise ConfigError(f"there is no index directory {directory}")
        if not self.places():
            raise ConfigError(
                f"no index in {directory}; make one with `headrace index FILES --into {directory}`"
            )

    @property
    def data_dir(self) -> Path:
        return self._directory

    @property
    def catalogue(self) -> Catalogue:
        """What the service that writes here says now; the last that could be read, if it is damaged."""
        with self._watching:
            try:
                self._known = self._watcher.changed() or self._known
            except StoreError as error:
                event(log.warning, "catalogue.unreadable", error=str(error))
            return self._known

    def places(self) -> Mapping[str, Place]:
        catalogue = self.catalogue
        places: dict[str, Place] = {}
        for made in catalogue.indexes.values():
            if not made.configured:
                folder = index_directory(self._directory, made.folder)
                places[made.name] = Place(made.name, made.folder, made.kind, folder, False, None, True, made)
        known = {place.directory for place in places.values()}
        for folder in self._folders():
            if folder in known or folder.name in catalogue.dropped:
                continue
            name = self._name(folder)
            # A copy beside its original goes by its folder.
            name = folder.name if name in places else name
            places[name] = Place(name, str(folder), "tantivy", folder)
        self.forget_all_but(places)
        return MappingProxyType(places)

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        del name, require_alias
        _refuse()

    async def create(self, name: str) -> Target:
        del name
        _refuse()

    async def change(self, edit: Edit) -> Catalogue:
        del edit
        _refuse()

    async def make(self, name: str, made: New) -> Made:
        del name, made
        _refuse()

    def dropping(self, names: Collection[str]) -> Edit:
        del names
        _refuse()

    def feeding(self, index: str) -> list[Target]:
        """None: nothing is written here, so there is nothing to wait for."""
        del index
        return []

    def _folders(self) -> list[Path]:
        if store.exists(self._directory):
            return [self._directory]
        return sorted(path for path in (self._directory / "indexes").glob("*") if store.exists(path))

    def _name(self, folder: Path) -> str:
        """The name in the folder's description; the folder's own where that cannot be read."""
        try:
            stat = (folder / store.DESCRIPTION).stat()
            state = stat.st_ino, stat.st_mtime_ns
            seen = self._described.get(folder)
            if seen is None or seen[0] != state:
                seen = self._described[folder] = state, store.read_description(folder).name
        except (OSError, StoreError):
            return folder.resolve().name
        return seen[1]


def _refuse() -> NoReturn:
    reason = "this server only reads a folder: write to the service that owns it"
    raise RequestError(400, "illegal_argument_exception", reason)
