"""The ingester's application, on the local socket: what only the server asks, for others."""

from __future__ import annotations

from starlette.applications import Starlette

from headrace.core.metrics import Metrics
from headrace.serve import admin, breakers, flags, health, line
from headrace.serve.admin import Admin
from headrace.serve.application import application
from headrace.serve.health import HealthSource
from headrace.serve.line import Pushed


def ingester_app(source: Admin, health_source: HealthSource, pushed: Pushed, metrics: Metrics) -> Starlette:
    """Pipelines, breakers, flags, health and metrics, on the local socket."""
    return application(
        [
            *health.routes(health_source),
            *admin.routes(source),
            *breakers.routes(source),
            *flags.routes(source),
            *line.routes(pushed),
        ],
        metrics,
    )
