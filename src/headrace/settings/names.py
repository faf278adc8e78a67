"""What indexes, pipelines and steps may be called."""

from __future__ import annotations

import re
from typing import Final

from headrace.core.errors import ConfigError

RESERVED_INDEXES: Final = frozenset({"api", "es", "health", "ingest", "metrics", "openapi.json", "ui"})
"""First parts of paths that the HTTP interface has for itself."""

_FORBIDDEN: Final = re.compile(r"""[\\/*?"<>| ,#:\x00-\x1f]""")
_PIPELINE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_LONGEST: Final = 255


def check_index_name(name: str) -> None:
    """Elasticsearch's rules, and the names that are taken. Raises ConfigError."""
    if problem := _index_problem(name):
        raise ConfigError(f"{name!r} cannot be the name of an index: {problem}")


def _index_problem(name: str) -> str:
    if not name or name in {".", ".."}:
        return "it is empty or a folder of its own"
    if name != name.lower():
        return f"write it in lower case, {name.lower()!r}"
    if name in RESERVED_INDEXES:
        return f"/{name} belongs to the HTTP interface (reserved: {', '.join(sorted(RESERVED_INDEXES))})"
    if name[0] in "-_+.":
        return "it must not begin with '-', '_', '+' or '.'"
    if found := _FORBIDDEN.search(name):
        return f"it must not hold {found[0]!r}"
    if len(name.encode()) > _LONGEST:
        return f"it is longer than {_LONGEST} bytes"
    return ""


def check_pipeline_name(name: str) -> None:
    """Lower-case letters, digits, '-', '_', '.': it labels metrics and dead letters. Raises ConfigError."""
    if not _PIPELINE.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} cannot be the name of a pipeline: use lower-case letters, digits, '-', '_' and '.'"
        )
