"""Delete what a kill or a rollback left behind, before it is in the way (PROTOCOL 2).

The engine counts its operations anew from the last commit, so a leftover `.del` file of a commit that never
was bears the name the replayed commit needs: that one would fail for ever. Only files that `meta.json` names
stay. Call it under the writer's lock, with no writer open.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from headrace.core.files import replace_file
from headrace.core.log import event
from headrace.index.tantivy.store import META, read_meta

log = logging.getLogger(__name__)

MANAGED: Final = ".managed.json"
KEPT: Final = frozenset({META, MANAGED, ".tantivy-writer.lock", ".tantivy-meta.lock"})
SEGMENT_FILES: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")
_SEGMENT_FILE: Final = re.compile(r"([0-9a-f]{32})\.(?:(\d+)\.)?([a-z]+)")
_OURS: Final = re.compile(r"\.tmp.*|\..*\.new|[0-9a-f]{32}\..*")
"""Names that the engine or we give; a stranger's file in the folder is left alone."""


def sweep(engine: Path) -> list[str]:
    """Delete files that `meta.json` does not name, make `.managed.json` match; the names deleted."""
    meta = read_meta(engine)
    deleted = [name for name in leftovers(engine, meta) if _delete(engine / name)]
    _manage(engine, meta)
    if deleted:
        event(log.info, "index.leftovers_swept", directory=str(engine), files=len(deleted))
    return deleted


def leftovers(engine: Path, meta: Mapping[str, Any]) -> list[str]:
    """Files in the folder that no commit needs."""
    named = named_files(meta)
    return sorted(
        path.name
        for path in engine.iterdir()
        if path.name not in KEPT and _OURS.fullmatch(path.name) and not belongs(path.name, named)
    )


def named_files(meta: Mapping[str, Any]) -> dict[str, int | None]:
    """Per segment id, the opstamp of its deletes (None where it has none)."""
    return {
        segment["segment_id"].replace("-", ""): (segment.get("deletes") or {}).get("opstamp")
        for segment in meta["segments"]
    }


def expected_files(named: Mapping[str, int | None]) -> list[str]:
    """The files that the named segments consist of."""
    names = []
    for segment, opstamp in named.items():
        names += [f"{segment}.{suffix}" for suffix in SEGMENT_FILES]
        if opstamp is not None:
            names.append(f"{segment}.{opstamp}.del")
    return names


def belongs(name: str, named: Mapping[str, int | None] | None) -> bool:
    """Whether this is a file of the named segments (see `named_files`), of any segment where None."""
    parsed = _SEGMENT_FILE.fullmatch(name)
    if parsed is None or named is None:
        return parsed is not None
    if parsed[1] not in named:
        return False
    if parsed[3] == "del":
        return parsed[2] is not None and int(parsed[2]) == named[parsed[1]]
    return True


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _manage(engine: Path, meta: Mapping[str, Any]) -> None:
    """List what is there for the engine's own collection of garbage. On a full disk the old list will do."""
    named = named_files(meta)
    files = sorted(path.name for path in engine.iterdir() if belongs(path.name, named))
    wanted = sorted([META, *files])
    try:
        if managed_files(engine) != wanted:
            replace_file(engine / MANAGED, json.dumps(wanted).encode())
    except OSError as error:
        (engine / f".{MANAGED}.new").unlink(missing_ok=True)
        event(log.warning, "index.managed_list_kept", directory=str(engine), reason=error.strerror)


def managed_files(engine: Path) -> list[str] | None:
    """What the engine believes it owns; None where that cannot be read."""
    try:
        listed = json.loads((engine / MANAGED).read_bytes())
    except (OSError, ValueError):
        return None
    return sorted(listed) if isinstance(listed, list) else None
