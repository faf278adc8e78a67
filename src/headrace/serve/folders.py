"""The indexes of a folder, to be searched without a configuration and without writing a byte."""

from __future__ import annotations

from pathlib import Path

from headrace.core.errors import ConfigError, Fatal, RequestError
from headrace.core.registry import suggest
from headrace.index import tantivy
from headrace.index.base import Reader
from headrace.index.tantivy import store


class FolderReaders:
    """Readers of an index directory, or of all those of a data directory; new ones are found as they appear.

    Raises ConfigError when there is no index in the folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, Reader] = {}
        if not directory.is_dir():
            raise ConfigError(f"there is no index directory {directory}")
        if not self._found():
            raise ConfigError(
                f"no index in {directory}; make one with `headrace index FILES --into {directory}`"
            )

    def names(self) -> list[str]:
        return sorted(self._found())

    def get(self, name: str) -> Reader:
        reader = self._open.get(name)
        if reader is None:
            reader = self._open[name] = self._reader(name)
        return reader

    def close(self) -> None:
        for reader in self._open.values():
            reader.close()

    def _found(self) -> dict[str, Path]:
        """Folders of indexes, by name."""
        if store.exists(self._directory):
            return {self._directory.resolve().name: self._directory}
        return {path.name: path for path in (self._directory / "indexes").glob("*") if store.exists(path)}

    def _reader(self, name: str) -> Reader:
        found = self._found()
        if name not in found:
            raise RequestError(
                404, "index_not_found_exception", f"no such index [{name}], {suggest(name, list(found))}"
            )
        try:
            return tantivy.open_reader(found[name])
        except Fatal as error:
            raise RequestError(
                503, "index_not_ready", f"index [{name}] cannot be searched: {error}"
            ) from error
