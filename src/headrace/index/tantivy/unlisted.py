"""Dynamic fields read from the documents, where the engine cannot list its own columns.

Asked for columns by a pattern, it panics in a segment that has one whose key is empty or holds a backslash.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from tantivy import Query

from headrace.core.errors import RequestError
from headrace.index.tantivy import schema as engine

if TYPE_CHECKING:
    from headrace.index.tantivy.snapshot import Snapshot

MOST_DOCUMENTS: Final = 100_000
"""About two seconds, once per commit; a part of the fields would make searches over all of them wrong."""

SAMPLES: Final = 8
"""Values of each field that are kept."""


def dynamic_values(snapshot: Snapshot, refused: str) -> dict[str, list[Any]]:
    """Every path that no declared field has, with some of its values. Raises RequestError for too many."""
    if snapshot.searcher.num_docs > MOST_DOCUMENTS:
        raise RequestError(
            400,
            "illegal_argument_exception",
            f"the fields cannot be listed: in a document a key is empty or has a backslash ({refused}), and "
            f"there are more than {MOST_DOCUMENTS} documents; name the fields that are asked for",
        )
    found: dict[str, list[Any]] = {}
    hits = snapshot.searcher.search(snapshot.visible(Query.all_query()), MOST_DOCUMENTS).hits
    for _, address in hits:
        source = bytes(snapshot.document(address).get_first(engine.SOURCE) or b"{}")
        for path, value in leaves(msgspec.json.decode(source)):
            samples = found.setdefault(path, [])
            if len(samples) < SAMPLES:
                samples.append(value)
    declared = snapshot.fields.columns
    # A key at the top that is empty has a column, and no name by which the engine could be asked for it.
    return {path: samples for path, samples in found.items() if path and path not in declared}


def leaves(value: Any, path: str = "", *, top: bool = True) -> Iterator[tuple[str, Any]]:
    """Path and value of each scalar; those of lists are under the list's own path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name if top else f"{path}.{name}", top=False)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path, top=False)
    elif value is not None:
        yield path, value
