"""What every read shares: which indexes a path means, at which commits, and errors in one shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import RequestError
from headrace.index.base import SearchRequest
from headrace.serve import arrow, requests, searches
from headrace.serve.freshness import Freshness, Realtime, never
from headrace.serve.hits import Shown, answer_body
from headrace.serve.leases import Leases
from headrace.serve.names import Indices, Named
from headrace.serve.responses import json_response
from headrace.serve.searches import Answered, Part
from headrace.serve.threads import in_thread

EVERYTHING: Final = "_all"


class Reads:
    """The indexes as searches need them."""

    def __init__(
        self,
        indices: Indices,
        realtime: Realtime | None = None,
        clock: Clock | None = None,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self.indices = indices
        self.clock = clock or SystemClock()
        self.fresh = Freshness(indices, realtime, self.clock, stopping)
        self.leases = Leases(self.clock)

    def named(self, expression: str, options: Mapping[str, Any]) -> list[Named]:
        """The indexes of an expression. Raises RequestError 404, 503."""
        return self.indices.resolve(
            expression or EVERYTHING,
            ignore_unavailable=requests.flag(options.get("ignore_unavailable"), "ignore_unavailable"),
            allow_no_indices=requests.flag(options.get("allow_no_indices", True), "allow_no_indices"),
        )

    def single(self, expression: str) -> Named:
        """The one index that a document is read from. Raises RequestError 400 where there are several."""
        found = self.indices.resolve(expression, allow_no_indices=False)
        if len(found) != 1:
            names = ", ".join(sorted(each.name for each in found))
            reason = f"[{expression}] names {len(found)} indexes [{names}]; a document is read from one"
            raise RequestError(400, "illegal_argument_exception", reason)
        return found[0]

    async def parts(self, request: Request) -> list[Part]:
        """The indexes that the path names, all there are where it names none."""
        expression = request.path_params.get("index", EVERYTHING)
        return await self.fresh.parts(request, lambda: self.named(expression, request.query_params))

    async def search(self, parts: Sequence[Part], wanted: SearchRequest) -> Answered:
        """Raises RequestError."""

        def call() -> Answered:
            for part in parts:
                part.view.watermarks()  # read here once per commit, so that `headers` finds them at hand
            return searches.search(parts, wanted)

        return await in_thread(call)

    async def page(
        self,
        request: Request,
        parts: Sequence[Part],
        answered: Answered,
        shown: Shown,
        *,
        started: float,
        **more: Any,
    ) -> Response:
        """A page of hits as JSON or, where the client accepts it, Arrow; `more` goes before the rest."""
        headers = self.fresh.header(parts)
        if arrow.is_accepted(request):
            if "suggest" in more:
                requests.fail("[suggest] is answered as JSON only")
            if answered.aggregations is not None:
                requests.fail("[aggs] are answered as JSON only; ask for them without Arrow in [Accept]")
            named = {
                f"Headrace-{name.strip('_').title().replace('_', '-')}": value for name, value in more.items()
            }
            fields = {name: field for part in parts for name, field in part.view.fields.items()}
            content = await in_thread(lambda: arrow.page(answered, fields, shown))
            return arrow.response(content, headers | named)
        took = round((time.perf_counter() - started) * 1000)
        body = answer_body(answered, took, shown, declared(parts))
        return json_response(request, more | body, headers=headers)


def declared(parts: Sequence[Part]) -> dict[str, Any]:
    return {part.name: part.view.fields for part in parts}
