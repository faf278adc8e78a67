"""Pipelines over several indexes: worked out on the buckets once these are put together, never in one index.

What works them out is imported by the first search that asks for some.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from headrace.serve.buckets import Answer, read

Request = Mapping[str, Any]


@cache
def _kinds() -> frozenset[str]:
    from headrace.index.tantivy.aggregations.request import PARENTS, SIBLINGS

    return frozenset((*PARENTS, *SIBLINGS))


def check(request: Request) -> None:
    """Raises RequestError for pipelines that are in the wrong place, or not as they should be."""
    if _asks(request):
        from headrace.index.tantivy.aggregations.answer import outermost

        outermost(request)


def _asks(request: Any) -> bool:
    if not isinstance(request, Mapping):
        return False
    return any(
        isinstance(body, Mapping)
        and (not _kinds().isdisjoint(body) or _asks(body.get("aggs", body.get("aggregations"))))
        for body in request.values()
    )


def metrics(request: Request) -> dict[str, Any]:
    """The request without pipelines, and with what the rate of a field divides in its place."""
    found = {}
    for name, body in request.items():
        kind, options, _ = read(name, body)
        if kind == "rate" and "field" in options:
            from headrace.index.tantivy.aggregations.request import Spec, of_rate

            divided = of_rate(Spec(name, kind, options))
            found[name] = {divided.kind: divided.options}
        elif kind not in _kinds():
            found[name] = body
    return found


def within(body: Any, found: Answer) -> Answer:
    """The answer with the values of the pipelines that are in its buckets."""
    inner = body.get("aggs", body.get("aggregations"))
    if "buckets" not in found or not inner or not any(_kinds() & set(each) for each in inner.values()):
        return found
    from headrace.index.tantivy.aggregations import pipelines, request

    [spec], _, _ = request.read({"x": body})
    given = found["buckets"]
    buckets = pipelines.over(
        spec.pipelines, list(given.values()) if isinstance(given, dict) else given, spec.options
    )
    if isinstance(given, dict):
        left = {id(bucket) for bucket in buckets}
        return found | {"buckets": {key: bucket for key, bucket in given.items() if id(bucket) in left}}
    return found | {"buckets": buckets}


def beside(asked: Request, found: Answer) -> None:
    """Adds what the pipelines of one level say of the buckets beside them."""
    if any(_kinds() & set(body) for body in asked.values()):
        from headrace.index.tantivy.aggregations import pipelines, request

        _, _, siblings = request.read(asked)
        pipelines.beside(siblings, found)
