"""`function_score` as queries with weights: which functions a document is in decides what its score becomes.

The engine cannot compute a score from a field. It can find the documents that are in exactly these of the
functions' filters, though, and for each such set the factor is a number that is known before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import product
from math import prod
from typing import Any, Final

from headrace.index.query import tree
from headrace.index.query.options import bad, known_options, number
from headrace.index.query.tree import Node

MOST: Final = 6
"""Functions whose filters can all be true of one document: each one more doubles the sets."""

MOST_FIRST: Final = 64
"""Where only the first one counts, there is a set for each."""

MOST_PARTS: Final = 16_384
"""Parts of queries that it all becomes: without a bound, one in another would be a power of a power."""

SCORES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "multiply": prod,
    "sum": sum,
    "first": lambda weights: weights[0],
    "max": max,
    "min": min,
    # An average is one of values, weighted by their weights; a weight alone is the value 1.
    "avg": lambda _: 1.0,
}
BOOSTS: Final = ("multiply", "replace", "sum", "avg", "max")
COMPUTED: Final = ("script_score", "field_value_factor", "random_score", "gauss", "exp", "linear")


@dataclass(frozen=True, slots=True)
class Function:
    filter: Node | None
    weight: float


def functions(options: Mapping[str, Any], parse: Callable[[Any], Node], instead: str) -> list[Function]:
    """Those of a `function_score`, the one without a list included. Raises RequestError."""
    given = options.get("functions")
    if given is not None and not isinstance(given, list):
        bad("[function_score] query takes [functions] as a list")
    found = [_function(each, parse, instead) for each in given or []]
    _check_computed(options, instead)
    if options.get("weight") is not None:
        if given:
            bad("[function_score] query takes either one [weight] or [functions], not both")
        found.append(Function(None, number(options["weight"], "weight", least=0)))
    return found


def _function(body: Any, parse: Callable[[Any], Node], instead: str) -> Function:
    options = known_options("function_score", body, f"filter weight {' '.join(COMPUTED)}")
    _check_computed(options, instead)
    if options.get("weight") is None:
        bad("an entry in [functions] needs a [weight]: one value that its documents get")
    condition = options.get("filter")
    weight = number(options["weight"], "weight", least=0)
    return Function(None if condition is None else parse(condition), weight)


def _check_computed(options: Mapping[str, Any], instead: str) -> None:
    for name in COMPUTED:
        if name in options:
            bad(f"[function_score] query does not support [{name}], only [weight]; instead: {instead}")


def scored(query: Node, found: Sequence[Function], options: Mapping[str, Any]) -> Node:
    """The query with its functions. Raises RequestError for a mode that cannot be."""
    mode, boost = str(options.get("score_mode", "multiply")), str(options.get("boost_mode", "multiply"))
    if mode not in SCORES:
        bad(f"[score_mode] is one of {', '.join(SCORES)}, found [{mode}]")
    if boost not in BOOSTS:
        bad(f"[function_score] query supports [boost_mode] as {', '.join(BOOSTS)}, found [{boost}]")
    most = number(options.get("max_boost", float("inf")), "max_boost", least=0)
    filtered = [each for each in found if each.filter is not None]
    filtered_nodes = [each.filter for each in filtered]
    if len(filtered) > (MOST_FIRST if mode == "first" else MOST):
        bad(
            f"[function_score] query takes at most {MOST} functions with a [filter] ({MOST_FIRST} with "
            "[score_mode] first)",
            "illegal_argument_exception",
        )
    sets = len(filtered) + 1 if mode == "first" else 2 ** len(filtered)
    if sets * sum(_size(node) for node in (query, *filtered_nodes)) > MOST_PARTS:
        bad(
            f"[function_score] query becomes more than {MOST_PARTS} parts: take fewer functions, or "
            "put none in another's [query]",
            "illegal_argument_exception",
        )
    if not filtered:
        return _boosted(query, min(_factor(mode, [each.weight for each in found]), most), boost)
    parts = []
    for those, others, weights in _sets(found, mode):
        # A condition is not what was searched for: written as what is not excluded, it is never highlighted.
        conditions = [tree.Bool(must_not=(node,)) for node in those]
        within = tree.Bool(must=(query,), must_not=(*conditions, *others))
        parts.append(_boosted(within, min(_factor(mode, weights), most), boost))
    return tree.Bool(should=tuple(parts))


def _size(node: Any) -> int:
    """Parts of a query, those in others too."""
    if isinstance(node, tuple):
        return sum(map(_size, node))
    if not is_dataclass(node):
        return 0
    return 1 + sum(_size(getattr(node, each.name)) for each in fields(node))


def _factor(mode: str, weights: Sequence[float]) -> float:
    """Of the functions a document is in; it is 1 where it is in none."""
    return float(SCORES[mode](weights)) if weights else 1.0


def _sets(found: Sequence[Function], mode: str) -> Iterator[tuple[list[Node], list[Node], list[float]]]:
    """Disjoint sets of documents that are together all: conditions, what they are not, the weights."""
    if mode == "first":
        yield from _firsts(found)
        return
    filtered = [each.filter for each in found if each.filter is not None]
    for chosen in product((True, False), repeat=len(filtered)):
        those = [node for node, is_in in zip(filtered, chosen, strict=True) if is_in]
        others = [node for node, is_in in zip(filtered, chosen, strict=True) if not is_in]
        places = iter(chosen)
        weights = [each.weight for each in found if each.filter is None or next(places)]
        yield those, others, weights


def _firsts(found: Sequence[Function]) -> Iterator[tuple[list[Node], list[Node], list[float]]]:
    before: list[Node] = []
    for each in found:
        if each.filter is None:
            yield [], before, [each.weight]
            return
        yield [each.filter], list(before), [each.weight]
        before = [*before, each.filter]
    yield [], before, []


def _boosted(query: Node, factor: float, mode: str) -> Node:
    match mode:
        case "replace":
            return tree.Constant(query, factor)
        case "sum":
            return tree.Bool(must=(query, tree.Constant(tree.All(), factor)))
        case "avg":
            both = tree.Bool(must=(query, tree.Constant(tree.All(), factor)))
            return tree.Boost(both, 0.5)
        case "max":
            return tree.Best((query, tree.Constant(query, factor)))
        case _:
            return query if factor == 1.0 else tree.Boost(query, factor)
