"""The server's application: what everybody may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Router

from headrace.core.metrics import Metrics
from headrace.serve import (
    buffered,
    bulk,
    byquery,
    documents,
    field_caps,
    forwarding,
    health,
    manage,
    openapi,
    pushes,
    search,
    ui,
    writes,
)
from headrace.serve.application import application
from headrace.serve.banner import ES_VERSION
from headrace.serve.belonging import Belonging
from headrace.serve.buffered import Buffered
from headrace.serve.doors import Doors
from headrace.serve.doors.scopes import guard
from headrace.serve.folders import FolderReaders
from headrace.serve.freshness import Realtime, never
from headrace.serve.health import HealthSource
from headrace.serve.indices import ServerIndices
from headrace.serve.manage import Surroundings, generations
from headrace.serve.manage.base import Generations
from headrace.serve.push import Push
from headrace.serve.reads import Reads
from headrace.serve.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Writing:
    """The write path; there is none where a folder is only read.

    feeds: the index that each pipeline of the configuration feeds"""

    push: Push
    buffer: Buffered
    upstream: Upstream
    generations: Generations
    feeds: Mapping[str, str] = field(default_factory=dict)


def server_app(
    indices: ServerIndices | FolderReaders,
    source: HealthSource,
    metrics: Metrics,
    writing: Writing | None = None,
    doors: Doors | None = None,
    *,
    stopping: Callable[[], bool] = never,
    version: str = ES_VERSION,
) -> Starlette:
    """Search, documents, writes, management, the page, health and metrics.

    What of `/api/…` the server does not know itself is passed on to the ingester, route by route. `stopping`
    ends what waits; `version` is that of Elasticsearch which is told."""
    routes: list[BaseRoute] = [*health.routes(source)]
    realtime = None
    around = Surroundings(indices, source.readiness, stopping=stopping, version=version)
    data_api: list[BaseRoute] = []
    if writing is not None:
        push = writing.push
        realtime = Realtime(push.buffer, push.applier)
        around = Surroundings(
            indices,
            source.readiness,
            push.applier,
            push.buffer.accepted,
            writing.generations,
            stopping,
            version,
        )
        routes += generations.routes(around)
        belonging = Belonging(indices, writing.feeds)
        beside = partial(buffered.held_by, writing.buffer, belonging)
        routes += [*buffered.routes(writing.buffer, belonging), *pushes.routes(push)]
        routes += forwarding.routes(writing.upstream, belonging, beside)
        data_api += [*bulk.routes(push), *writes.routes(push)]
        data_api += byquery.routes(Reads(indices, realtime, stopping=stopping), push)
    data_api += [
        *search.routes(indices, realtime=realtime, stopping=stopping, version=version),
        *documents.routes(indices, realtime=realtime, stopping=stopping),
        *field_caps.routes(indices),
        *manage.routes(around),
    ]
    prefixed = Mount("/es", Router(data_api, redirect_slashes=False))
    routes += [*ui.routes(version), *openapi.routes(lambda: routes), prefixed, *data_api]
    guard(routes, indices.check_allowed)
    inner = [] if doors is None else doors.middleware()
    return application(routes, metrics, inner=inner)
