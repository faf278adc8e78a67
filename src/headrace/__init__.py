"""Headrace, an indexer service: ingest → transform → index exactly once → search.

The flow, in eight lines::

    import headrace

    index = headrace.index("access*.ndjson.gz", into="logs", id="request_id")   # exactly once
    result = index.search("status:>=500 AND payment", size=20, sort="time:desc")
    print(result.total)
    frame = result.to_polars()
    index = headrace.open("http://127.0.0.1:7223", name="access")                # a running service
    index.search({"size": 0, "aggs": {"mean": {"avg": {"field": "duration_ms"}}}})
    headrace.run("headrace.yaml")                                                # both services, here
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace import aio
    from headrace.api import Index, Summary, index, open, run  # noqa: A004
    from headrace.result import Result

__version__ = "0.1.0"

__all__ = ["Index", "Result", "Summary", "__version__", "aio", "index", "open", "run"]


def __getattr__(name: str) -> object:
    """The public names, imported when first used: `import headrace` alone costs nothing."""
    if name == "Result":
        from headrace.result import Result

        return Result
    if name in {"aio", "index"}:
        return importlib.import_module(f"headrace.{name}")
    if name in {"Index", "Summary", "open", "run"}:
        from headrace import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _CallablePackage(ModuleType):
    """`headrace.index` is the package of all kinds of index and, called, the function that makes one."""

    def __call__(self, *arguments: object, **options: object) -> object:
        from headrace import api

        make: Callable[..., object] = api.index
        return make(*arguments, **options)


class _FrontDoor(ModuleType):
    """Importing a package sets it on its parent: that is the moment to make `headrace.index` callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "index" and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
