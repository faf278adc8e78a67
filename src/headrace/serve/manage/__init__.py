"""Management over HTTP, as Elasticsearch has it: make, show and delete indexes, mappings, aliases, health.

Mount these behind the routes of search and documents: `/{index}` takes every name that begins with no `_`.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from headrace.serve import analyze
from headrace.serve.manage import (
    aliases,
    cluster,
    field_mappings,
    indexes,
    lifecycles,
    mappings,
    refresh,
    settings,
    shippers,
    statistics,
    streams,
    tables,
    templates,
)
from headrace.serve.manage.base import Surroundings

__all__ = ["Surroundings", "routes"]


def routes(around: Surroundings) -> list[BaseRoute]:
    """All of it; the caller mounts them at the root and under /es."""
    return [
        *statistics.routes(around),
        *tables.routes(around),
        *cluster.routes(around),
        *aliases.routes(around),
        *mappings.routes(around),
        *field_mappings.routes(around),
        *settings.routes(around),
        *refresh.routes(around),
        *analyze.routes(around.indices),
        *shippers.routes(around),
        *templates.routes(around),
        *streams.routes(around),
        *lifecycles.routes(around),
        *indexes.routes(around),
    ]
