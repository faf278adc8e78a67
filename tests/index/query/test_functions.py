"""`function_score` as queries with weights: every document in exactly one of the sets, with its factor."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.query import tree
from headrace.index.query.parse import parse_query

WEIGHTS = st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=5)
"""Functions, each whether it has a filter (on a field of its own), and its weight."""

MODES: dict[str, Callable[[list[int]], int]] = {
    "multiply": prod,
    "sum": sum,
    "max": max,
    "min": min,
    "first": lambda weights: weights[0],
}


def scores(node: tree.Node, document: set[str]) -> float | None:
    """What a document with these terms scores, None where it is not found; only of the nodes made here."""
    match node:
        case tree.All():
            return 1.0
        case tree.Exists():
            return 1.0 if node.field in document else None
        case tree.Constant():
            return None if scores(node.query, document) is None else node.score
        case tree.Boost():
            inner = scores(node.query, document)
            return None if inner is None else inner * node.factor
        case tree.Bool():
            if any(scores(each, document) is not None for each in node.must_not):
                return None
            must = [scores(each, document) for each in (*node.must, *node.filter)]
            should = [found for each in node.should if (found := scores(each, document)) is not None]
            if None in must or (node.should and not should):
                return None
            return float(sum(score for score in [*must, *should] if score is not None))
    raise AssertionError(node)


@given(WEIGHTS, st.sampled_from(sorted(MODES)), st.sets(st.sampled_from(["f0", "f1", "f2", "f3", "f4"])))
def test_a_document_gets_the_factor_of_the_functions_it_is_in(
    given: list[tuple[bool, int]], mode: str, document: set[str]
) -> None:
    functions: list[Any] = []
    weights = []
    for place, (has_filter, weight) in enumerate(given):
        condition = {"filter": {"exists": {"field": f"f{place}"}}} if has_filter else {}
        functions.append({**condition, "weight": weight})
        if not has_filter or f"f{place}" in document:
            weights.append(weight)
    body = {"query": {"match_all": {}}, "functions": functions, "score_mode": mode}
    factor = MODES[mode](weights) if weights else 1
    assert factor == scores(parse_query({"function_score": body}), document)
    summed = scores(parse_query({"function_score": {**body, "boost_mode": "sum"}}), document)
    assert factor + 1 == summed


def test_functions_in_each_other_are_bounded() -> None:
    """Six of them are 64 sets: three levels would be a quarter of a million queries."""
    query: dict[str, Any] = {"match_all": {}}
    functions = [{"filter": {"exists": {"field": f"f{place}"}}, "weight": 2} for place in range(6)]
    query = {"function_score": {"query": query, "functions": functions}}
    parse_query(query)
    query = {"function_score": {"query": query, "functions": functions}}
    with pytest.raises(RequestError, match="becomes more than 16384 parts"):
        parse_query(query)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"score_mode": "mean"}, "[score_mode] is one of"),
        ({"boost_mode": "min"}, "supports [boost_mode] as"),
        ({"functions": {}}, "takes [functions] as a list"),
        ({"functions": [{"weight": 1, "boost_factor": 2}]}, "does not support [boost_factor]"),
        ({"functions": [{"weight": 1}], "weight": 3}, "either one [weight] or [functions]"),
        ({"functions": [{"filter": {"match_all": {}}, "weight": 1}] * 7}, "at most 6 functions"),
        ({"min_score": 1}, "[min_score]"),
    ],
)
def test_what_cannot_be_is_refused(body: Any, said: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_query({"function_score": {"query": {"match_all": {}}, **body}})
    assert said in raised.value.reason
