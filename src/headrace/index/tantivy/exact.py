"""One field asked by whole values: terms, existence, ranges, patterns; in its column and dynamic values."""

from __future__ import annotations

from contextlib import suppress
from math import inf, nextafter
from typing import Any, Final

from tantivy import Query

from headrace.fields import FieldType
from headrace.index.query import patterns, tree, values
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.isodates import is_iso_date
from headrace.index.tantivy.ranges import any_of, dynamic_dates, micros_query, range_query, texts_query
from headrace.index.tantivy.snapshot import EVERYTHING, Snapshot, guarded
from headrace.index.tantivy.targets import Target, resolve

_WORD: Final = r"[0-9A-Za-z\x{80}-\x{10FFFF}]"
_BETWEEN_WORDS: Final = r"[\x{0}-/:-@\[-`{-\x{7F}]"
"""Words as the default analyzer cuts them, nearly: the engine's automaton has no room for Unicode classes."""


class Exact:
    """Queries for whole values against one snapshot; a method for each kind of node."""

    def __init__(self, snapshot: Snapshot, now: int) -> None:
        self.now = now
        self.snapshot = snapshot
        self.schema = snapshot.schema

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
        return unscored(any_of(found), 1.0)

    def _column_exists(self, target: Target) -> Query:
        column = str(target.column)
        if target.kind is FieldType.TEXT or column == engine.ID:
            return guarded(lambda: Query.regex_query(self.schema, column, patterns.ANYTHING))
        return Query.exists_query(column)

    def terms(self, target: Target, node: tree.Terms) -> Query:
        if target.column is not None:
            found = [self.column_value(target, value) for value in node.values]
        else:
            found = [query for value in node.values for query in self.dynamic_value(target, value)]
        query = any_of(found)
        return query if node.scored else unscored(query, 1.0)

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
                return self._float(target, value)
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

    def _float(self, target: Target, value: Any) -> Query:
        """A float and its neighbours: the engine reads one text in five as the float beside the nearest."""
        number = float(values.as_number(target.name, target.kind, value))
        lower, upper = nextafter(number, -inf), nextafter(number, inf)
        return range_query(self.snapshot, target, tree.Range(target.name, lower, upper))

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
        elif isinstance(value, str) and is_iso_date(value):
            with suppress(values.Unfit):  # the thirtieth of February is a text
                found.append(dynamic_dates(self.snapshot, target, *values.as_date_span(target.name, value)))
        return found

    def range(self, target: Target, node: tree.Range) -> Query:
        return unscored(range_query(self.snapshot, target, node, self.now), 1.0)

    def pattern(self, target: Target, node: tree.Pattern) -> Query:
        if target.column is None:
            return unscored(self._dynamic_pattern(target, node), 1.0)
        if target.kind not in (FieldType.TEXT, FieldType.KEYWORD):
            raise values.Unfit(
                400,
                "query_shard_exception",
                f"[{node.kind}] queries are for keyword and text fields, "
                f"not for [{target.name}] of type [{target.kind}]",
            )
        lowered = node.analysed and target.kind is FieldType.TEXT and target.analyzer != "raw"
        regex = f"(?i:{node.regex})" if lowered else node.regex
        query = guarded(lambda: Query.regex_query(self.schema, str(target.column), regex))
        return unscored(query, 1.0)

    def _dynamic_pattern(self, target: Target, node: tree.Pattern) -> Query:
        texts = self.snapshot.expand(target.path, node.regex)
        if node.analysed and not target.raw and node.kind == "wildcard":
            # The words of a JSON field cannot be listed, so its whole values are, for such a word in them.
            word = node.regex.replace(patterns.ANYTHING, f"{_WORD}*").replace("(?s:.)", _WORD)
            around = f"((?s:.)*{_BETWEEN_WORDS})?(?i:{word})({_BETWEEN_WORDS}(?s:.)*)?"
            texts = [*texts, *self.snapshot.expand(target.path, around)]
        return texts_query(self.snapshot, target.dynamic, texts)


def unscored(query: Query, score: float = 0.0) -> Query:
    return Query.const_score_query(query, score)


def kept(query: Query) -> Query:
    """A clause that scores: beside others the engine leaves out the query of all documents, with its 1.0."""
    return unscored(query, 1.0) if query is EVERYTHING else query


def _forms(value: Any) -> list[Any]:
    """A value as a JSON field may hold it: 5 is asked for as 5, 5.0 and "5"."""
    if isinstance(value, bool):
        return [value, values.as_text(value)]
    if isinstance(value, str):
        if value in ("true", "false"):
            return [value, value == "true"]
        return [value, *numbers(values.number(value))] if values.is_number(value) else [value]
    return [*numbers(value), str(value)]


def numbers(value: float) -> list[float]:
    """A number as the columns of a JSON field may hold it."""
    if isinstance(value, int):
        return [value, float(value)] if abs(value) < 2**53 else [value]
    return [value, int(value)] if value.is_integer() and abs(value) < 2**63 else [value]
