"""Which indexes a name in a request means: configured ones, those made at run time, aliases, wildcards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.index.base import Reader
from headrace.model import Outcome


@dataclass(frozen=True, slots=True)
class Target:
    """Where a write goes.

    index:    the concrete index's name, never an alias
    uuid:     the index's identity, for tokens
    log:      the log of the buffer that takes its pushes
    pipeline: the pipeline that reads that log into the index
    key:      fields of a declared id, which then decides; empty: ids are given or derived
    ack:      `durable` or `indexed`, where the request does not say
    """

    index: str
    uuid: str
    log: str
    pipeline: str
    key: tuple[str, ...] = ()
    ack: str = "durable"


@dataclass(frozen=True, slots=True)
class Named:
    """One index that a search goes to; `filter` is its alias's query."""

    name: str
    reader: Reader
    filter: object = None


class Indices(Protocol):
    """All indexes there are, by name, alias and pattern."""

    def names(self) -> list[str]:
        """Concrete names, sorted."""
        ...

    def get(self, name: str) -> Reader:
        """One concrete index. Raises RequestError 404 `index_not_found_exception`, 503 not ready."""
        ...

    def resolve(
        self, expression: str, *, ignore_unavailable: bool = False, allow_no_indices: bool = True
    ) -> list[Named]:
        """`a,b*,-bc,alias,_all` → the indexes, each once, in the order named. Raises RequestError 404."""
        ...

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        """Where writes to a name go; None where there is no such index yet. Raises RequestError 400."""
        ...

    def feeding(self, index: str) -> list[Target]:
        """All logs whose records go into a concrete index; none for one that has never been pushed to."""
        ...

    async def create(self, name: str) -> Target:
        """Make an index at its first write (`auto_create`). Raises RequestError 400, 404 where forbidden."""
        ...


class Applier(Protocol):
    """The ingester as writes see it, over the local socket (PROTOCOL 19)."""

    async def wait(
        self,
        target: Target,
        record: int,
        *,
        level: str,
        results: Sequence[tuple[int, int]] = (),
        force: bool = False,
        within: float = 30.0,
    ) -> list[Outcome]:
        """Wait until all records below `record` are `applied` or `visible`; the outcomes of `results`.

        `results` are ranges (first, end) of records that were appended as conditional or exact. `force`
        commits at once; `within` is seconds. Raises RequestError 503
        `outcome_unknown` (safe to repeat) where the ingester is
        away or goes away, 504 `timeout_exception`."""
        ...
