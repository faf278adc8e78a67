"""Which indexes the things of the service belong to: pipelines, their dependencies, the buffer's subscribers.

A key that is bound to indexes reaches what belongs to them alone. What belongs to none of them, and what is
not there, is refused in the same words: nobody learns which names there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headrace.catalogue.entry import GENERATION
from headrace.serve.doors.principal import bound, refused
from headrace.serve.places import PlacedIndices


class Belonging:
    """configured: the index that each pipeline of the configuration feeds."""

    def __init__(self, indices: PlacedIndices, configured: Mapping[str, str]) -> None:
        self._indices = indices
        self._configured = configured

    def check_pipeline(self, name: str) -> None:
        """Raises RequestError 403, as the others."""
        _require("pipeline", name, self._of_pipeline(name))

    def check_dependency(self, name: str) -> None:
        _require("breaker", name, self._of_dependency(name))

    def check_subscriber(self, name: str) -> None:
        _require("subscriber", name, self._of_subscriber(name))

    def shows_dependency(self, name: str) -> bool:
        return _allowed(self._of_dependency(name))

    def shows_subscriber(self, name: str) -> bool:
        return _allowed(self._of_subscriber(name))

    def _pipelines(self) -> dict[str, str]:
        made = self._indices.catalogue.indexes.values()
        return {**self._configured, **{each.pipeline: each.name for each in made}}

    def _of_pipeline(self, name: str) -> list[str]:
        index = self._pipelines().get(name)
        return [] if index is None else [index]

    def _of_dependency(self, name: str) -> list[str]:
        """Of `source:PIPELINE`, `index:INDEX` and `lookup:PIPELINE.STEP`; no others have a breaker."""
        kind, _, rest = name.partition(":")
        if kind == "source":
            return self._of_pipeline(rest)
        if kind == "index":
            return [rest]
        # Names hold dots: where `a.b.c` may be a step of `a` and of `a.b`, it takes both.
        known = self._pipelines().items() if kind == "lookup" else ()
        return [index for pipeline, index in known if rest.startswith(f"{pipeline}.")]

    def _of_subscriber(self, name: str) -> list[str]:
        if not name.startswith(GENERATION):
            return self._of_pipeline(name)
        made = self._indices.catalogue.indexes.values()
        return [each.name for each in made if each.uuid == name.removeprefix(GENERATION)]


def _allowed(indexes: Collection[str]) -> bool:
    who = bound()
    return who is None or (bool(indexes) and all(map(who.may_use, indexes)))


def _require(noun: str, name: str, indexes: Collection[str]) -> None:
    who = bound()
    if who is None or _allowed(indexes):
        return
    raise refused(who, f"{noun} [{name}]", "it belongs to none of its indexes")
