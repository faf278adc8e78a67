"""Pages by score whose ties have an order: by the next keys, and by `_seq` at last.

The engine gives the best documents, ties in an order of its own. So more are fetched than wanted, until the
last wanted one's ties are all there, and those are put in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.index.base import SortKey
from headrace.index.query import tree
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.exact import unscored
from headrace.index.tantivy.snapshot import EVERYTHING, Snapshot, guarded
from headrace.index.tantivy.sorting import complete, walk
from headrace.model import Json

MOST_TIES: Final = 65_536
"""Documents looked at to put ties in order, or to find those of a least score; 16 bytes each."""


@dataclass(frozen=True, slots=True)
class Place:
    """A document's score, and its keys as answered: the score, the other keys, `_seq`."""

    seq: int
    score: float
    keys: tuple[Json, ...]


def within(query: Query, condition: Query) -> Query:
    """Both, scored by the first alone."""
    if query is EVERYTHING:
        return unscored(condition, 1.0)
    return Query.boolean_query([(Occur.Must, query), (Occur.Must, unscored(condition))])


def is_constant(node: tree.Node) -> bool:
    """Whether all documents it finds surely score the same."""
    match node:
        case tree.All() | tree.Nothing() | tree.Constant():
            return True
        case tree.Boost():
            return is_constant(node.query)
        case tree.Bool():
            return not node.should and all(is_constant(each) for each in node.must)
        case _:
            return False


def walk_scores(
    snapshot: Snapshot,
    query: Query,
    others: Sequence[SortKey],
    after: Sequence[Json] | None,
    wanted: int,
    *,
    constant: bool,
) -> list[Place]:
    """The first `wanted` places after the cursor. Raises RequestError where too many have one score."""
    ordered = complete(others)
    score, rest = _cursor(ordered, after)
    if constant:
        return _alike(snapshot, query, ordered, score, rest, wanted)
    limit = min(max(4 * wanted, 128), MOST_TIES)
    while True:
        best = _best(snapshot, query, limit)
        whole = len(best) < limit
        usable = best if whole else [entry for entry in best if entry[0] > best[-1][0]]
        found = _in_order(snapshot, usable, ordered, score, rest)
        if whole or len(found) >= wanted:
            return found[:wanted]
        if limit >= MOST_TIES:
            _too_many("have the same score; sort by a field, or by [_doc]")
        limit = min(limit * 8, MOST_TIES)


def at_least(snapshot: Snapshot, query: Query, least: float) -> Query:
    """The query without what scores less."""
    limit = 1024
    while True:
        best = _best(snapshot, query, limit)
        if len(best) < limit or best[-1][0] < least:
            return within(query, _these(snapshot, [seq for score, seq in best if score >= least]))
        if limit >= MOST_TIES:
            _too_many("reach the [min_score]; narrow the query")
        limit *= 8


def scores_of(snapshot: Snapshot, query: Query, seqs: Sequence[int]) -> dict[int, float]:
    """What the query gives these documents."""
    if not seqs:
        return {}
    found = _best(snapshot, within(query, _these(snapshot, seqs)), len(seqs))
    return {seq: score for score, seq in found}


def _cursor(
    ordered: Sequence[SortKey], after: Sequence[Json] | None
) -> tuple[float | None, Sequence[Json] | None]:
    if after is None:
        return None, None
    if not after or isinstance(after[0], bool) or not isinstance(after[0], int | float):
        raise RequestError(
            400, "illegal_argument_exception", "[search_after] of a sort by [_score] begins with a score"
        )
    rest = list(after[1:])
    if not rest and len(ordered) == 1:
        rest = [2**63 - 1 if not ordered[0].descending else -(2**63)]
    return float(after[0]), rest


def _alike(
    snapshot: Snapshot,
    query: Query,
    ordered: Sequence[SortKey],
    score: float | None,
    rest: Sequence[Json] | None,
    wanted: int,
) -> list[Place]:
    best = _best(snapshot, query, 1)
    if not best or (score is not None and best[0][0] > score):
        return []
    value = best[0][0]
    begin = rest if score is not None and value == score else None
    found: dict[int, Place] = {}
    for place in walk(snapshot, query, ordered, begin, wanted):
        found.setdefault(place.seq, Place(place.seq, value, (value, *place.keys)))
        if len(found) >= wanted:
            break
    return list(found.values())


def _in_order(
    snapshot: Snapshot,
    best: Sequence[tuple[float, int]],
    ordered: Sequence[SortKey],
    score: float | None,
    rest: Sequence[Json] | None,
) -> list[Place]:
    by_seq = {seq: value for value, seq in best if score is None or value <= score}
    if len(ordered) == 1:
        keys: dict[int, tuple[Json, ...]] = {seq: (seq,) for seq in by_seq}
        turn = -1 if ordered[0].descending else 1
        rank = {seq: turn * seq for seq in by_seq}
    else:
        keys = _keys(snapshot, list(by_seq), ordered, None)
        rank = {seq: place for place, seq in enumerate(keys)}
    if score is not None and rest is not None:
        ties = [seq for seq, value in by_seq.items() if value == score]
        later = _keys(snapshot, ties, ordered, rest)
        by_seq = {s: v for s, v in by_seq.items() if v < score or later.get(s) == keys[s]}
    return [
        Place(seq, by_seq[seq], (by_seq[seq], *keys[seq]))
        for seq in sorted(by_seq, key=lambda seq: (-by_seq[seq], rank[seq]))
    ]


def _keys(
    snapshot: Snapshot, seqs: Sequence[int], ordered: Sequence[SortKey], after: Sequence[Json] | None
) -> dict[int, tuple[Json, ...]]:
    """Keys of these documents, in their order; the first of a document that has several is the one."""
    found: dict[int, tuple[Json, ...]] = {}
    if seqs:
        for place in walk(snapshot, _these(snapshot, seqs), ordered, after, len(seqs)):
            found.setdefault(place.seq, place.keys)
    return found


def _best(snapshot: Snapshot, query: Query, limit: int) -> list[tuple[float, int]]:
    """(score, `_seq`) of the best, as the engine orders them."""
    searcher = snapshot.searcher
    hits: Any = guarded(lambda: searcher.search(snapshot.visible(query), limit, count=False)).hits
    seqs: Any = guarded(lambda: searcher.fast_field_values(engine.SEQ, [address for _, address in hits]))
    return [(score, seq) for (score, _), seq in zip(hits, seqs, strict=True)]


def _these(snapshot: Snapshot, seqs: Sequence[int]) -> Query:
    if not seqs:
        return Query.empty_query()
    return guarded(lambda: Query.term_set_query(snapshot.schema, engine.SEQ, list(seqs)))


def _too_many(what: str) -> None:
    raise RequestError(400, "illegal_argument_exception", f"more than {MOST_TIES} documents {what}")
