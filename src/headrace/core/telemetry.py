"""Traces by OpenTelemetry, configured by its standard `OTEL_*` variables; without them nothing is imported.

One span per batch and stage. What reads a batch begins its trace and puts it on the batch; the stages that
follow continue it; a commit, which covers several batches, has a trace of its own with a link to each. Log
records written inside a span carry `trace_id` and `span_id`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from headrace.core.errors import ConfigError
from headrace.core.log import bind, event
from headrace.core.registry import suggest

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext, Tracer

log = logging.getLogger(__name__)

Trace: TypeAlias = "SpanContext"
"""What travels with a batch: which span it comes from."""

EXPORTERS: Final = ("console", "none", "otlp")
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
FLUSH_SECONDS: Final = 3.0
"""A collector that is away does not keep the service from stopping."""

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()

_tracer: Tracer | None = None
"""None while traces are off: the one question that every stage asks."""


def wanted(environ: Mapping[str, str]) -> str:
    """Which exporter the environment asks for; `none` where it asks for nothing. Raises ConfigError."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return "none"
    default = "otlp" if any(environ.get(name) for name in ENDPOINTS) else "none"
    exporter = environ.get("OTEL_TRACES_EXPORTER") or default
    if exporter not in EXPORTERS:
        raise ConfigError(
            f"OTEL_TRACES_EXPORTER: unknown exporter {exporter!r}, {suggest(exporter, list(EXPORTERS))}"
        )
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), PROTOCOL)
    if exporter == "otlp" and protocol != PROTOCOL:
        raise ConfigError(f"{PROTOCOLS[1]}: {protocol!r} is not spoken here, only {PROTOCOL}")
    return exporter


def start(role: str, version: str, environ: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Export traces if the environment says so; what ends it again. Raises ConfigError.

    The SDK itself reads the variables of endpoints, headers, sampling, batching and limits.
    """
    exporter = wanted(environ)
    if exporter == "none":
        return _nothing
    try:
        provider = _provider(exporter, role, version)
    except ImportError as error:
        event(log.warning, "telemetry.unavailable", error=str(error), next="install headrace[otel]")
        return _nothing
    global _tracer  # noqa: PLW0603  traces belong to the process, as logs do
    _tracer = provider.get_tracer("headrace", version)
    event(log.info, "telemetry.started", exporter=exporter)
    return lambda: _stop(provider)


def is_on() -> bool:
    return _tracer is not None


def span(
    name: str, *, parent: object = None, links: Iterable[object] = (), **attributes: str | float
) -> AbstractContextManager[Trace | None]:
    """A span around what is done inside; gives what others may continue or link to, None while off.

    parent, links: what other spans gave; None among them is nothing
    attributes: are called `headrace.…`
    """
    if _tracer is None:
        return _NOTHING
    named = {f"headrace.{key}": value for key, value in attributes.items()}
    return _span(_tracer, f"headrace.{name}", parent, links, named)


@contextmanager
def request_span(
    method: str, route: str, headers: Iterable[tuple[bytes, bytes]]
) -> Iterator[Callable[[int], None]]:
    """The span of a request, continuing its `traceparent`; gives what notes the status of the answer.

    Only while `is_on`.
    """
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind, StatusCode

    assert _tracer is not None
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    attributes = {"http.request.method": method, "http.route": route}
    with _tracer.start_as_current_span(
        f"{method} {route}", context=extract(carrier), kind=SpanKind.SERVER, attributes=attributes
    ) as span, bind(**_ids(span)):  # fmt: skip

        def answered(status: int) -> None:
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(StatusCode.ERROR)

        yield answered


def headers() -> dict[str, str]:
    """What carries the current span to whom we call: `traceparent`; empty while off."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.propagate import inject

        inject(carrier)
    return carrier


@contextmanager
def _span(
    tracer: Tracer, name: str, parent: object, links: Iterable[object], attributes: Mapping[str, Any]
) -> Iterator[Trace]:
    from opentelemetry.trace import Link, SpanContext

    found = [Link(link) for link in links if isinstance(link, SpanContext)]
    with tracer.start_as_current_span(
        name, context=_context(parent), links=found, attributes=attributes
    ) as span, bind(**_ids(span)):  # fmt: skip
        yield span.get_span_context()


def _context(parent: object) -> Context:
    """The parent's context; an empty one where there is none: a batch's trace is not that of the task."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

    if not isinstance(parent, SpanContext):
        return Context()
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _ids(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _provider(exporter: str, role: str, version: str) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.version": version, "headrace.role": role})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "headrace"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _stop(provider: TracerProvider) -> None:
    """Send what is left, for a few seconds at most."""
    global _tracer  # noqa: PLW0603
    _tracer = None
    last = threading.Thread(target=provider.shutdown, name="telemetry-flush", daemon=True)
    last.start()
    last.join(FLUSH_SECONDS)
    if last.is_alive():
        event(log.warning, "telemetry.lost", waited_s=FLUSH_SECONDS, error="the collector does not answer")


def _nothing() -> None: ...
