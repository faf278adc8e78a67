"""One field asked by its words: match, phrase and fuzzy queries, and how near two words are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from tantivy import Occur, Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import patterns, tree, values
from headrace.index.query.options import edit_distance, minimum
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.exact import Exact
from headrace.index.tantivy.ranges import any_of, texts_query
from headrace.index.tantivy.snapshot import EVERYTHING, guarded
from headrace.index.tantivy.targets import Target, words

MOST_TERMS: Final = 50_000
"""Words that a fuzzy query with a `prefix_length` looks at, at about a microsecond for each letter."""

MOST_PHRASES: Final = 1024
"""Phrases that a phrase with a prefix becomes."""


class Words(Exact):
    """Queries for words against one snapshot; a method for each kind of node."""

    def match(self, target: Target, node: tree.Match) -> Query:
        text = values.as_text(node.text)
        if target.column is None:
            return any_of(self._dynamic_match(target, node, text))
        if target.kind is FieldType.TEXT:
            return self.words(target, target.column, node, text)
        return self._fuzzy_or_exact(target, node, text)

    def _fuzzy_or_exact(self, target: Target, node: tree.Match, text: str) -> Query:
        if target.kind is FieldType.KEYWORD and node.prefix:
            return self.pattern(target, tree.Pattern(target.name, patterns.prefix(text), "prefix"))
        if node.fuzziness and target.kind is FieldType.KEYWORD:
            distance = edit_distance(node.fuzziness, text)
            return self.near(str(target.column), text, distance, swaps=node.swaps, start=node.exact_start)
        return self.column_value(target, node.text)

    def _dynamic_match(self, target: Target, node: tree.Match, text: str) -> list[Query]:
        exact = self.dynamic_value(target, node.text)
        if target.raw:
            return exact
        analysed = Target(target.name, target.path, FieldType.TEXT)
        if target.beside is not None and node.exact_start:
            node = replace(node, fuzziness=0)  # of the few values that do not fit a declared type
        found = [self.words(analysed, target.dynamic_text, node, text)]
        if not isinstance(node.text, str) or len(exact) > 1:
            found += exact
        return found

    def words(self, target: Target, name: str, node: tree.Match, text: str) -> Query:
        """Some or all words of the text."""
        tokens = [token[1] for token in words(target, text)]
        if not tokens:
            return EVERYTHING if node.empty_is_all else Query.empty_query()
        last = tokens.pop() if node.prefix else None
        parts = [
            self.near(
                name, token, edit_distance(node.fuzziness, token), swaps=node.swaps, start=node.exact_start
            )
            for token in tokens
        ]
        if last is not None:
            parts.append(self.begins(name, last))
        return some(parts, node.conjunction, node.minimum)

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
            terms = self.snapshot.expand(path.replace("\\\\", "\\"), patterns.prefix(word[:start]))
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
        """Words of a column that begin so, the most frequent first."""
        found = guarded(lambda: self.snapshot.searcher.terms_with_prefix(name, prefix, limit=limit))
        return [term for term, _ in found]

    def phrase(self, target: Target, node: tree.Phrase) -> Query:
        text = values.as_text(node.text)
        if target.column in (engine.ID, engine.SEQ) or target.raw:
            return self.terms(target, tree.Terms(target.name, (node.text,), scored=True))
        if target.kind is FieldType.TEXT:
            return self._phrase(target, str(target.column), node, text)
        if target.column is not None:
            return self._phrase_of_column(target, node, text)
        analysed = Target(target.name, target.path, FieldType.TEXT)
        beyond = target.beside is not None and (node.slop or node.expansions > tree.EXPANSIONS)
        # Of the few values that do not fit a declared type, a prefix is asked plainly.
        plain = replace(node, slop=0, expansions=tree.EXPANSIONS) if node.prefix and beyond else node
        found = [self._phrase(analysed, target.dynamic_text, plain, text)]
        exact = self.dynamic_value(target, node.text)
        if not isinstance(node.text, str) or len(exact) > 1:
            found += exact
        return any_of(found)

    def _phrase_of_column(self, target: Target, node: tree.Phrase, text: str) -> Query:
        if node.prefix and target.kind is FieldType.KEYWORD:
            return self.pattern(target, tree.Pattern(target.name, patterns.prefix(text), "prefix"))
        return self.column_value(target, node.text)

    def _phrase(self, target: Target, name: str, node: tree.Phrase, text: str) -> Query:
        tokens = words(target, text)
        if not tokens:
            return EVERYTHING if node.empty_is_all else Query.empty_query()
        if target.analyzer == "ngram":  # all its tokens have one position
            return every([self.term(name, token[1]) for token in tokens])
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
        # In the order of the words, as in Elasticsearch; the engine lists the most frequent first.
        found = sorted(self._terms(name, start, MOST_TERMS))[: min(node.expansions, MOST_PHRASES)]
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

    def fuzzy(self, target: Target, node: tree.Fuzzy) -> Query:
        if target.column is None:
            names = [target.dynamic] if target.raw else [target.dynamic, target.dynamic_text]
        elif target.kind in (FieldType.TEXT, FieldType.KEYWORD):
            names = [target.column]
        else:
            raise values.Unfit(
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


def every(queries: Sequence[Query]) -> Query:
    return Query.boolean_query([(Occur.Must, query) for query in queries])


def some(parts: Sequence[Query], conjunction: bool, least: str | int | None) -> Query:
    """All parts, or as many as `minimum_should_match` says."""
    if conjunction:
        return parts[0] if len(parts) == 1 else every(parts)
    needed = minimum(least, len(parts), default=1)
    if needed > len(parts):
        return Query.empty_query()
    if len(parts) == 1:
        return parts[0]
    return Query.boolean_query([(Occur.Should, part) for part in parts], max(needed, 1))


def edits(one: str, other: str, most: int, *, swaps: bool = True) -> int:
    """Edits from one word to the other, a swap of neighbours counting as one; `most + 1` means more.

    Only what so many edits can reach is looked at: the time is that of the word, not of its square."""
    far = most + 1
    if abs(len(one) - len(other)) > most:
        return far
    before: dict[int, int] = {}
    row = {at: at for at in range(min(most, len(other)) + 1)}
    for place, char in enumerate(one, 1):
        last, before, row = before, row, {}
        for at in range(max(0, place - most), min(len(other), place + most) + 1):
            if at == 0:
                row[0] = place
                continue
            found = other[at - 1]
            cost = min(
                row.get(at - 1, far) + 1, before.get(at, far) + 1, before.get(at - 1, far) + (char != found)
            )
            if swaps and place > 1 and at > 1 and char == other[at - 2] and found == one[place - 2]:
                cost = min(cost, last.get(at - 2, far) + 1)
            row[at] = cost
        if min(row.values()) > most:
            return far
    return min(row.get(len(other), far), far)
