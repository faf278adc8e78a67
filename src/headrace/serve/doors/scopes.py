"""Which scope each route asks for: the one table, by path and method.

A route that is not in it asks for `admin`, so that nothing new stands open by having been forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.core.errors import RequestError
from headrace.serve.doors.principal import CURRENT, lacking, unbound
from headrace.serve.responses import error_response

OPEN: Final = "none"
"""No key is asked for."""

ANY: Final = "any"
"""Any key, whatever its scopes."""

RULES: Final = (
    ("GET", OPEN, "/health/live /health/ready /ui/ /ui/{name}"),
    ("GET", ANY, "/"),
    ("GET", "monitor", "/metrics"),
    # Searching and reading documents.
    (
        "GET POST",
        "read",
        (
            "/_search */_search /_count */_count */_scan /_msearch */_msearch /_mget */_mget "
            "/_field_caps */_field_caps */_validate/query /_validate/query */_explain/{id:path} "
            "/_analyze */_analyze"
        ),
    ),
    ("GET POST", "read", "/_search_shards */_search_shards"),
    ("GET", "read", "*/_doc/{id:path} */_source/{id:path}"),
    # What Elasticsearch reads with, and here is refused with what to use instead.
    (
        "GET POST PUT",
        "read",
        "/_mtermvectors */_mtermvectors */_termvectors */_termvectors/{id:path} /_rank_eval */_rank_eval",
    ),
    ("GET POST PUT", "admin", "*/_clone/{target} */_shrink/{target} */_split/{target}"),
    ("GET POST DELETE", "read", "/_search/scroll /_search/scroll/{scroll_id}"),
    ("POST", "read", "*/_pit */_search/point_in_time"),
    ("DELETE", "read", "/_pit /_search/point_in_time"),
    ("GET DELETE", "admin", "/_search/point_in_time/_all"),
    # Writing documents.
    ("POST PUT", "write", "/_bulk */_bulk /ingest/{pipeline} */_doc/{id:path} */_create/{id:path}"),
    ("POST", "write", "*/_doc */_doc/ */_create */_create/ */_update/{id:path}"),
    ("DELETE", "write", "*/_doc/{id:path}"),
    ("POST", "read+write", "*/_delete_by_query */_update_by_query /_reindex"),
    ("GET POST", "write|admin", "/_refresh */_refresh /_flush */_flush"),
    # What shippers ask and set up before their first write.
    (
        "GET",
        ANY,
        (
            "/_license /_xpack /_data_stream /_ingest/pipeline /_ingest/pipeline/{name} "
            "/_index_template /_index_template/{name} /_component_template /_component_template/{name} "
            "/_template /_template/{name} /_ilm/policy /_ilm/policy/{name} "
            "/_nodes /_nodes/{what:path} /_cluster/health /_cluster/health* /_data_stream*"
        ),
    ),
    (
        "PUT POST DELETE",
        "admin",
        (
            "/_ingest/pipeline/{name} /_index_template/{name} /_component_template/{name} /_template/{name} "
            "/_ilm/policy/{name}"
        ),
    ),
    ("PUT", "write|admin", "/_data_stream*"),
    ("GET", ANY, "/_ilm/status /openapi.json"),
    ("POST", "admin", "/_ilm/start /_ilm/stop */_rollover */_rollover/{new}"),
    ("DELETE", "admin", "/_data_stream*"),
    ("POST", "read|monitor|admin", "/_index_template/_simulate_index/{name} /_index_template/_simulate"),
    # What there is, and how large.
    ("HEAD", ANY, "*"),
    (
        "GET",
        "read|monitor|admin",
        (
            "* /_cat/indices /_cat/indices/{index} /_cat/count /_cat/count/{index} /_cat/aliases "
            "/_cat/aliases/{name} /_resolve/index* /_aliases /_alias /_alias/{name} */_alias */_alias/{name} "
            "*/_aliases */_aliases/{name} /_mapping /_mappings */_mapping */_mappings */_settings "
            "/_mapping/field/{fields} */_mapping/field/{fields} "
            "*/_settings/{name} /_settings */_ilm/explain"
        ),
    ),
    (
        "GET",
        "monitor|admin",
        "/_cat/health /_cluster/settings /_stats /_stats/{metric} */_stats */_stats/{metric}",
    ),
    (
        "GET",
        "monitor|admin",
        (
            "/_cat /_cat/allocation /_cat/cluster_manager /_cat/master /_cat/nodes /_cat/pending_tasks "
            "/_cat/plugins /_cat/tasks /_cat/templates /_cat/templates/{name} /_cat/thread_pool "
            "/_cat/segments /_cat/segments/{index} /_cat/shards /_cat/shards/{index} "
            "/_cluster/pending_tasks /_cluster/state /_cluster/state/{metrics} /_cluster/state/{metrics}* "
            "/_cluster/stats /_cluster/stats/nodes/{node} /_nodes/stats /_nodes/stats/{metric:path} /_tasks"
        ),
    ),
    # Changing indexes.
    ("PUT DELETE", "admin", "*"),
    ("PUT", "admin", "/_cluster/settings /_settings */_settings"),
    ("POST", "admin", "/_aliases /_forcemerge */_forcemerge */_open */_close"),
    ("PUT POST", "admin", "*/_mapping */_mappings"),
    ("PUT POST DELETE", "admin", "*/_alias/{name} */_aliases/{name}"),
    # The service itself.
    (
        "GET",
        "monitor|admin",
        ("/api/buffer /api/pipelines /api/pipelines/{name} /api/breakers /api/breakers/{name} /api/flags"),
    ),
    ("DELETE", "admin", "/api/buffer/subscribers/{name:path} /api/pipelines/{name}/dead-letters"),
    ("POST", "admin", "/api/breakers/{name} /api/indexes/{index}/generations"),
)
"""Methods, scopes and paths. `*` is an index in the path; `a|b` any of them, `a+b` all of them."""

WIDE: Final = (
    ("GET", "/metrics /api/flags"),
    ("PUT POST DELETE", "/_component_template/{name}"),
    ("PUT DELETE", "/_ilm/policy/{name}"),
)
"""What cannot be told apart by index: a key needs `indexes: ["*"]` for it, whatever its scopes."""

FORGOTTEN: Final = "admin"

_INDEX: Final = re.compile(r"/\{index(:indexes)?\}")
_TABLE: Final = {
    (method, path): scope
    for methods, scope, paths in RULES
    for path in paths.split()
    for method in methods.split()
}

_WIDE: Final = frozenset(
    (method, path) for methods, paths in WIDE for path in paths.split() for method in methods.split()
)


def wide(method: str, path: str) -> bool:
    """Whether a route, by its template, belongs to all indexes together."""
    return ("GET" if method == "HEAD" else method, path) in _WIDE


def known(method: str, path: str) -> str | None:
    """The scope of a route by its template, None where the table has none. HEAD is as GET."""
    plain = path if path.startswith(("/_cat/", "/api/")) else _INDEX.sub("*", path)
    found = _TABLE.get((method, plain))
    return _TABLE.get(("GET", plain)) if found is None and method == "HEAD" else found


def satisfied(scope: str, held: frozenset[str]) -> bool:
    if scope in (OPEN, ANY):
        return True
    return any(held.issuperset(each.split("+")) for each in scope.split("|"))


class Scoped:
    """A route that first looks whether the key of the request has its scope; without keys, at nothing."""

    def __init__(
        self, app: ASGIApp, path: str, methods: Iterable[str], check: Callable[[str], None] | None = None
    ) -> None:
        self._app = app
        self._check = check
        self._path = path
        self.needed = {method: known(method, path) or FORGOTTEN for method in methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = CURRENT.get()
        if who is not None:
            needed = self.needed.get(scope["method"], FORGOTTEN)
            if not satisfied(needed, who.scopes):
                await error_response(lacking(who, needed.split("|")))(scope, receive, send)
                return
            if wide(scope["method"], self._path) and (error := unbound(who, self._path)) is not None:
                await error_response(error)(scope, receive, send)
                return
            index = scope["path_params"].get("index")
            if index is not None and self._check is not None:
                try:
                    self._check(index)
                except RequestError as error:
                    await error_response(error)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def each_route(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """All routes, also of mounts; one that is in several places, once for each."""
    for route in routes:
        if isinstance(route, Mount):
            yield from each_route(route.routes)
        elif isinstance(route, Route):
            yield route


def guard(routes: Iterable[BaseRoute], check: Callable[[str], None] | None = None) -> None:
    """Have every route ask for its scope, in place, and `check` the indexes in its path.

    Names in bodies, and what wildcards mean, are checked where they are resolved (`places`)."""
    for route in each_route(routes):
        if not isinstance(route.app, Scoped):
            route.app = Scoped(route.app, route.path, route.methods or (), check)
