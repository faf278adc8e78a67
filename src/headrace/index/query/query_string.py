"""The query string language (`status:>=500 AND host:web* NOT "timed out"~2`) → the same tree.

Our own reading of it, since the engine's parser sends unknown names to a JSON field without a word.
Precedence is NOT, AND, OR; `+` and `-` mark what must and must not be among the clauses of a group.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final, NoReturn

from headrace.core.errors import RequestError
from headrace.index.query import patterns, tree
from headrace.index.query.regexps import check_regexp
from headrace.index.query.tree import Node

DEEPEST: Final = 40

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<field>(?:\\.|[^\s:()\[\]{}"^~+\-!/\\<>=]|(?<=\S)[-+/!])(?:\\.|[^\s:()\[\]{}"^~\\<>=])*):(?!:)
      | (?P<phrase>"(?:\\.|[^"\\])*")
      | (?P<range>[\[{]\s*(?:"(?:\\.|[^"\\])*"|\S+)\s+TO\s+(?:"(?:\\.|[^"\\])*"|[^\s\]}]+)\s*[\]}])
      | (?P<regex>/(?:\\.|[^/\\])*/)
      | (?P<compare>[<>]=?)
      | (?P<and>&&|AND(?=[\s(]))
      | (?P<or>\|\||OR(?=[\s(]))
      | (?P<not>!|NOT(?=[\s(]))
      | (?P<plus>\+) | (?P<minus>-) | (?P<open>\() | (?P<close>\))
      | (?P<boost>\^\d*\.?\d+) | (?P<tilde>~\d*\.?\d*)
      | (?P<word>(?:\\.|[^\s:()\[\]{}"^~\\])+(?:\:(?:\\.|[^\s:()\[\]{}"^~\\])+)*)
    )""",
    re.VERBOSE | re.DOTALL,
)

_BOUNDS: Final = re.compile(r"""\s*("(?:\\.|[^"\\])*"|\S+)\s+TO\s+(.+)""", re.DOTALL)

_VALUE: Final = re.compile(
    r"""\s*(?P<word>(?:\\.|[^\s()\[\]{}"^~\\<>=!+\-/])(?:\\.|[^\s()\[\]{}"^~\\])*)""", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_query_string(
    text: str,
    *,
    fields: tuple[str, ...] = ("*",),
    conjunction: bool = False,
    slop: int = 0,
    zone: tzinfo = UTC,
    fuzziness: str | int = "AUTO",
    tie: float = 0.0,
) -> Node:
    """A query string → its tree. `fields` (with `^boost`) take what names no field. Raises RequestError."""
    if not text.strip():
        return tree.Nothing()
    parser = _Parser(text, fields, conjunction=conjunction, slop=slop)
    parser.zone, parser.fuzziness, parser.tie = zone, fuzziness, tie
    node = parser.group(0)
    if parser.here.kind != "end":
        parser.fail(f"unexpected [{parser.here.text}]")
    return node


class _Parser:
    """A cursor over the tokens; each method reads one construct and returns its node."""

    def __init__(self, text: str, fields: tuple[str, ...], *, conjunction: bool, slop: int) -> None:
        self.text = text
        self.fields = fields
        self.conjunction = conjunction
        self.slop = slop
        self.zone: tzinfo = UTC
        self.fuzziness: str | int = "AUTO"
        self.tie = 0.0
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[_Token]:
        found: list[_Token] = []
        place = 0
        while place < len(self.text.rstrip()):
            # After `field:` comes its value, colons and all (10:30, http://…).
            after_field = bool(found) and found[-1].kind == "field"
            match = _VALUE.match(self.text, place) if after_field else None
            match = match or _TOKEN.match(self.text, place)
            if match is None or match.lastgroup is None:
                raise _failure(self.text, place, f"unexpected [{self.text[place:].strip()[:1]}]")
            found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            place = match.end()
        return [*found, _Token("end", "end of the query", len(self.text))]

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> _Token | None:
        if self.here.kind not in kinds:
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def fail(self, why: str) -> NoReturn:
        raise _failure(self.text, self.here.start, why)

    def group(self, depth: int) -> Node:
        """Clauses joined by OR (or standing side by side, unless AND is the default)."""
        if depth > DEEPEST:
            self.fail(f"nested deeper than {DEEPEST} levels")
        must: list[Node] = []
        should: list[Node] = []
        must_not: list[Node] = []
        ended = False
        while not ended:
            sign, node = self._conjunction(depth)
            {"+": must, "-": must_not}.get(sign, should).append(node)
            ended = self.take("or") is None and self.here.kind in ("end", "close")
        return _combined(must, should, must_not)

    def _conjunction(self, depth: int) -> tuple[str, Node]:
        signs: list[str] = []
        nodes: list[Node] = []
        while True:
            sign, node = self._signed(depth)
            signs.append(sign)
            nodes.append(node)
            joined = self.take("and") or (self.conjunction and self.here.kind not in ("or", "end", "close"))
            if not joined:
                break
        if len(nodes) == 1:
            return signs[0], nodes[0]
        must = tuple(node for sign, node in zip(signs, nodes, strict=True) if sign != "-")
        must_not = tuple(node for sign, node in zip(signs, nodes, strict=True) if sign == "-")
        return "", tree.Bool(must=must, must_not=must_not)

    def _signed(self, depth: int) -> tuple[str, Node]:
        if self.take("not", "minus"):
            sign, node = self._signed(depth)
            return ("", node) if sign == "-" else ("-", node)
        if self.take("plus"):
            return "+", self._boosted(self.fields, depth)
        return "", self._boosted(self.fields, depth)

    def _boosted(self, fields: tuple[str, ...], depth: int) -> Node:
        node = self._atom(fields, depth)
        if token := self.take("boost"):
            return tree.Boost(node, float(token.text[1:]))
        return node

    def _atom(self, fields: tuple[str, ...], depth: int) -> Node:
        if token := self.take("field"):
            return self._of_field(_unescape(token.text), depth)
        if self.take("open"):
            outer, self.fields = self.fields, fields
            node = self.group(depth + 1)
            self.fields = outer
            if not self.take("close"):
                self.fail("a closing parenthesis is missing")
            return node
        if token := self.take("phrase"):
            tilde = self.take("tilde")
            slop = int(float(tilde.text[1:] or 0)) if tilde else self.slop
            text = _unescape(token.text[1:-1])
            return self._over(fields, lambda name: tree.Phrase(name, text, slop, loose=True))
        if token := self.take("range"):
            return self._range(token, fields)
        if token := self.take("compare"):
            return self._compare(token, fields)
        if token := self.take("regex"):
            regex = check_regexp(token.text[1:-1])
            return self._over(fields, lambda name: tree.Pattern(name, regex, "regexp", analysed=True))
        if token := self.take("word"):
            return self._word(token, fields)
        return self.fail(f"unexpected [{self.here.text}]")

    def _of_field(self, name: str, depth: int) -> Node:
        if name == "_exists_":
            if token := self.take("word", "phrase"):
                return tree.Exists(_unescape(token.text.strip('"')))
            self.fail("[_exists_] needs the name of a field")
        if name == "*" and self.here.kind == "word" and self.here.text == "*":
            self.at += 1
            return tree.All()
        if self.here.kind == "minus":  # a negative number, not an exclusion
            self.at += 1
            word = self.take("word")
            if word is None:
                self.fail(f"a value is missing after [{name}:-]")
            return self._word(_Token("word", "-" + word.text, word.start), (name,))
        return self._atom((name,), depth)

    def _range(self, token: _Token, fields: tuple[str, ...]) -> Node:
        bounds = _BOUNDS.match(token.text[1:-1])
        assert bounds is not None
        lower, upper = bounds.groups()
        return self._over(
            fields,
            lambda name: tree.Range(
                name,
                _bound(lower),
                _bound(upper),
                include_lower=token.text[0] == "[",
                include_upper=token.text[-1] == "]",
                loose=True,
                zone=self.zone,
            ),
        )

    def _compare(self, token: _Token, fields: tuple[str, ...]) -> Node:
        negative = "-" if self.take("minus") else ""
        value = self.take("word", "phrase")
        if value is None:
            self.fail(f"a value is missing after [{token.text}]")
        bound, inclusive = _bound(negative + value.text), token.text.endswith("=")
        if token.text[0] == ">":
            return self._over(
                fields, lambda name: tree.Range(name, bound, None, inclusive, loose=True, zone=self.zone)
            )
        return self._over(
            fields,
            lambda name: tree.Range(name, None, bound, include_upper=inclusive, loose=True, zone=self.zone),
        )

    def _word(self, token: _Token, fields: tuple[str, ...]) -> Node:
        text = _unescape(token.text)
        if token.text == "*":
            return tree.All() if fields == ("*",) else self._over(fields, tree.Exists)
        if re.search(r"(?<!\\)[*?]", token.text):
            regex = patterns.wildcard(token.text)
            return self._over(fields, lambda name: tree.Pattern(name, regex, "wildcard", analysed=True))
        if tilde := self.take("tilde"):
            edits = tilde.text[1:]
            fuzziness = int(float(edits)) if edits else self.fuzziness
            if isinstance(fuzziness, int) and fuzziness not in (0, 1, 2):
                self.fail(f"the edit distance must be 0, 1 or 2, found [{edits}]")
            return self._over(fields, lambda name: tree.Match(name, text, fuzziness=fuzziness, loose=True))
        return self._over(fields, lambda name: tree.Match(name, text, conjunction=True, loose=True))

    def _over(self, fields: tuple[str, ...], make: object) -> Node:
        """The node on one field, or the best of it on several."""
        assert callable(make)
        nodes = []
        for entry in fields:
            name, _, factor = entry.partition("^")
            node: Node = make(name)
            nodes.append(tree.Boost(node, float(factor)) if factor else node)
        return nodes[0] if len(nodes) == 1 else tree.Best(tuple(nodes), self.tie)


def _combined(must: list[Node], should: list[Node], must_not: list[Node]) -> Node:
    if len(should) == 1 and not must and not must_not:
        return should[0]
    return tree.Bool(tuple(must), tuple(should), tuple(must_not))


def _bound(text: str) -> str | None:
    text = text.strip()
    if text == "*":
        return None
    return _unescape(text[1:-1] if text.startswith('"') and text.endswith('"') else text)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _failure(text: str, place: int, why: str) -> RequestError:
    shown = text if len(text) <= 200 else text[:200] + "…"
    return RequestError(
        400, "query_shard_exception", f"failed to parse query [{shown}] at character {place + 1}: {why}"
    )
