"""The columns of the `_cat` tables, each with the shorter names that Elasticsearch gives it.

A word is a column, `name:alias,alias`; one that begins with `-` is shown only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.core.glob import matches
from headrace.serve import requests


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    aliases: tuple[str, ...] = ()
    shown: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return self.name, *self.aliases


Columns = tuple[Column, ...]


def _columns(words: str) -> Columns:
    found = []
    for word in words.split():
        name, _, aliases = word.removeprefix("-").partition(":")
        found.append(Column(name, tuple(aliases.split(",")) if aliases else (), not word.startswith("-")))
    return tuple(found)


_MOMENT: Final = "epoch:t,time timestamp:ts,hms,hhmmss"

ALIASES: Final = _columns(
    "alias:a index:i,idx filter:f,fi routing.index:ri,routingIndex routing.search:rs,routingSearch "
    "is_write_index:w,isWriteIndex"
)
ALLOCATION: Final = _columns(
    "shards:s disk.indices:di,diskIndices disk.used:du,diskUsed disk.avail:da,diskAvail "
    "disk.total:dt,diskTotal disk.percent:dp,diskPercent node:n"
)
COUNT: Final = _columns(f"{_MOMENT} count:dc,docs.count,docsCount")
HEALTH: Final = _columns(
    f"{_MOMENT} cluster:cl status:st node.total:nt,nodeTotal node.data:nd,nodeData "
    "shards:t,sh,shards.total,shardsTotal pri:p,shards.primary,shardsPrimary "
    "relo:r,shards.relocating,shardsRelocating init:i,shards.initializing,shardsInitializing "
    "unassign:u,shards.unassigned,shardsUnassigned pending_tasks:pt,pendingTasks "
    "max_task_wait_time:mtwt,maxTaskWaitTime active_shards_percent:asp,activeShardsPercent"
)
INDICES: Final = _columns(
    "health:h status:s index:i,idx uuid:id pri:p,shards.primary,shardsPrimary "
    "rep:r,shards.replica,shardsReplica docs.count:dc,docsCount docs.deleted:dd,docsDeleted "
    "store.size:ss,storeSize pri.store.size -dataset.size -creation.date:cd -creation.date.string:cds"
)
MASTER: Final = _columns("id host:h ip node:n")
NODES: Final = _columns(
    "ip:i load_1m:l load_5m:l load_15m:l node.role:r,role,nodeRole master:m name:n version:v -id:nodeId"
)
PENDING_TASKS: Final = _columns("insertOrder:o timeInQueue:t priority:p source:s")
PLUGINS: Final = _columns("name:n component:c version:v description:d")
SEGMENTS: Final = _columns(
    "index:i,idx shard:s,sh prirep:p,pr,primaryOrReplica segments docs.count:dc,docsCount"
)
SHARDS: Final = _columns(
    "index:i,idx shard:s,sh prirep:p,pr,primaryOrReplica state:st docs:d,dc store:sto ip node:n"
)
TASKS: Final = _columns(
    "action:ac task_id:ti parent_task_id:pti type:ty start_time:start timestamp:ts,hms,hhmmss "
    "running_time:time ip:i node:n"
)
TEMPLATES: Final = _columns("name:n index_patterns:t order:o,p version:v composed_of:c")
THREAD_POOL: Final = _columns("node_name:nn name:n active:a queue:q rejected:r")


def chosen(known: Columns, asked: Sequence[str]) -> list[tuple[str, str]]:
    """Column and heading of each that is asked for, of all without; an unknown one is left out."""
    if not asked:
        return [(column.name, column.name) for column in known if column.shown]
    found: dict[str, str] = {}
    for name in asked:
        if "*" in name:
            matching = (column for column in known if any(matches(name, each) for each in column.names))
            found |= {column.name: column.name for column in matching}
        elif (column := _named(known, name)) is not None:
            found[name] = column.name
    return [(name, heading) for heading, name in found.items()]


def sort_column(known: Columns, name: str) -> str:
    """The column that a sort key names. Raises RequestError."""
    column = _named(known, name)
    if column is None:
        have = ", ".join(each.name for each in known)
        requests.fail(f"Unable to sort by unknown sort key `{name}` (have: {have})")
    return column.name


def _named(known: Columns, name: str) -> Column | None:
    """By its own name, or by a shorter one: of several with that, the last, as in Elasticsearch."""
    own = [column for column in known if column.name == name]
    found = own or [column for column in known if name in column.aliases]
    return found[-1] if found else None
