"""The simple query string (`"fried eggs" +(eggplant | potato) -frittata`): no text is an error in it.

What cannot be read is left out, as in Lucene's SimpleQueryParser, whose rules these are: an operator that
differs from the one before takes all so far as its left side, and `-` is an operand (`a -b` is a, or not b,
unless the default operator is AND).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from headrace.core.errors import RequestError
from headrace.index.query import patterns, tree
from headrace.index.query.texts import split
from headrace.index.query.tree import Node

FLAGS: Final = frozenset(
    ("AND", "ESCAPE", "FUZZY", "NEAR", "NOT", "OR", "PHRASE", "PRECEDENCE", "PREFIX", "WHITESPACE")
)
DEEPEST: Final = 40
MOST_ALTERNATIONS: Final = 200
"""Each is a level of the tree, and the engine recurses on its own stack."""


def parse_simple_query_string(
    text: str,
    *,
    fields: tuple[str, ...] = ("*",),
    conjunction: bool = False,
    flags: frozenset[str] = FLAGS,
    exact_start: int = 0,
) -> Node:
    """A simple query string → its tree. `fields` may have `^boost`."""
    return _Parser(text, fields, conjunction=conjunction, flags=flags, exact_start=exact_start).group(0)


@dataclass(slots=True)
class _Group:
    """What a group has been so far: the tree, the operator it is made with, and the one that comes next."""

    top: Node | None = None
    clauses: list[Node] = field(default_factory=list)
    previous: str | None = None
    coming: str | None = None
    alternations: int = 0

    def add(self, node: Node, default: str) -> None:
        if self.top is None:
            self.top, self.clauses = node, [node]
        else:
            operator = self.coming or default
            if operator != self.previous:
                self.alternations += 1
                if self.alternations > MOST_ALTERNATIONS:
                    raise RequestError(
                        400,
                        "too_many_clauses",
                        f"the query changes between + and | more than {MOST_ALTERNATIONS} times; group it",
                    )
                self.clauses = [self.top]
            self.clauses.append(node)
            clauses = tuple(self.clauses)
            self.top = tree.Bool(must=clauses) if operator == "+" else tree.Bool(should=clauses)
            self.previous = operator
        self.coming = None


class _Parser:
    """A cursor over the text; each method reads one construct, or steps over a character that is none."""

    def __init__(
        self,
        text: str,
        fields: tuple[str, ...],
        *,
        conjunction: bool,
        flags: frozenset[str],
        exact_start: int,
    ) -> None:
        self.text = text
        self.fields = tuple(split(name) for name in fields)
        self.conjunction = conjunction
        self.flags = flags
        self.exact_start = exact_start
        self.at = 0
        self.end = len(text)

    def group(self, depth: int) -> Node:
        """Everything up to the end of the group."""
        found = _Group()
        negated = False
        while self.at < self.end:
            char = self.text[self.at]
            if char == "-" and "NOT" in self.flags:
                negated = not negated
                self.at += 1
                continue
            node = self._operand(char, depth, found)
            if node is not None:
                if negated:
                    node = tree.Bool(must_not=(node,))
                found.add(node, "+" if self.conjunction else "|")
            negated = False
        return found.top if found.top is not None else tree.Nothing()

    def _operand(self, char: str, depth: int, found: _Group) -> Node | None:
        if char == "(" and "PRECEDENCE" in self.flags:
            return self._parenthesis(depth)
        if char == '"' and "PHRASE" in self.flags:
            return self._phrase()
        if char in "+|" and ("AND" if char == "+" else "OR") in self.flags:
            if found.coming is None and found.top is not None:
                found.coming = char
            self.at += 1
            return None
        if (char == ")" and "PRECEDENCE" in self.flags) or (char.isspace() and "WHITESPACE" in self.flags):
            self.at += 1
            return None
        return self._word()

    def _parenthesis(self, depth: int) -> Node | None:
        close = self._closing()
        self.at += 1
        if close is None or depth >= DEEPEST:
            return None
        outer, self.end = self.end, close
        node = self.group(depth + 1)
        self.at, self.end = close + 1, outer
        return None if isinstance(node, tree.Nothing) else node

    def _closing(self) -> int | None:
        """Where the parenthesis that opens here is closed."""
        level, place = 0, self.at
        while place < self.end:
            char = self.text[place]
            if char == "\\" and "ESCAPE" in self.flags:
                place += 1
            elif char == "(":
                level += 1
            elif char == ")":
                level -= 1
                if not level:
                    return place
            place += 1
        return None

    def _phrase(self) -> Node | None:
        words, place = "", self.at + 1
        while place < self.end and self.text[place] != '"':
            if self.text[place] == "\\" and "ESCAPE" in self.flags and place + 1 < self.end:
                place += 1
            words += self.text[place]
            place += 1
        if place >= self.end:
            self.at += 1  # a quote that is never closed
            return None
        self.at = place + 1
        slop = self._number() if "NEAR" in self.flags else None
        if not words.strip():
            return None
        return self._over(lambda name: tree.Phrase(name, words, slop or 0, loose=True))

    def _number(self) -> int | None:
        """The number after a tilde here; None without a tilde."""
        if self.at >= self.end or self.text[self.at] != "~":
            return None
        self.at += 1
        start = self.at
        while self.at < self.end and self.text[self.at] in "0123456789":
            self.at += 1
        return int(self.text[start : self.at][:9] or 2)

    def _word(self) -> Node | None:
        text, prefix = "", False
        while self.at < self.end and not self._finished():
            char = self.text[self.at]
            if char == "\\" and "ESCAPE" in self.flags:
                prefix = False
                self.at += 1
                if self.at < self.end:
                    text += self.text[self.at]
            elif char == "~" and text and "FUZZY" in self.flags and (edits := self._fuzzy()) is not None:
                return self._near(text, edits)
            else:
                prefix = bool(text) and char == "*" and "PREFIX" in self.flags
                text += char
            self.at += 1
        if not text:
            return None
        if prefix:
            regex = patterns.prefix(text[:-1])
            return self._over(lambda name: tree.Pattern(name, regex, "prefix", analysed=True))
        return self._over(lambda name: tree.Match(name, text, conjunction=self.conjunction, loose=True))

    def _near(self, text: str, edits: int) -> Node:
        start = self.exact_start
        return self._over(lambda name: tree.Match(name, text, fuzziness=edits, loose=True, exact_start=start))

    def _fuzzy(self) -> int | None:
        """The edit distance that ends a word here; None where the tilde is a part of the word."""
        start = self.at
        edits = self._number()
        if self.at < self.end and not self._finished():
            self.at = start
            return None
        return min(edits or 0, 2)

    def _finished(self) -> bool:
        """Whether the character here ends a word."""
        char = self.text[self.at]
        ends = {'"': "PHRASE", "|": "OR", "+": "AND", "(": "PRECEDENCE", ")": "PRECEDENCE"}
        if char.isspace():
            return "WHITESPACE" in self.flags
        return char in ends and ends[char] in self.flags

    def _over(self, make: object) -> Node:
        """The node on one field, or the best of it on several."""
        assert callable(make)
        nodes: list[Node] = []
        for name, factor in self.fields:
            node: Node = make(name)
            nodes.append(node if factor == 1.0 else tree.Boost(node, factor))
        return nodes[0] if len(nodes) == 1 else tree.Best(tuple(nodes))
