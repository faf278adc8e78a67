"""Headrace, an indexer service: ingest → transform → index exactly once → search.

The flow, in eight lines::

    import headrace

    index = headrace.index("access*.ndjson.gz", into="logs", id="request_id")   # exactly once
    result = index.search("status:>=500 AND payment", size=20, sort="time:desc")
    print(result.total)
    frame = result.to_polars()
    index = headrace.open("http://127.0.0.1:7223", name="access")                # a running service
    index.search({"size": 0, "aggs": {"hours": {"date_histogram": {"field": "time", "fixed_interval": "1h"}}}})
    headrace.run("headrace.yaml")                                                # both services, here
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.api import Index, Summary, index, open, run  # noqa: A004
    from headrace.result import Result

__version__ = "0.1.0"

__all__ = ["Index", "Result", "Summary", "__version__", "index", "open", "run"]


def __getattr__(name: str) -> object:
    """The public names, imported when first used: `import headrace` alone costs nothing."""
    if name == "Result":
        from headrace.result import Result

        return Result
    if name in {"Index", "Summary", "index", "open", "run"}:
        from headrace import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
