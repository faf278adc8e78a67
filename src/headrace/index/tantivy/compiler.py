"""A query tree → the engine's query: the only place that knows how each kind of field is searched.

A query on a declared field also finds values that did not fit its type and live under the same path in the
dynamic pair (PROTOCOL 26). Where a commit has such values, each query on one field is asked of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.options import minimum
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.exact import kept, unscored
from headrace.index.tantivy.ranges import any_of, texts_query
from headrace.index.tantivy.snapshot import EVERYTHING, Snapshot
from headrace.index.tantivy.targets import Target, names_like, resolve, words
from headrace.index.tantivy.words import Words, some

MOST_FIELDS: Final = 1024
"""Fields one query may reach through `*`, as in Elasticsearch."""


def compile_query(snapshot: Snapshot, node: tree.Node, now: int | None = None) -> Query:
    """The engine's query. Raises RequestError for what a field's type cannot answer.

    now: microseconds since 1970 that `now` in dates means, all over one request; the clock's without
    """
    return _Compiler(snapshot, time.time_ns() // 1000 if now is None else now).node(node)


class _Compiler(Words):
    """Compiles one query against one snapshot; a method for each kind of node."""

    def __init__(self, snapshot: Snapshot, now: int) -> None:
        super().__init__(snapshot, now)
        self.lenient = False

    def node(self, node: tree.Node) -> Query:
        match node:
            case tree.All():
                return EVERYTHING
            case tree.Nothing():
                return Query.empty_query()
            case tree.Ids():
                return texts_query(self.snapshot, engine.ID, list(node.values))
            case tree.Bool():
                return self.boolean(node)
            case tree.Best():
                parts = [self.node(query) for query in node.queries]
                return Query.disjunction_max_query(parts, node.tie) if parts else Query.empty_query()
            case tree.Constant():
                return Query.const_score_query(self.node(node.query), node.score)
            case tree.Boost():
                found = self.node(node.query)
                return found if node.factor == 1 else Query.boost_query(kept(found), node.factor)
            case tree.Demote():
                return self.demoted(node)
            case tree.Lenient():
                outer, self.lenient = self.lenient, True
                found = self.node(node.query)
                self.lenient = outer
                return found
            case tree.Across():
                return self.across(node)
            case _:
                return self.leaf(node)

    def leaf(self, node: Any) -> Query:
        """A node on one field, or on all that its name's wildcards reach."""
        ask = _LEAVES[type(node)]
        if not node.field or "\0" in node.field:
            raise RequestError(400, "illegal_argument_exception", "field name is null or empty")
        if "*" not in node.field:
            try:
                target = resolve(self.snapshot, node.field)
                return self.of_both(ask, target, node)
            except RequestError as error:
                if self.lenient and error.status == 400:
                    return Query.empty_query()
                raise
        names = names_like(self.snapshot, node.field)
        if len(names) > MOST_FIELDS:
            raise RequestError(
                400,
                "illegal_argument_exception",
                f"[{node.field}] reaches {len(names)} fields; the most is {MOST_FIELDS}: name the fields",
            )
        found = []
        for name in names:
            try:
                target = resolve(self.snapshot, name)
                found.append(self.of_both(ask, target, node))
            except RequestError:
                continue  # a field of another type cannot hold the value
        if not found:
            return Query.empty_query()
        return Query.disjunction_max_query(found)

    def of_both(self, ask: Callable[[_Compiler, Target, Any], Query], target: Target, node: Any) -> Query:
        """A column's values, and those that did not fit it; what does not fit either is asked of these."""
        asked = target.asked(node)
        hidden = target.column in (None, engine.ID, engine.SEQ)
        if hidden or isinstance(node, tree.Exists) or not self.snapshot.has_misfits(target.path):
            return ask(self, target, asked)
        try:
            column = self._fitting(ask, target, asked)
        except values.Unfit:
            return ask(self, target.misfits(FieldType.JSON), node)
        return any_of([column, ask(self, target.misfits(target.kind), node)])

    def boolean(self, node: tree.Bool) -> Query:
        must, filters = [self.node(each) for each in node.must], [self.node(each) for each in node.filter]
        free = sum(query is EVERYTHING for query in must) if filters else 0
        if free:  # What a match of all adds to the score, the first filter does for nothing.
            must = [query for query in must if query is not EVERYTHING]
        clauses = [(Occur.Must, kept(query)) for query in must]
        clauses += [(Occur.Must, unscored(each, 0 if at else free)) for at, each in enumerate(filters)]
        clauses += self._should(node, bare=not clauses)
        if not clauses:
            if not node.must_not:
                return EVERYTHING
            clauses = [(Occur.Must, unscored(Query.all_query()))]
        clauses += [(Occur.MustNot, self.node(query)) for query in node.must_not]
        return Query.boolean_query(clauses)

    def _should(self, node: tree.Bool, *, bare: bool) -> list[tuple[Occur, Query]]:
        if not node.should:
            return []
        needed = minimum(node.minimum, len(node.should), default=1 if bare else 0)
        parts = [(Occur.Should, kept(self.node(query))) for query in node.should]
        if needed > len(parts):
            return [(Occur.Must, Query.empty_query())]
        if needed <= 0:
            return parts if not bare else [(Occur.Must, unscored(Query.all_query())), *parts]
        return [(Occur.Must, Query.boolean_query(parts, needed))]

    def demoted(self, node: tree.Demote) -> Query:
        """Two queries that no document matches both of, one with the lower score."""
        positive, negative = kept(self.node(node.positive)), self.node(node.negative)
        plain = Query.boolean_query([(Occur.Must, positive), (Occur.MustNot, negative)])
        both = Query.boolean_query([(Occur.Must, positive), (Occur.Must, unscored(negative))])
        return any_of([plain, Query.boost_query(both, node.factor)])

    def across(self, node: tree.Across) -> Query:
        """Each word in any field; only fields with the same analyzer can share words."""
        groups: dict[str, list[tuple[Target, float]]] = {}
        for name, factor in node.fields:
            for found in names_like(self.snapshot, name) if "*" in name else [name]:
                target = resolve(self.snapshot, found)
                whole = target.raw or (target.column is not None and target.kind is not FieldType.TEXT)
                groups.setdefault(f"whole {found}" if whole else target.analyzer, []).append((target, factor))
        parts = [self._across(node, targets) for targets in groups.values()]
        return Query.disjunction_max_query(parts, node.tie) if parts else Query.empty_query()

    def _across(self, node: tree.Across, targets: list[tuple[Target, float]]) -> Query:
        text = values.as_text(node.text)
        first = targets[0][0]
        if first.raw or (first.column is not None and first.kind is not FieldType.TEXT):
            leaf = tree.Match(first.name, node.text, loose=True)
            try:
                return Query.boost_query(self.of_both(_Compiler.match, first, leaf), targets[0][1])
            except RequestError:
                return Query.empty_query()  # a number or date beside the texts cannot hold a word
        tokens = [token[1] for token in words(first, text)]
        if not tokens:
            return EVERYTHING if node.empty_is_all else Query.empty_query()
        parts = [
            Query.disjunction_max_query(
                [
                    Query.boost_query(self.term(name, token), factor)
                    for target, factor in targets
                    for name in self._words_of(target)
                ],
                node.tie,
            )
            for token in tokens
        ]
        return some(parts, node.conjunction, node.minimum)

    def _fitting(
        self, ask: Callable[[_Compiler, Target, Any], Query], target: Target, node: tree.Node
    ) -> Query:
        """The column asked for what fits it: of several values, those that do. Raises Unfit for none."""
        if not isinstance(node, tree.Terms) or len(node.values) < 2:
            return ask(self, target, node)
        found = []
        for value in node.values:
            with suppress(values.Unfit):
                found.append(ask(self, target, replace(node, values=(value,))))
        return any_of(found) if found else ask(self, target, replace(node, values=node.values[:1]))

    def _words_of(self, target: Target) -> list[str]:
        """The engine's fields with a text field's words."""
        if target.column is None:
            return [target.dynamic_text]
        beside = [target.dynamic_text] if self.snapshot.has_misfits(target.path) else []
        return [target.column, *beside]


_LEAVES: Final[dict[type, Callable[[_Compiler, Target, Any], Query]]] = {
    tree.Terms: _Compiler.terms,
    tree.Match: _Compiler.match,
    tree.Phrase: _Compiler.phrase,
    tree.Range: _Compiler.range,
    tree.Pattern: _Compiler.pattern,
    tree.Fuzzy: _Compiler.fuzzy,
    tree.Exists: _Compiler.exists,
}
