"""Every method of the real clients' documents, search, indexes, tables and cluster: answered, or refused clearly.

The methods are those that the installed clients have: a new one in a new version is asked too. What is asked is
made of the parameters that a method needs; what is not served has to be a 4xx of the client's own kind, never
a 5xx, never something that the client cannot read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import elasticsearch8
import elasticsearch9
import opensearchpy
import pytest

from services.running import Running

pytestmark = pytest.mark.filterwarnings("ignore")
"""Of the clients, about methods that are new or old, and of the service, about what it does not carry out."""

LIBRARIES = {"8": elasticsearch8, "9": elasticsearch9}
PARTS = ("", "indices", "cat", "cluster", "ilm", "ingest", "nodes", "tasks")
NOT_ASKED = {"close", "options", "perform_request", "transport", "capabilities", "knn_search"}
"""What asks nothing of a server, or is of its own making."""

VALUES: dict[str, Any] = {
    "index": "surface", "id": "1", "name": "surface-name", "alias": "surface-alias", "target": "surface-copy",
    "document": {"n": 1}, "doc": {"n": 2}, "fields": "n", "settings": {"index.refresh_interval": "5s"},
    "operations": [{"index": {"_index": "surface"}}, {"n": 1}], "actions": [], "new_index": "surface-000002",
    "searches": [{"index": "surface"}, {"size": 1}], "search_templates": [{}, {"id": "t"}],
    "query": {"match_all": {}}, "source": {"index": "surface"}, "dest": {"index": "surface-dest"},
    "keep_alive": "1m", "scroll_id": "none", "metric": "docs", "block": "write", "task_id": "a:1",
    "index_patterns": ["surface-t-*"], "template": {"settings": {}}, "policy": {"phases": {}},
    "processors": [], "docs": [{"_source": {}}], "node_id": "headrace", "repository": "r", "script": {"source": "1"},
    "requests": [{"id": "1", "request": {"query": {"match_all": {}}}, "ratings": []}], "body": {},
    "field": "n", "string": "a", "lang": "painless", "context": "x", "data_stream": "surface-ds", "zoom": 1, "x": 1, "y": 1,
    "properties": {"z": {"type": "long"}}, "persistent": {}, "ids": ["1"],
}  # fmt: skip


ALSO: dict[str, tuple[str, ...]] = {
    "bulk": ("operations",), "create": ("document",), "index": ("document",), "msearch": ("searches",),
    "delete_by_query": ("query",), "field_caps": ("fields",), "mget": ("ids",), "reindex": ("source", "dest"),
    "indices.analyze": ("text",), "open_point_in_time": ("keep_alive",), "update": ("doc",),
    "indices.validate_query": ("query",), "indices.put_index_template": ("index_patterns",),
}  # fmt: skip
"""What a method does not insist on, and cannot do without."""


def methods(client: Any) -> list[str]:
    """`part.method` of each public one."""
    found = []
    for part in PARTS:
        if part and not hasattr(client, part):
            continue  # OpenSearch has no lifecycles of this kind
        owner = getattr(client, part) if part else client
        for name, _ in inspect.getmembers(type(owner), inspect.isfunction):
            if not name.startswith("_") and name not in NOT_ASKED:
                found.append(f"{part}.{name}" if part else name)
    return found


def arguments(asked_for: str, method: Any) -> dict[str, Any]:
    """Those that it cannot do without, and an index where it takes one."""
    taken = inspect.signature(method).parameters
    given = {also: VALUES.get(also, "surface") for also in ALSO.get(asked_for, ()) if also in taken}
    for name, parameter in taken.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind not in (
            inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL,
        )  # fmt: skip
        if needed or name == "index":
            given[name] = VALUES.get(name, "surface")
    return given


def asked(client: Any, name: str, error: Any) -> int:
    """The status of one method's answer; 0 where the client itself wants other arguments."""
    part, _, last = name.rpartition(".")
    method = getattr(getattr(client, part) if part else client, last)
    refused: Any = None
    try:
        method(**arguments(name, method))
    except error as caught:
        refused = caught.with_traceback(None)
    except ValueError:
        return 0
    if refused is None:
        return 200
    status = getattr(refused, "status_code", None) or refused.meta.status
    assert isinstance(status, int), f"{name}: {refused}"
    assert status != 400 or len(str(refused)) > 20, f"{name} is refused without a reason: {refused}"
    return status


@pytest.fixture(params=LIBRARIES, scope="module")
def elastic(request: pytest.FixtureRequest, running: Running) -> Iterator[tuple[Any, type[Exception]]]:
    library: Any = LIBRARIES[request.param]
    with library.Elasticsearch(running.base, request_timeout=30, max_retries=0) as client:
        yield client, library.ApiError


def surface(client: Any, error: type[Exception], put: Any) -> dict[str, int]:
    found = {}
    for name in methods(client):
        put()
        found[name] = asked(client, name, error)
    return found


SERVED = {
    "bulk", "count", "delete_by_query", "exists", "exists_source", "field_caps", "get", "get_source",
    "index", "info", "mget", "msearch", "open_point_in_time", "ping", "reindex", "search", "update_by_query",
    "indices.analyze", "indices.delete", "indices.exists", "indices.flush", "indices.forcemerge",
    "indices.get", "indices.get_alias", "indices.get_data_stream", "indices.get_field_mapping",
    "indices.get_index_template", "indices.get_mapping", "indices.get_settings", "indices.open",
    "indices.put_alias", "indices.put_index_template", "indices.refresh", "indices.resolve_index",
    "indices.stats", "indices.validate_query", "cat.aliases", "cat.allocation", "cat.count", "cat.health",
    "cat.indices", "cat.master", "cat.nodes", "cat.segments", "cat.shards", "cat.templates", "cluster.health",
    "cluster.get_settings", "cluster.pending_tasks", "cluster.state", "cluster.stats", "nodes.info",
    "nodes.stats", "tasks.list", "ilm.get_lifecycle", "ilm.get_status", "ingest.get_pipeline",
}  # fmt: skip
"""Answered with what was asked for, in the client's own reading."""


@pytest.mark.timeout(240)
def test_every_method_of_the_elasticsearch_clients_is_answered_or_refused(
    elastic: tuple[Any, type[Exception]],
) -> None:
    client, error = elastic

    def put() -> None:
        client.index(index="surface", id="1", document={"n": 1}, refresh=True)

    found = surface(client, error, put)
    assert len(found) > 150
    assert {} == {name: status for name, status in found.items() if status >= 500}
    assert {} == {name: found.get(name) for name in sorted(SERVED) if found.get(name) != 200}
    assert 409 == found["create"], "the document is there"


@pytest.mark.timeout(240)
def test_every_method_of_the_opensearch_client_is_answered_or_refused(running: Running) -> None:
    host = {"host": "127.0.0.1", "port": int(running.base.rpartition(":")[2])}
    client = opensearchpy.OpenSearch(hosts=[host], timeout=30, max_retries=0)

    def put() -> None:
        client.index(index="surface", id="1", body={"n": 1}, params={"refresh": "true"})

    found = surface(client, opensearchpy.TransportError, put)
    assert len(found) > 120
    assert {} == {name: status for name, status in found.items() if status >= 500}
    client.close()
