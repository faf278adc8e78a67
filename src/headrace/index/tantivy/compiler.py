"""A query tree → the engine's query: the only place that knows how each kind of field is searched.

A query on a declared field also finds values that did not fit its type and live under the same path in the
dynamic pair (PROTOCOL 26): by term, match, phrase and exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import patterns, tree, values
from headrace.index.query.options import edit_distance, minimum
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.ranges import any_of, dynamic_dates, micros_query, range_query, texts_query
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.targets import Target, names_like, resolve, words

MOST_FIELDS: Final = 1024
"""Fields one query may reach through `*`, as in Elasticsearch."""

MOST_TERMS: Final = 50_000
"""Words that a fuzzy query with a `prefix_length` looks at, at about a microsecond for each letter."""

_WORD: Final = r"[0-9A-Za-z\x{80}-\x{10FFFF}]"
_BETWEEN_WORDS: Final = r"[\x{0}-/:-@\[-`{-\x{7F}]"
"""Words as the default analyzer cuts them, nearly: the engine's automaton has no room for Unicode classes."""


def compile_query(snapshot: Snapshot, node: tree.Node, now: int | None = None) -> Query:
    """The engine's query. Raises RequestError for what a field's type cannot answer.

    now: microseconds since 1970 that `now` in dates means, all over one request; the clock's without
    """
    return _Compiler(snapshot, time.time_ns() // 1000 if now is None else now).node(node)


class _Compiler:
    """Compiles one query against one snapshot; a method for each kind of node."""

    def __init__(self, snapshot: Snapshot, now: int) -> None:
        self.now = now
        self.lenient = False
        self.snapshot = snapshot
        self.schema = snapshot.schema

    def node(self, node: tree.Node) -> Query:
        match node:
            case tree.All():
                return Query.all_query()
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
                return Query.boost_query(self.node(node.query), node.factor)
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
        if "*" not in node.field:
            try:
                target = resolve(self.snapshot, node.field)
                return ask(self, target, target.asked(node))
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
                found.append(ask(self, target, target.asked(node)))
            except RequestError:
                continue  # a field of another type cannot hold the value
        if not found:
            return Query.empty_query()
        return Query.disjunction_max_query(found)

    def boolean(self, node: tree.Bool) -> Query:
        clauses = [(Occur.Must, self.node(query)) for query in node.must]
        clauses += [(Occur.Must, _unscored(self.node(query))) for query in node.filter]
        clauses += self._should(node, bare=not clauses)
        if not clauses:
            if not node.must_not:
                return Query.all_query()
            clauses = [(Occur.Must, _unscored(Query.all_query()))]
        clauses += [(Occur.MustNot, self.node(query)) for query in node.must_not]
        return Query.boolean_query(clauses)

    def _should(self, node: tree.Bool, *, bare: bool) -> list[tuple[Occur, Query]]:
        if not node.should:
            return []
        needed = minimum(node.minimum, len(node.should), default=1 if bare else 0)
        parts = [(Occur.Should, self.node(query)) for query in node.should]
        if needed > len(parts):
            return [(Occur.Must, Query.empty_query())]
        if needed <= 0:
            return parts if not bare else [(Occur.Must, _unscored(Query.all_query())), *parts]
        return [(Occur.Must, Query.boolean_query(parts, needed))]

    def demoted(self, node: tree.Demote) -> Query:
        """Two queries that no document matches both of, one with the lower score."""
        positive, negative = self.node(node.positive), self.node(node.negative)
        plain = Query.boolean_query([(Occur.Must, positive), (Occur.MustNot, negative)])
        both = Query.boolean_query([(Occur.Must, positive), (Occur.Must, _unscored(negative))])
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
                return Query.boost_query(self.match(first, leaf), targets[0][1])
            except RequestError:
                return Query.empty_query()  # a number or date beside the texts cannot hold a word
        tokens = [token[1] for token in words(first, text)]
        if not tokens:
            return Query.all_query() if node.empty_is_all else Query.empty_query()
        parts = [
            Query.disjunction_max_query(
                [
                    Query.boost_query(self.term(target.column or target.dynamic_text, token), factor)
                    for target, factor in targets
                ],
                node.tie,
            )
            for token in tokens
        ]
        return _some(parts, node.conjunction, node.minimum)

    def term(self, name: str, value: Any) -> Query:
        return guarded(lambda: Query.term_query(self.schema, name, value))

    def exists(self, target: Target, _node: tree.Exists) -> Query:
        name = target.name.removesuffix(".keyword") if target.raw else target.name
        found = [Query.exists_query(target.dynamic, json_subpaths=True)]
        if target.column is not None:
            found.append(self._column_exists(target))
        found += [
            self._column_exists(resolve(self.snapshot, inner))
            for inner in self.snapshot.fields.columns
            if inner.startswith(f"{name}.")
        ]
        return _unscored(any_of(found), 1.0)

    def _column_exists(self, target: Target) -> Query:
        column = str(target.column)
        if target.kind is FieldType.TEXT or column == engine.ID:
            return guarded(lambda: Query.regex_query(self.schema, column, patterns.ANYTHING))
        return Query.exists_query(column)

    def terms(self, target: Target, node: tree.Terms) -> Query:
        found = []
        if target.column is not None:
            found += [self.column_value(target, value) for value in node.values]
        if target.column is None or target.column not in (engine.ID, engine.SEQ):
            found += [query for value in node.values for query in self.dynamic_value(target, value)]
        query = any_of(found)
        return query if node.scored else _unscored(query, 1.0)

    def column_value(self, target: Target, value: Any) -> Query:
        """Documents whose column holds exactly this value."""
        column = str(target.column)
        match target.kind:
            case FieldType.TEXT | FieldType.KEYWORD:
                return self.term(column, values.as_text(value))
            case FieldType.INTEGER | FieldType.UNSIGNED:
                number = values.as_integer(target.name, target.kind, value)
                return Query.empty_query() if number is None else self.term(column, number)
            case FieldType.FLOAT:
                return self.term(column, float(values.as_number(target.name, target.kind, value)))
            case FieldType.BOOLEAN:
                return self.term(column, values.as_boolean(target.name, value))
            case FieldType.DATE:
                # A date's terms have whole seconds only; its fast values are exact.
                return micros_query(
                    self.snapshot, column, *values.as_date_span(target.name, value, now=self.now)
                )
            case _:
                first, last = values.as_ip_span(target.name, value)
                return range_query(self.snapshot, target, tree.Range(target.name, first, last))

    def dynamic_value(self, target: Target, value: Any) -> list[Query]:
        """The value in each form a JSON field may hold it: terms of different types are apart there."""
        found = []
        for form in _forms(value):
            try:
                found.append(Query.term_query(self.schema, target.dynamic, form))
            except (ValueError, OverflowError):
                continue  # a number no JSON column can hold
        if isinstance(value, str) and (moment := engine.dynamic_date(value)):
            micros = values.to_micros(moment)
            found.append(dynamic_dates(self.snapshot, target, micros, micros))
        return found

    def match(self, target: Target, node: tree.Match) -> Query:
        text = values.as_text(node.text)
        if target.column is not None and target.kind is not FieldType.TEXT:
            column = self._fuzzy_or_exact(target, node, text)
            return any_of([column, *self._dynamic_match(target, node, text)])
        found = self._dynamic_match(target, node, text)
        if target.column is not None:
            found.insert(0, self.words(target, target.column, node, text))
        return any_of(found)

    def _fuzzy_or_exact(self, target: Target, node: tree.Match, text: str) -> Query:
        if target.kind is FieldType.KEYWORD and node.prefix:
            return self.pattern(target, tree.Pattern(target.name, patterns.prefix(text), "prefix"))
        if node.fuzziness and target.kind is FieldType.KEYWORD:
            distance = edit_distance(node.fuzziness, text)
            return self.near(str(target.column), text, distance, swaps=node.swaps, start=node.exact_start)
        return self.column_value(target, node.text)

    def _dynamic_match(self, target: Target, node: tree.Match, text: str) -> list[Query]:
        exact = self.dynamic_value(target, node.text)
        if target.raw or target.column in (engine.ID, engine.SEQ):
            return [] if target.column in (engine.ID, engine.SEQ) else exact
        analysed = Target(target.name, target.path, FieldType.TEXT)
        found = [self.words(analysed, target.dynamic_text, node, text)]
        if not isinstance(node.text, str) or len(exact) > 1:
            found += exact
        return found

    def words(self, target: Target, name: str, node: tree.Match, text: str) -> Query:
        """Some or all words of the text."""
        tokens = [token[1] for token in words(target, text)]
        if not tokens:
            return Query.all_query() if node.empty_is_all else Query.empty_query()
        last = tokens.pop() if node.prefix else None
        parts = [
            self.near(
                name, token, edit_distance(node.fuzziness, token), swaps=node.swaps, start=node.exact_start
            )
            for token in tokens
        ]
        if last is not None:
            parts.append(self.begins(name, last))
        return _some(parts, node.conjunction, node.minimum)

    def begins(self, name: str, word: str) -> Query:
        """Words that begin so, also in a JSON field."""
        return guarded(lambda: Query.fuzzy_term_query(self.schema, name, word, 0, True, prefix=True))

    def near(self, name: str, word: str, distance: int, *, swaps: bool = True, start: int = 0) -> Query:
        if not distance or start >= len(word) + distance:
            return self.term(name, word)
        if start:
            return self._near_from(name, word, distance, swaps, start)
        return guarded(lambda: Query.fuzzy_term_query(self.schema, name, word, distance, swaps))

    def _near_from(self, name: str, word: str, distance: int, swaps: bool, start: int) -> Query:
        """Words near this one that begin as it does: looked up, since the engine has no such query."""
        if name.startswith(f"{engine.DYNAMIC_TEXT}."):
            raise RequestError(
                400,
                "query_shard_exception",
                f"[prefix_length] needs a declared field; [{name.partition('.')[2]}] is a dynamic one",
            )
        path = name.removeprefix(f"{engine.DYNAMIC}.")
        if path != name:
            terms = self.snapshot.expand(path, patterns.prefix(word[:start]))
        else:
            terms = self._terms(name, word[:start], MOST_TERMS + 1)
            if len(terms) > MOST_TERMS:
                raise RequestError(
                    400,
                    "illegal_argument_exception",
                    f"more than {MOST_TERMS} words begin with [{word[:start]}]; use a larger [prefix_length]",
                )
        close = [term for term in terms if edits(word, term, distance, swaps=swaps) <= distance]
        return texts_query(self.snapshot, name, close)

    def _terms(self, name: str, prefix: str, limit: int) -> list[str]:
        """Words of a column that begin so, in their order."""
        found = guarded(lambda: self.snapshot.searcher.terms_with_prefix(name, prefix, limit=limit))
        return [term for term, _ in found]

    def phrase(self, target: Target, node: tree.Phrase) -> Query:
        text = values.as_text(node.text)
        if target.column in (engine.ID, engine.SEQ) or target.raw:
            return self.terms(target, tree.Terms(target.name, (node.text,), scored=True))
        analysed = Target(target.name, target.path, FieldType.TEXT)
        found = [self._phrase(analysed, target.dynamic_text, node, text)]
        exact = self.dynamic_value(target, node.text)
        if not isinstance(node.text, str) or len(exact) > 1:
            found += exact
        if target.kind is FieldType.TEXT:
            found.insert(0, self._phrase(target, str(target.column), node, text))
        elif target.column is not None:
            found.insert(0, self._phrase_of_column(target, node, text))
        return any_of(found)

    def _phrase_of_column(self, target: Target, node: tree.Phrase, text: str) -> Query:
        if node.prefix and target.kind is FieldType.KEYWORD:
            return self.pattern(target, tree.Pattern(target.name, patterns.prefix(text), "prefix"))
        return self.column_value(target, node.text)

    def _phrase(self, target: Target, name: str, node: tree.Phrase, text: str) -> Query:
        tokens = words(target, text)
        if not tokens:
            return Query.all_query() if node.empty_is_all else Query.empty_query()
        if target.analyzer == "ngram":  # all its tokens have one position
            return _every([self.term(name, token[1]) for token in tokens])
        if node.prefix:
            return self._phrase_prefix(target, name, node, tokens)
        if len(tokens) == 1:
            return self.term(name, tokens[0][1])
        return guarded(lambda: Query.phrase_query(self.schema, name, tokens, node.slop))

    def _phrase_prefix(self, target: Target, name: str, node: tree.Phrase, tokens: list[Any]) -> Query:
        if name == target.dynamic_text:
            if node.slop or node.expansions > tree.EXPANSIONS:
                raise RequestError(
                    400,
                    "query_shard_exception",
                    f"[match_phrase_prefix] on the dynamic field [{target.name}] supports neither [slop] nor"
                    f" [max_expansions] over {tree.EXPANSIONS}; declare the field as text",
                )
            if len(tokens) == 1:
                return self.begins(name, tokens[0][1])
            return guarded(
                lambda: Query.phrase_prefix_query(self.schema, name, [token[1] for token in tokens])
            )
        *before, (position, start) = tokens
        found = self._terms(name, start, min(node.expansions, MOST_FIELDS))
        if not before:
            return texts_query(self.snapshot, name, found)
        return any_of(
            [
                guarded(
                    lambda last=last: Query.phrase_query(  # type: ignore[misc]
                        self.schema, name, [*before, (position, last)], node.slop
                    )
                )
                for last in found
            ]
        )

    def range(self, target: Target, node: tree.Range) -> Query:
        return _unscored(range_query(self.snapshot, target, node, self.now), 1.0)

    def pattern(self, target: Target, node: tree.Pattern) -> Query:
        if target.column is None:
            return _unscored(self._dynamic_pattern(target, node), 1.0)
        if target.kind not in (FieldType.TEXT, FieldType.KEYWORD):
            raise RequestError(
                400,
                "query_shard_exception",
                f"[{node.kind}] queries are for keyword and text fields, "
                f"not for [{target.name}] of type [{target.kind}]",
            )
        lowered = node.analysed and target.kind is FieldType.TEXT and target.analyzer != "raw"
        regex = f"(?i:{node.regex})" if lowered else node.regex
        query = guarded(lambda: Query.regex_query(self.schema, str(target.column), regex))
        return _unscored(query, 1.0)

    def _dynamic_pattern(self, target: Target, node: tree.Pattern) -> Query:
        texts = self.snapshot.expand(target.path, node.regex)
        if node.analysed and not target.raw and node.kind == "wildcard":
            # The words of a JSON field cannot be listed, so its whole values are, for such a word in them.
            word = node.regex.replace(patterns.ANYTHING, f"{_WORD}*").replace("(?s:.)", _WORD)
            around = f"((?s:.)*{_BETWEEN_WORDS})?(?i:{word})({_BETWEEN_WORDS}(?s:.)*)?"
            texts = [*texts, *self.snapshot.expand(target.path, around)]
        return texts_query(self.snapshot, target.dynamic, texts)

    def fuzzy(self, target: Target, node: tree.Fuzzy) -> Query:
        if target.column is None:
            names = [target.dynamic] if target.raw else [target.dynamic, target.dynamic_text]
        elif target.kind in (FieldType.TEXT, FieldType.KEYWORD):
            names = [target.column]
        else:
            raise RequestError(
                400,
                "query_shard_exception",
                f"[fuzzy] queries are for keyword and text fields, "
                f"not for [{target.name}] of type [{target.kind}]",
            )
        start = node.exact_start
        if start and target.column is None:
            names = [target.dynamic]
        return any_of(
            [
                self.near(name, node.text, node.distance, swaps=node.transpositions, start=start)
                for name in names
            ]
        )


_LEAVES: Final[dict[type, Callable[[_Compiler, Target, Any], Query]]] = {
    tree.Terms: _Compiler.terms,
    tree.Match: _Compiler.match,
    tree.Phrase: _Compiler.phrase,
    tree.Range: _Compiler.range,
    tree.Pattern: _Compiler.pattern,
    tree.Fuzzy: _Compiler.fuzzy,
    tree.Exists: _Compiler.exists,
}


def _unscored(query: Query, score: float = 0.0) -> Query:
    return Query.const_score_query(query, score)


def _every(queries: Sequence[Query]) -> Query:
    return Query.boolean_query([(Occur.Must, query) for query in queries])


def _forms(value: Any) -> list[Any]:
    """A value as a JSON field may hold it: 5 is asked for as 5, 5.0 and "5"."""
    if isinstance(value, bool):
        return [value, values.as_text(value)]
    if isinstance(value, str):
        if value in ("true", "false"):
            return [value, value == "true"]
        return [value, *_numbers(values.number(value))] if values.is_number(value) else [value]
    return [*_numbers(value), str(value)]


def _numbers(value: float) -> list[float]:
    if isinstance(value, int):
        return [value, float(value)] if abs(value) < 2**53 else [value]
    return [value, int(value)] if value.is_integer() and abs(value) < 2**63 else [value]


def _some(parts: Sequence[Query], conjunction: bool, least: str | int | None) -> Query:
    """All parts, or as many as `minimum_should_match` says."""
    if conjunction:
        return parts[0] if len(parts) == 1 else _every(parts)
    needed = minimum(least, len(parts), default=1)
    if needed > len(parts):
        return Query.empty_query()
    if len(parts) == 1:
        return parts[0]
    return Query.boolean_query([(Occur.Should, part) for part in parts], max(needed, 1))


def edits(one: str, other: str, most: int, *, swaps: bool = True) -> int:
    """Edits from one word to the other, a swap of neighbours counting as one; `most + 1` means more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, char in enumerate(one, 1):
        last, before, row = before, row, [place]
        for at, found in enumerate(other, 1):
            cost = min(row[-1] + 1, before[at] + 1, before[at - 1] + (char != found))
            if swaps and place > 1 and at > 1 and char == other[at - 2] and found == one[place - 2]:
                cost = min(cost, last[at - 2] + 1)
            row.append(cost)
    return row[-1]
