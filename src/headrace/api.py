"""Headrace from Python: `headrace.index(…)` builds an index, `headrace.open(…)` searches one.

Plain synchronous calls, safe inside a running event loop (a notebook): what is asynchronous inside runs in
a thread of its own. `headrace.aio` has the same names as coroutines.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from headrace.catalogue.store import read as read_catalogue
from headrace.core.errors import ConfigError, StoreError
from headrace.core.registry import suggest
from headrace.index import tantivy
from headrace.index.tantivy import store
from headrace.job import Job, Summary
from headrace.layout import catalogue_file, index_directory, indexes_directory
from headrace.remote import RemoteIndex
from headrace.result import Result
from headrace.serve import searches
from headrace.serve.hits import Shown, answer_body
from headrace.serve.requests import parsed
from headrace.serve.searches import Part

if TYPE_CHECKING:
    from headrace.model import Json

__all__ = ["Index", "Summary", "index", "open", "run"]


def index(
    records: object,
    *,
    into: str | Path,
    id: str | Sequence[str] | None = None,  # noqa: A002  the word users know
    name: str | None = None,
    fields: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> Index:
    """Index a frame or files into the folder `into`, and open it for searching.

    `records`: a Polars frame, anything that speaks Arrow (pandas, PyArrow, DuckDB), or a path, glob or
    folder, or a list of those. Exactly once: running it again with the same records adds nothing. Fields
    are inferred from the first records unless `fields` declares them (`{"origin": "keyword"}`); an index
    that is there keeps its own. `id` names the field or fields that identify a record: later records
    replace earlier ones. `options` go to the files source (`{"format": "csv"}`).

    Raises ConfigError for options that cannot be used, Fatal if the records cannot be read or stored.
    """
    job = Job(records, into=into, id=id, name=name, fields=fields, options=options)
    summary = job.run()
    opened = open(into, name=job.name)
    opened.summary = summary
    return opened


def open(  # noqa: A001  as `gzip.open`, under our name
    where: str | Path, *, name: str | None = None, key: str | None = None
) -> Index:
    """The index in the folder `where` (made by `index` or by the service), or at `http://host:port`.

    `name` chooses where there are several. `key` is an API key of a service that asks for one (if not given,
    the environment's HEADRACE_API_KEY). Raises ConfigError if there is none.
    """
    if str(where).startswith(("http://", "https://")):
        return Index(RemoteIndex(str(where), name, key=key))
    return Index(LocalIndex(find_index(Path(where), name)))


def run(config: str | Path, *, role: str = "ingester", once: bool = False) -> None:
    """Run one of a configuration's services in this process, until it is told to stop by a signal.

    role: `ingester` or `server`; once: the ingester ends when every pipeline has read all there is.
    """
    from headrace.services import run_role
    from headrace.settings import load

    run_role(role, load(config), once=once)


def find_index(directory: Path, name: str | None = None) -> Path:
    """The folder of an index: `directory` itself, or the named (or only) one of a data directory."""
    if not directory.is_dir():
        raise ConfigError(f"there is no index directory {directory}")
    if store.exists(directory):
        return directory
    found = _indexes(directory)
    if name is not None and name in found:
        return found[name]
    if name is not None and store.exists(index_directory(directory, name)):
        return index_directory(directory, name)
    if name is not None:
        raise ConfigError(f"{directory} has no index {name!r}, {suggest(name, list(found))}")
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise ConfigError(f"no index in {directory}; make one with `headrace index FILES --into {directory}`")
    raise ConfigError(f"{directory} has {len(found)} indexes, choose one: {', '.join(sorted(found))}")


def _indexes(data_dir: Path) -> dict[str, Path]:
    """The indexes of a data directory by name: those made at run time lie in folders called otherwise."""
    catalogue = read_catalogue(catalogue_file(data_dir))
    made = {
        one.name: index_directory(data_dir, one.folder)
        for one in catalogue.indexes.values()
        if not one.configured
    }
    found = {name: folder for name, folder in made.items() if store.exists(folder)}
    others = {folder for one in catalogue.indexes.values() for folder in one.folders} | {*catalogue.dropped}
    for folder in sorted(indexes_directory(data_dir).glob("*")):
        if folder.name not in others and store.exists(folder):
            found.setdefault(folder.name, folder)
    return found


class Searchable(Protocol):
    """An index in a folder or behind HTTP: both answer Elasticsearch's search body in its own shape."""

    def answer(self, body: Mapping[str, Json]) -> Mapping[str, Any]: ...

    def document(self, id: str) -> Json:  # noqa: A002
        """The document with this id, or None."""
        ...

    def close(self) -> None: ...


class LocalIndex:
    """An index in a folder of this machine."""

    def __init__(self, directory: Path) -> None:
        self._reader = tantivy.open_reader(directory)
        self._name = store.read_description(directory).name

    def answer(self, body: Mapping[str, Json]) -> Mapping[str, Any]:
        started = time.perf_counter()
        request = parsed(body, {})
        found = searches.search([Part(self._name, self._reader.view())], request)
        took = round((time.perf_counter() - started) * 1000)
        shown = Shown(source=request.source is not False, total=None if request.count else 0)
        answer = answer_body(found, took, shown, {})
        # Through JSON, so that it is the HTTP interface's answer to the letter.
        try:
            decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
        except msgspec.DecodeError as error:  # documents are put in as they are kept
            raise StoreError(f"a document cannot be read: {error}; see headrace verify") from error
        return decoded

    def document(self, id: str) -> Json:  # noqa: A002
        (hit,) = self._reader.get([id])
        found: Json = None if hit is None else msgspec.json.decode(hit.source)
        return found

    def close(self) -> None:
        self._reader.close()


class Index:
    """An index opened for searching; every call sees the newest commit. Close it, or use it as a context.

    `summary` says what was indexed, where `headrace.index` made it.
    """

    def __init__(self, searchable: Searchable) -> None:
        self._searchable = searchable
        self.summary: Summary | None = None

    def search(
        self, query: str | Mapping[str, Json] | None = None, *, size: int = 10, sort: str | Sequence[str] = ()
    ) -> Result:
        """Hits of a query: the query string of the search box, or an Elasticsearch search body.

        A mapping with `query`, `aggs`, `size`… is a whole body; `size` and `sort` ("time:desc") go with
        query strings. Raises RequestError for what cannot be answered.
        """
        whole = query if isinstance(query, Mapping) else body(query, size, sort)
        return Result.from_response(self.answer(whole))

    def answer(self, body: Mapping[str, Json]) -> Mapping[str, Any]:
        """What the HTTP interface answers to a search body, decoded."""
        return self._searchable.answer(body)

    def count(self, query: str | None = None) -> int:
        """How many documents match."""
        return self.search(query, size=0).total

    def get(self, id: str) -> Json:  # noqa: A002
        """The document with this id as it was stored, or None."""
        return self._searchable.document(id)

    def close(self) -> None:
        self._searchable.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def body(query: str | None, size: int, sort: str | Sequence[str] = ()) -> dict[str, Json]:
    """A search body: `sort` is "field", "field:desc", several of them in a list or with commas."""
    made: dict[str, Json] = {"size": size}
    if query and query.strip() != "*":
        made["query"] = {"query_string": {"query": query}}
    keys = sort.split(",") if isinstance(sort, str) else sort
    parts = [key.strip().partition(":") for key in keys if key.strip()]
    order: list[Json] = [{name: {"order": direction or "asc"}} for name, _, direction in parts]
    if order:
        made["sort"] = order
    return made
