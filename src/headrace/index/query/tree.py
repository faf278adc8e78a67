"""What a query says, after reading and before any engine: every part of it understood, nothing ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

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

    fuzziness: edit distance (0 to 2), or "AUTO"
    minimum:   Elasticsearch's `minimum_should_match`
    """

    field: str
    text: Scalar
    conjunction: bool = False
    fuzziness: str | int = 0
    minimum: str | int | None = None
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in order, at most `slop` moves apart; `prefix`: the last one may go on."""

    field: str
    text: Scalar
    slop: int = 0
    prefix: bool = False
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    field: str
    lower: Scalar | None = None
    upper: Scalar | None = None
    include_lower: bool = True
    include_upper: bool = True
    format: str | None = None
    loose: bool = False


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


Node: TypeAlias = (
    "All | Nothing | Ids | Terms | Match | Phrase | Range | Pattern | Fuzzy | Exists | Bool | Best"
    " | Constant | Boost"
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
        case Constant() | Boost():
            yield from positive(node.query)
        case _:
            yield node
