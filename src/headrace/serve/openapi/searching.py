"""What `/openapi.json` says of the reads: searches, scrolls, points in time, documents, tables, fields."""

from __future__ import annotations

from typing import Any, Final

from headrace.serve import cat, documents, field_caps, msearch, requests, scroll
from headrace.serve.openapi.operation import (
    ADMIN,
    ARROW,
    JSON,
    NDJSON,
    READ,
    TEXT,
    Answer,
    Body,
    Operation,
    Operations,
    ref,
    spread,
)
from headrace.serve.openapi.schemas import (
    OBJECT,
    SHARDS,
    WHOLE,
    an_object,
    list_of,
    one_of,
    only,
)
from headrace.serve.openapi.schemas import (
    TEXT as STRING,
)

FRESH: Final = ("Headrace-After",)
_QUERY: Final = Body(only(query=ref("Query")), example={"query": {"match_all": {}}})
_EXAMPLE: Final[Any] = {"query": {"match": {"message": "timed out"}}, "sort": [{"time": "desc"}], "size": 10}
_FOUND: Final = Answer(ref("SearchAnswer"), "The hits", (JSON, ARROW), ("Headrace-Freshness",))
_SCROLL: Final = Body(
    an_object(scroll=STRING, scroll_id=one_of(STRING, list_of(STRING))),
    example={"scroll": "1m", "scroll_id": "…"},
)
_FREED: Final = Answer(an_object(succeeded={"type": "boolean"}, num_freed=WHOLE), "How many were there")
_NONE_FREED: Final = Answer(one_of(_FREED.schema or {}, ref("Error"), OBJECT), "There was none")
_NOT_404: Final = tuple(status for status in READ if status != 404)
_PITS: Final = Answer(an_object(pits=list_of(OBJECT)), "Points in time")


def _both(operation: Operation, path: str) -> dict[str, Operation]:
    """GET and POST, with an index and without."""
    return spread(
        operation, *(f"{method} {at}/{path}" for method in ("GET", "POST") for at in ("", "/{index}"))
    )


def _table(summary: str, *paths: str) -> dict[str, Operation]:
    rows = Answer(one_of(list_of(OBJECT), OBJECT), "A table, or its rows with `format=json`", (TEXT, JSON))
    found = Operation("tables", summary, parameters=cat.PARAMETERS, answers={200: rows})
    return spread(found, *(f"GET /_cat/{path}" for path in paths))


OPERATIONS: Final[Operations] = {
    **_both(
        Operation(
            "search",
            "Search",
            "One sort key is the fastest; see the query language's page.",
            requests.SEARCH,
            FRESH,
            Body(ref("SearchBody"), example=_EXAMPLE),
            {200: _FOUND},
        ),
        "_search",
    ),
    **_both(
        Operation(
            "search",
            "How many documents a query finds",
            parameters=requests.COMMON | requests.QUERY | requests.TARGETS | requests.FRESH | requests.COUNT,
            headers=FRESH,
            body=_QUERY,
            answers={200: Answer(ref("Count"))},
        ),
        "_count",
    ),
    **_both(
        Operation(
            "search",
            "Several searches in one request",
            "An error of one is its own answer, and costs no other.",
            msearch.PARAMETERS,
            FRESH,
            Body(
                list_of(one_of(an_object(index=STRING), ref("SearchBody"))),
                (NDJSON, JSON),
                required=True,
                example=[{"index": "logs"}, {"query": {"match_all": {}}}],
            ),
            {
                200: Answer(
                    an_object(took=WHOLE, responses=list_of(one_of(ref("SearchAnswer"), ref("Error"))))
                )
            },
        ),
        "_msearch",
    ),
    **spread(
        Operation(
            "search",
            "All documents that a query finds, as a stream",
            "In the order they were written, from one commit: as Arrow, or a line each with "
            "`Accept: application/x-ndjson`.",
            requests.COMMON | requests.QUERY | requests.TARGETS | requests.FRESH | {"_source"},
            FRESH,
            _QUERY,
            {200: Answer(None, "The documents", (ARROW, NDJSON))},
        ),
        "GET /{index}/_scan",
        "POST /{index}/_scan",
    ),
    **_both(
        Operation(
            "documents",
            "Several documents by their ids",
            parameters=documents.PARAMETERS,
            headers=FRESH,
            body=Body(
                an_object(docs=list_of(one_of(OBJECT, STRING)), ids=list_of(STRING)),
                required=True,
                example={"ids": ["1", "2"]},
            ),
            answers={200: Answer(an_object(docs=list_of(OBJECT)))},
        ),
        "_mget",
    ),
    "GET /{index}/_doc/{id}": Operation(
        "documents",
        "One document",
        "It sees all that was accepted before it, also what is not searchable yet.",
        documents.PARAMETERS,
        FRESH,
        answers={
            200: Answer(ref("Document"), headers=("Headrace-Freshness",)),
            404: Answer(one_of(ref("Document"), ref("Error")), "No such document, or no such index"),
        },
        failures=(*_NOT_404, 504),
    ),
    "GET /{index}/_source/{id}": Operation(
        "documents",
        "The source of one document",
        parameters=documents.PARAMETERS,
        headers=FRESH,
        answers={200: Answer(OBJECT)},
        failures=(*READ, 504),
    ),
    **_both(
        Operation(
            "search",
            "Fields, their types and what they can",
            parameters=requests.COMMON | requests.TARGETS | field_caps.PARAMETERS,
            body=Body(only(fields=one_of(STRING, list_of(STRING)), index_filter=ref("Query"))),
            answers={200: Answer(an_object(indices=list_of(STRING), fields=OBJECT))},
        ),
        "_field_caps",
    ),
    **spread(
        Operation(
            "scroll",
            "The next page of a scroll",
            parameters=frozenset(scroll.PAGE_PARAMETERS),
            body=_SCROLL,
            answers={200: _FOUND},
        ),
        *(f"{method} /_search/scroll{at}" for method in ("GET", "POST") for at in ("", "/{scroll_id}")),
    ),
    **spread(
        Operation(
            "scroll",
            "End scrolls",
            parameters=frozenset(scroll.PAGE_PARAMETERS),
            body=_SCROLL,
            answers={200: _FREED, 404: _NONE_FREED},
            failures=_NOT_404,
        ),
        "DELETE /_search/scroll",
        "DELETE /_search/scroll/{scroll_id}",
    ),
    "POST /{index}/_pit": Operation(
        "scroll",
        "Open a point in time",
        parameters=frozenset(scroll.PIT_PARAMETERS),
        headers=FRESH,
        answers={200: Answer(an_object(id=STRING, _shards=SHARDS))},
    ),
    "DELETE /_pit": Operation(
        "scroll",
        "Close a point in time",
        parameters=requests.COMMON,
        body=Body(an_object(id=one_of(STRING, list_of(STRING))), example={"id": "…"}),
        answers={200: _FREED, 404: _NONE_FREED},
        failures=_NOT_404,
    ),
    "POST /{index}/_search/point_in_time": Operation(
        "scroll",
        "Open a point in time, as OpenSearch has it",
        parameters=frozenset(scroll.PIT_PARAMETERS),
        headers=FRESH,
        answers={200: Answer(an_object(pit_id=STRING, creation_time=WHOLE, _shards=SHARDS))},
    ),
    "DELETE /_search/point_in_time": Operation(
        "scroll",
        "Close points in time, as OpenSearch has it",
        parameters=requests.COMMON,
        body=Body(an_object(pit_id=one_of(STRING, list_of(STRING)))),
        answers={200: _PITS, 404: Answer(one_of(_PITS.schema or {}, OBJECT), "There was none")},
        failures=_NOT_404,
    ),
    "GET /_search/point_in_time/_all": Operation(
        "scroll", "All points in time", answers={200: _PITS}, failures=ADMIN
    ),
    "DELETE /_search/point_in_time/_all": Operation(
        "scroll", "Close all points in time", answers={200: _PITS}, failures=ADMIN
    ),
    **_table("Indexes and their sizes", "indices", "indices/{index}"),
    **_table("How many documents there are", "count", "count/{index}"),
    **_table("Health on one line", "health"),
    **_table("Aliases", "aliases", "aliases/{name}"),
}
