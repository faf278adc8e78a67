"""What `/openapi.json` says of looking on as Elasticsearch's tools do, and of what there is not."""

from __future__ import annotations

from typing import Final

from headrace.serve import analyze, cat, judging
from headrace.serve.manage import statistics
from headrace.serve.openapi.operation import (
    DOOR,
    JSON,
    MANAGE,
    READ,
    TEXT,
    Answer,
    Body,
    Operation,
    Operations,
    ref,
    spread,
)
from headrace.serve.openapi.schemas import OBJECT, an_object, list_of, one_of, only
from headrace.serve.openapi.schemas import TEXT as STRING

_QUERY: Final = Body(only(query=ref("Query")), example={"query": {"match_all": {}}})
_BOTH: Final = ("GET", "POST")
_ROWS: Final = Answer(
    one_of(list_of(OBJECT), OBJECT), "A table, or its rows with `format=json`", (TEXT, JSON)
)


def _seen(summary: str, *paths: str) -> dict[str, Operation]:
    found = Operation(
        "manage", summary, parameters=statistics.KNOWN, answers={200: Answer(OBJECT)}, failures=MANAGE
    )
    return spread(found, *(f"GET {path}" for path in paths))


def _table(summary: str, *paths: str) -> dict[str, Operation]:
    found = Operation("tables", summary, parameters=cat.PARAMETERS, answers={200: _ROWS})
    return spread(found, *(f"GET /_cat{path}" for path in paths))


def _refused() -> dict[str, Operation]:
    """With what there is instead."""
    places = {
        "_termvectors": ("/{index}/_termvectors", "/{index}/_termvectors/{id}"),
        "_mtermvectors": ("/_mtermvectors", "/{index}/_mtermvectors"),
        "_rank_eval": ("/_rank_eval", "/{index}/_rank_eval"),
        **{name: (f"/{{index}}/{name}/{{target}}",) for name in ("_split", "_shrink", "_clone")},
    }
    found: dict[str, Operation] = {}
    for name, (what, instead) in statistics.REFUSED.items():
        told = Operation("manage", f"Refused: {what}; {instead}", failures=(400, *DOOR))
        for path in places[name]:
            methods = ("PUT", "POST") if "{target}" in path else _BOTH
            found |= spread(told, *(f"{method} {path}" for method in methods))
    return found


OPERATIONS: Final[Operations] = {
    **spread(
        Operation(
            "search",
            "What words a text becomes",
            parameters=analyze.PARAMETERS,
            body=Body(
                an_object(analyzer=STRING, field=STRING, text=one_of(STRING, list_of(STRING))),
                example={"analyzer": "standard", "text": "The Quick Fox"},
            ),
            answers={200: Answer(OBJECT)},
        ),
        *(f"{method} {at}/_analyze" for method in _BOTH for at in ("", "/{index}")),
    ),
    **spread(
        Operation(
            "search",
            "Whether a query can be answered",
            parameters=judging.VALIDATE,
            headers=("Headrace-After",),
            body=_QUERY,
            answers={200: Answer(an_object(valid={"type": "boolean"}))},
        ),
        *(f"{method} {at}/_validate/query" for method in _BOTH for at in ("", "/{index}")),
    ),
    **spread(
        Operation(
            "search",
            "Whether a query finds a document",
            parameters=judging.EXPLAIN,
            headers=("Headrace-After",),
            body=_QUERY,
            answers={
                200: Answer(OBJECT),
                404: Answer(one_of(OBJECT, ref("Error")), "No such document, or no such index"),
            },
            failures=tuple(status for status in (*READ, 504) if status != 404),
        ),
        "GET /{index}/_explain/{id}",
        "POST /{index}/_explain/{id}",
    ),
    **_seen("Numbers of the one node there is", "/_nodes/stats", "/_nodes/stats/{metric}"),
    **_seen("Numbers of the whole", "/_cluster/stats", "/_cluster/stats/nodes/{node}"),
    **_seen(
        "Indexes, their mappings and aliases",
        "/_cluster/state",
        "/_cluster/state/{metrics}",
        "/_cluster/state/{metrics}/{index}",
    ),
    **_seen("Tasks of the cluster: none", "/_cluster/pending_tasks"),
    **_seen("Tasks: none", "/_tasks"),
    **spread(
        Operation(
            "search",
            "The one shard of each index",
            parameters=statistics.KNOWN,
            answers={200: Answer(OBJECT)},
        ),
        *(f"{method} {at}/_search_shards" for method in _BOTH for at in ("", "/{index}")),
    ),
    **_table("Which tables there are", ""),
    **_table("The one node there is", "/nodes", "/master", "/cluster_manager", "/allocation", "/thread_pool"),
    **_table("The one shard of each index", "/shards", "/shards/{index}"),
    **_table("Segments of indexes", "/segments", "/segments/{index}"),
    **_table("Templates", "/templates", "/templates/{name}"),
    **_table("Tasks and plugins: none", "/tasks", "/pending_tasks", "/plugins"),
    **_refused(),
}
