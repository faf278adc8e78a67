"""What `/openapi.json` says of managing indexes, and of what shippers ask before their first write."""

from __future__ import annotations

from typing import Any, Final

from headrace.serve import requests
from headrace.serve.manage import cluster, refresh, shippers, templates
from headrace.serve.manage.base import PARAMETERS
from headrace.serve.openapi.operation import MANAGE, Answer, Body, Operation, Operations, ref, spread
from headrace.serve.openapi.schemas import OBJECT, SHARDS, TEXT, an_object, list_of, named, one_of, only

_DONE: Final = Answer(ref("Acknowledged"), "Done; `headrace.not_honoured` says what of it was not")
_BY_INDEX: Final = Answer(named(OBJECT), "By index")
_ALIAS: Final = an_object(filter=ref("Query"), is_write_index={"type": "boolean"})
_WITHOUT_404: Final = tuple(status for status in MANAGE if status != 404)
_MISSING: Final = Answer(one_of(ref("Error"), an_object(error=TEXT)), "Some of them are not there")
_SHARDS: Final = Answer(an_object(_shards=SHARDS))
_NEW: Final = an_object(mappings=ref("Mapping"), settings=OBJECT, aliases=named(_ALIAS))


def _manage(summary: str, *places: str, description: str = "", **more: Any) -> dict[str, Operation]:
    given = {"parameters": PARAMETERS, "answers": {200: Answer(OBJECT)}, "failures": MANAGE, **more}
    return spread(Operation("manage", summary, description, **given), *places)


def _ask(summary: str, *places: str, **more: Any) -> dict[str, Operation]:
    return _manage(summary, *places, **{"parameters": shippers.SETUP, **more})


def _template(summary: str, *places: str, **more: Any) -> dict[str, Operation]:
    """Of all three kinds of templates."""
    parted = [place.partition(" ") for place in places]
    kinds = ("_index_template", "_component_template", "_template")
    paths = [f"{method} /{kind}{path}" for kind in kinds for method, _, path in parted]
    return _manage(summary, *paths, parameters=templates.KNOWN, **more)


_ALIASES: Final = [f"/{{index}}/{word}" for word in ("_alias", "_aliases")]
_MAPPINGS: Final = [f"/{{index}}/{word}" for word in ("_mapping", "_mappings")]

OPERATIONS: Final[Operations] = {
    **_manage(
        "Make an index",
        "PUT /{index}",
        answers={200: _DONE},
        body=Body(_NEW, example={"mappings": {"properties": {"message": {"type": "text"}}}}),
    ),
    **_manage("Whether an index is there", "HEAD /{index}", answers={200: Answer(None, "It is")}),
    **_manage(
        "Mappings, settings and aliases of indexes",
        "GET /{index}",
        parameters=PARAMETERS | {"features"},
        answers={200: _BY_INDEX},
    ),
    **_manage("Delete indexes and their documents", "DELETE /{index}", answers={200: _DONE}),
    **_manage(
        "Change aliases, all at once or not at all",
        "POST /_aliases",
        answers={200: _DONE},
        body=Body(
            only("actions", actions=list_of(OBJECT)),
            required=True,
            example={"actions": [{"add": {"index": "logs-1", "alias": "logs", "is_write_index": True}}]},
        ),
    ),
    **_manage(
        "Aliases",
        "GET /_aliases",
        "GET /_alias",
        "GET /_alias/{name}",
        *(f"GET {path}{at}" for path in _ALIASES for at in ("", "/{name}")),
        answers={200: _BY_INDEX, 404: _MISSING},
        failures=_WITHOUT_404,
    ),
    **_manage(
        "Set an alias",
        *(f"{method} {path}/{{name}}" for method in ("PUT", "POST") for path in _ALIASES),
        body=Body(_ALIAS),
        answers={200: _DONE},
    ),
    **_manage("Remove an alias", *(f"DELETE {path}/{{name}}" for path in _ALIASES), answers={200: _DONE}),
    **_manage(
        "Mappings",
        *(f"GET {path}" for path in ("/_mapping", "/_mappings", *_MAPPINGS)),
        answers={200: _BY_INDEX},
    ),
    **_manage(
        "Single fields of mappings",
        "GET /_mapping/field/{fields}",
        "GET /{index}/_mapping/field/{fields}",
        answers={200: _BY_INDEX},
    ),
    **_manage(
        "The mapping of certain fields",
        "GET /_mapping/field/{fields}",
        "GET /{index}/_mapping/field/{fields}",
        answers={200: _BY_INDEX},
    ),
    **_manage(
        "Declare fields",
        *(f"{method} {path}" for method in ("PUT", "POST") for path in _MAPPINGS),
        parameters=PARAMETERS | {"write_index_only"},
        answers={200: _DONE},
        body=Body(ref("Mapping"), required=True, example={"properties": {"host": {"type": "keyword"}}}),
    ),
    **_manage(
        "Settings",
        "GET /_settings",
        "GET /{index}/_settings",
        "GET /{index}/_settings/{name}",
        answers={200: _BY_INDEX},
    ),
    **_manage(
        "Change settings",
        "PUT /_settings",
        "PUT /{index}/_settings",
        body=Body(OBJECT, required=True),
        answers={200: _DONE},
        parameters=PARAMETERS | {"preserve_existing", "reopen"},
    ),
    **_manage(
        "Make searchable what was accepted",
        *(f"{m} {at}/_refresh" for m in ("GET", "POST") for at in ("", "/{index}")),
        answers={200: _SHARDS},
    ),
    **_manage(
        "The same: a commit is on disk when it is made",
        *(f"{m} {at}/_flush" for m in ("GET", "POST") for at in ("", "/{index}")),
        parameters=refresh.FLUSH,
        answers={200: _SHARDS},
    ),
    **_manage(
        "Nothing: segments are merged as they grow",
        "POST /_forcemerge",
        "POST /{index}/_forcemerge",
        parameters=refresh.MERGE,
        answers={200: _SHARDS},
    ),
    **_manage("Nothing: no index is ever closed", "POST /{index}/_open", answers={200: _DONE}),
    **_manage("Refused: an index that is not used costs next to nothing", "POST /{index}/_close"),
    **_manage(
        "Health",
        "GET /_cluster/health",
        "GET /_cluster/health/{index}",
        parameters=cluster.HEALTH,
        answers={200: Answer(OBJECT), 408: Answer(OBJECT, "It did not become so in time")},
    ),
    **_manage("Settings of the cluster: none", "GET /_cluster/settings"),
    **_manage("Refused: the configuration file has them", "PUT /_cluster/settings", body=Body(OBJECT)),
    **_manage("The one node there is", "GET /_nodes", "GET /_nodes/{what}"),
    **_manage("What a name means", "GET /_resolve/index/{index}"),
    **_manage(
        "Numbers of documents and bytes",
        *(f"GET {at}/_stats{more}" for at in ("", "/{index}") for more in ("", "/{metric}")),
        parameters=PARAMETERS | {"level", "metric", "forbid_closed_indices"},
    ),
    **_ask("The license that shippers look for", "GET /_license"),
    **_ask("The features that shippers look for", "GET /_xpack"),
    **_ask("Ingest pipelines: none", "GET /_ingest/pipeline", parameters=frozenset()),
    **_ask(
        "Ingest pipelines: none; steps are the configuration's",
        *(f"{method} /_ingest/pipeline/{{name}}" for method in ("GET", "PUT", "DELETE")),
        parameters=frozenset(),
        answers={404: Answer(OBJECT, "There is none")},
        failures=_WITHOUT_404,
    ),
    **_template("Templates that new indexes are made from", "GET", "GET /{name}"),
    **_manage(
        "A template of the older kind",
        "GET /_template/{name}",
        parameters=templates.KNOWN,
        answers={200: Answer(OBJECT), 404: Answer(OBJECT, "There is none")},
        failures=_WITHOUT_404,
    ),
    **_template(
        "Keep a template",
        "PUT /{name}",
        "POST /{name}",
        body=Body(OBJECT, required=True),
        answers={200: _DONE},
    ),
    **_template("Delete templates", "DELETE /{name}", answers={200: _DONE}),
    **_manage(
        "What an index of that name would be made from",
        "POST /_index_template/_simulate_index/{name}",
        parameters=templates.KNOWN,
    ),
    **_manage(
        "Data streams",
        "GET /_data_stream",
        "GET /_data_stream/{index}",
        parameters=PARAMETERS | {"verbose", "include_defaults"},
    ),
    **_manage(
        "Make a data stream, as its template has it", "PUT /_data_stream/{index}", answers={200: _DONE}
    ),
    **_manage("Delete data streams and their indexes", "DELETE /_data_stream/{index}", answers={200: _DONE}),
    **_manage(
        "Go on in a new index",
        "POST /{index}/_rollover",
        "POST /{index}/_rollover/{new}",
        parameters=PARAMETERS | {"dry_run", "lazy"},
        body=Body(an_object(conditions=OBJECT)),
    ),
    **_manage("Lifecycle policies", "GET /_ilm/policy", "GET /_ilm/policy/{name}"),
    **_manage(
        "Keep a lifecycle policy",
        "PUT /_ilm/policy/{name}",
        body=Body(an_object("policy", policy=OBJECT), required=True),
        answers={200: _DONE},
    ),
    **_manage("Delete a lifecycle policy", "DELETE /_ilm/policy/{name}", answers={200: _DONE}),
    **_manage("Whether lifecycles are followed", "GET /_ilm/status"),
    **_manage("Nothing: lifecycles are always followed", "POST /_ilm/start", answers={200: _DONE}),
    **_manage(
        "Where indexes are in their lifecycle",
        "GET /{index}/_ilm/explain",
        parameters=PARAMETERS | {"only_errors", "only_managed"},
    ),
    "POST /api/indexes/{index}/generations": Operation(
        "manage",
        "The next generation of an index",
        "Its documents indexed anew, for its mapping as it is now or for another one, while it goes on.",
        requests.COMMON,
        body=Body(only(mappings=ref("Mapping"))),
        answers={200: _DONE},
        failures=(*MANAGE, 409),
    ),
}
