"""What `/openapi.json` says of the writes: bulk requests, single documents, pushes into pipelines."""

from __future__ import annotations

from typing import Final

from headrace.serve import pushes, writes
from headrace.serve.bulk import request as bulk
from headrace.serve.byquery import options
from headrace.serve.openapi.operation import (
    JSON,
    NDJSON,
    WRITE,
    Answer,
    Body,
    Operation,
    Operations,
    ref,
    spread,
)
from headrace.serve.openapi.schemas import OBJECT, TEXT, WHOLE, an_object, list_of, one_of, only

_HEADERS: Final = ("Headrace-Ack", "Idempotency-Key", "Content-Encoding")
_TOKEN: Final = ("Headrace-Token",)
_WRITTEN: Final = Answer(
    ref("Written"), "Durable; with `refresh` or `ack=indexed` searchable", headers=_TOKEN
)
_DOCUMENT: Final = Body(OBJECT, required=True, example={"message": "connection timed out", "status": 504})
_PARTIAL: Final = tuple(status for status in WRITE if status != 404)

_CREATED: Final = {201: Answer(ref("Written"), "It is new", headers=(*_TOKEN, "Location")), 200: _WRITTEN}

_COUNTS: Final = ("total", "created", "updated", "deleted", "version_conflicts", "noops", "batches", "took")
_BY_QUERY: Final = {
    200: Answer(an_object(**dict.fromkeys(_COUNTS, WHOLE), failures=list_of(OBJECT)), headers=_TOKEN),
    409: Answer(OBJECT, "A document was changed meanwhile; what was done before it is told, and stays"),
}

OPERATIONS: Final[Operations] = {
    **spread(
        Operation(
            "write",
            "Many writes in one request",
            "Two lines for an action and its document, one for a delete; the last line ends with a newline. "
            "One failed action costs no other: look at `errors`, then at each of `items`.",
            bulk.KNOWN,
            _HEADERS,
            Body(
                list_of(one_of(ref("BulkAction"), ref("Update"), OBJECT)),
                (NDJSON, JSON),
                required=True,
                example=[{"index": {"_index": "logs"}}, {"message": "hello"}],
            ),
            {200: Answer(ref("BulkAnswer"), "What became of each action", headers=_TOKEN)},
            WRITE,
        ),
        "POST /_bulk",
        "PUT /_bulk",
        "POST /{index}/_bulk",
        "PUT /{index}/_bulk",
    ),
    **spread(
        Operation(
            "write",
            "Write a document under an id of its own",
            parameters=writes.INDEX,
            headers=_HEADERS,
            body=_DOCUMENT,
            answers=_CREATED,
            failures=WRITE,
        ),
        "POST /{index}/_doc",
        "POST /{index}/_doc/",
        "POST /{index}/_create",
        "POST /{index}/_create/",
    ),
    **spread(
        Operation(
            "write",
            "Write a document",
            parameters=writes.INDEX,
            headers=_HEADERS,
            body=_DOCUMENT,
            answers=_CREATED,
            failures=WRITE,
        ),
        "PUT /{index}/_doc/{id}",
        "POST /{index}/_doc/{id}",
    ),
    **spread(
        Operation(
            "write",
            "Write a document where there is none",
            parameters=writes.INDEX,
            headers=_HEADERS,
            body=_DOCUMENT,
            answers=_CREATED,
            failures=WRITE,
        ),
        "PUT /{index}/_create/{id}",
        "POST /{index}/_create/{id}",
    ),
    "POST /{index}/_update/{id}": Operation(
        "write",
        "Change parts of a document",
        parameters=writes.UPDATE,
        headers=_HEADERS,
        body=Body(ref("Update"), required=True, example={"doc": {"status": 200}, "doc_as_upsert": True}),
        answers=_CREATED,
        failures=WRITE,
    ),
    "DELETE /{index}/_doc/{id}": Operation(
        "write",
        "Delete a document",
        parameters=writes.DELETE,
        headers=_HEADERS[:2],
        answers={200: _WRITTEN, 404: Answer(one_of(ref("Written"), ref("Error")), "There was none")},
        failures=_PARTIAL,
    ),
    **spread(
        Operation(
            "write",
            "Push records into a pipeline",
            "Newline-delimited JSON may be large; an array, CSV and Arrow mean something only whole, and "
            "have a smaller bound.",
            pushes.KNOWN,
            _HEADERS,
            Body(list_of(OBJECT), tuple(pushes.TYPES), required=True),
            {200: Answer(ref("Accepted"), "Durable", headers=_TOKEN)},
            WRITE,
        ),
        "POST /ingest/{pipeline}",
        "PUT /ingest/{pipeline}",
    ),
    "POST /{index}/_delete_by_query": Operation(
        "write",
        "Delete all documents that a query finds",
        "Each on condition that it is still the one that was found.",
        options.PARAMETERS,
        ("Headrace-After",),
        Body(only("query", query=ref("Query"), max_docs=WHOLE), example={"query": {"match_all": {}}}),
        _BY_QUERY,
        WRITE,
    ),
    "POST /{index}/_update_by_query": Operation(
        "write",
        "Index anew all documents that a query finds",
        "Each on condition that it is still the one that was found; they pass the transforms again.",
        options.PARAMETERS,
        ("Headrace-After",),
        Body(only(query=ref("Query"), max_docs=WHOLE, conflicts=TEXT)),
        _BY_QUERY,
        WRITE,
    ),
    "POST /_reindex": Operation(
        "write",
        "Write the documents of some indexes into another",
        parameters=options.PARAMETERS,
        headers=("Headrace-After",),
        body=Body(
            only(
                "source",
                "dest",
                source=an_object("index", index=one_of(TEXT, list_of(TEXT)), query=ref("Query"), size=WHOLE),
                dest=an_object("index", index=TEXT, op_type=TEXT),
                max_docs=WHOLE,
                conflicts=TEXT,
            ),
            required=True,
            example={"source": {"index": "logs"}, "dest": {"index": "logs-2"}},
        ),
        answers=_BY_QUERY,
        failures=WRITE,
    ),
}
