"""Documents of the last commit by their ids, for the operations that depend on them."""

from __future__ import annotations

from collections.abc import Sequence

import tantivy
from tantivy import Query

from headrace.index.tantivy.schema import ID, SEQ, SOURCE
from headrace.index.tantivy.uncommitted import Document


def committed_documents(
    index: tantivy.Index, searcher: tantivy.Searcher, ids: Sequence[str]
) -> dict[str, Document]:
    """Those of the ids that the searcher's commit has, found by one query."""
    if not ids:
        return {}
    query = Query.term_set_query(index.schema, ID, list(ids))
    hits = searcher.search(query, limit=len(ids), count=False).hits
    return dict(_document(searcher.doc(address)) for _, address in hits)


def _document(found: tantivy.Document) -> tuple[str, Document]:
    source = bytes(found.get_first(SOURCE) or b"{}").decode()
    return str(found.get_first(ID)), Document(int(found.get_first(SEQ) or 0), source)
