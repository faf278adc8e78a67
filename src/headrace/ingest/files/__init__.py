"""Read records from files, once or for ever; the position is a content hash and a decompressed offset."""

from __future__ import annotations

from typing import Any, Final

from headrace.core.errors import ConfigError
from headrace.ingest.base import SourceContext
from headrace.ingest.files.options import Settings
from headrace.ingest.files.source import FileSource

__all__ = ["Settings", "create", "examples"]

examples: Final[tuple[dict[str, Any], ...]] = (
    {"paths": ["flights.csv.zip"], "format": "csv", "null_values": ["NA"]},
    {"paths": ["/var/log/app/*.ndjson"], "follow": True},
    {"paths": ["-"], "format": "lines"},
)


def create(settings: Settings, context: SourceContext) -> FileSource:
    """A source over `settings.paths`, without looking at them yet."""
    if context.once and settings.follow:
        raise ConfigError(
            "follow: true never ends, and a single pass (--once) is to; set follow: false, or run without it",
            path=("follow",),
        )
    return FileSource(settings, context)
