"""The server's application: what everybody may ask."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from headrace.core.metrics import Metrics
from headrace.serve import documents, health, search, ui
from headrace.serve.application import application
from headrace.serve.health import HealthSource
from headrace.serve.search import Readers
from headrace.serve.upstream import Upstream


def server_app(
    readers: Readers, upstream: Upstream | None, source: HealthSource, metrics: Metrics
) -> Starlette:
    """Search, documents, the page, health and metrics; `/api/…` is passed on to the ingester."""
    data_api: list[BaseRoute] = [*search.routes(readers), *documents.routes(readers)]
    routes: list[BaseRoute] = [
        *health.routes(source),
        *(upstream.routes() if upstream is not None else ()),
        *ui.routes(),
        Mount("/es", routes=data_api),
        *data_api,
    ]
    return application(routes, metrics)
