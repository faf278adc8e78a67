"""Read records from an HTTP API, page by page; the position is the page and what was delivered of it."""

from __future__ import annotations

from typing import Any, Final

from headrace.ingest.base import SourceContext
from headrace.ingest.http_pull.options import Settings
from headrace.ingest.http_pull.source import HttpPullSource

__all__ = ["Settings", "create", "examples"]

examples: Final[tuple[dict[str, Any], ...]] = (
    {
        "url": "https://api.example.com/v1/orders",
        "records": "data",
        "pagination": {"type": "cursor", "path": "meta.next_cursor", "size": 500},
        "auth": {"type": "bearer", "token": "a-token"},
    },
    {
        "url": "https://api.example.com/repos/{owner}/{repo}/issues",
        "params": {"state": "all", "sort": "updated", "direction": "asc"},
        "pagination": {"type": "link", "size": 100},
        "watermark": {"field": "updated_at", "parameter": "since", "overlap": "5m"},
        "interval": "1m",
        "partitions": [{"owner": "mill", "repo": "gate"}, {"owner": "mill", "repo": "wheel"}],
        "rate_limit": 5,
    },
)


def create(settings: Settings, context: SourceContext) -> HttpPullSource:
    """A source over `settings.url`, without asking anything yet."""
    return HttpPullSource(settings, context)
