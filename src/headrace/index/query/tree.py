"""What a query says, after reading and before any engine: every part of it understood, nothing ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, TypeAlias

EXPANSIONS = 50
"""Words that a prefix becomes by default, as in Elasticsearch."""

Scalar: TypeAlias = "str | int | float | bool"


@dataclass(frozen=True, slots=True)
class All:
    """Every document, with score 1."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No document."""


@dataclass(frozen=True, slots=True)
class Ids:
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """Documents whose field holds one of the exact values; `scored` as a `term`, not as `terms`.

    loose: the values were typed without quotes in a query string, so their type is open
    """

    field: str
    values: tuple[Scalar, ...]
    scored: bool = False
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """Words of an analysed text; the exact value where the field is not text.

    fuzziness:    edit distance (0 to 2), or "AUTO"
    minimum:      Elasticsearch's `minimum_should_match`
    prefix:       the last word may go on
    exact_start:  how many characters the fuzziness leaves alone
    empty_is_all: a text without any words matches every document
    """

    field: str
    text: Scalar
    conjunction: bool = False
    fuzziness: str | int = 0
    minimum: str | int | None = None
    loose: bool = False
    prefix: bool = False
    exact_start: int = 0
    swaps: bool = True
    empty_is_all: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in order, at most `slop` moves apart; `prefix`: the last one may go on.

    expansions: how many words the prefix may become, in their order; `empty_is_all` as in Match
    """

    field: str
    text: Scalar
    slop: int = 0
    prefix: bool = False
    loose: bool = False
    expansions: int = EXPANSIONS
    empty_is_all: bool = False


@dataclass(frozen=True, slots=True)
class Across:
    """Each word in any of the fields, as if they were one (`cross_fields`); fields with their boosts."""

    fields: tuple[tuple[str, float], ...]
    text: Scalar
    conjunction: bool = False
    minimum: str | int | None = None
    tie: float = 0.0
    empty_is_all: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    field: str
    lower: Scalar | None = None
    upper: Scalar | None = None
    include_lower: bool = True
    include_upper: bool = True
    format: str | None = None
    loose: bool = False
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Pattern:
    """Terms that match a regular expression from start to end.

    regex: in the engine's syntax, without anchors; `literal` is what it looks for, for highlights
    analysed: the pattern comes from a query string, where text fields hold lower-cased words
    """

    field: str
    regex: str
    kind: str
    analysed: bool = False


@dataclass(frozen=True, slots=True)
class Fuzzy:
    field: str
    text: str
    distance: int
    transpositions: bool = True
    analysed: bool = False
    exact_start: int = 0


@dataclass(frozen=True, slots=True)
class Exists:
    field: str


@dataclass(frozen=True, slots=True)
class Bool:
    must: tuple[Node, ...] = ()
    should: tuple[Node, ...] = ()
    must_not: tuple[Node, ...] = ()
    filter: tuple[Node, ...] = ()
    minimum: str | int | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The best score of several queries, plus `tie` times the others' (`dis_max`)."""

    queries: tuple[Node, ...]
    tie: float = 0.0


@dataclass(frozen=True, slots=True)
class Constant:
    query: Node
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Boost:
    query: Node
    factor: float


@dataclass(frozen=True, slots=True)
class Demote:
    """What matches `positive`; the score times `factor` where `negative` matches too (`boosting`)."""

    positive: Node
    negative: Node
    factor: float


@dataclass(frozen=True, slots=True)
class Lenient:
    """A field that cannot hold the value asked for has no hits, and is no error."""

    query: Node


Node: TypeAlias = (
    "All | Nothing | Ids | Terms | Match | Phrase | Across | Range | Pattern | Fuzzy | Exists | Bool | Best"
    " | Constant | Boost | Demote | Lenient"
)


def positive(node: Any) -> Iterator[Any]:
    """All leaves a hit may owe its place to: not what is excluded. For highlights."""
    match node:
        case Bool():
            for child in (*node.must, *node.should, *node.filter):
                yield from positive(child)
        case Best():
            for child in node.queries:
                yield from positive(child)
        case Constant() | Boost() | Lenient():
            yield from positive(node.query)
        case Demote():
            yield from positive(node.positive)
        case Across():
            for name, _ in node.fields:
                yield Match(name, node.text)
        case _:
            yield node
