"""Records that clients push over HTTP, read from the durable buffer they were accepted into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.ingest.base import SourceContext
from headrace.ingest.http_push import admit
from headrace.ingest.http_push.options import Settings

if TYPE_CHECKING:
    from headrace.ingest.http_push.source import HttpPushSource

__all__ = ["Settings", "admit", "create", "examples"]

examples: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"ack": "indexed", "max_record_bytes": 1_000_000},
    {"log": "orders"},
    {"columns": ["at", "place", "value"], "delimiter": ";", "null_values": ["-"]},
)


def create(settings: Settings, context: SourceContext) -> HttpPushSource:
    """A source over a log of the buffer; touches nothing yet, and needs no buffer to be there."""
    # The server, which only counts what is pushed, has no use for the reading side.
    from headrace.ingest.http_push.source import HttpPushSource

    return HttpPushSource(settings, context)
