"""What a configuration may come to hold in memory, at worst: the sum of everything that has a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from headrace.core.errors import ConfigError
from headrace.index.base import Index, Settling
from headrace.pipeline import capacities
from headrace.settings import Settings
from headrace.units import human

PROGRAM_BYTES: Final = 120 << 20
"""The interpreter and its libraries, before any record (measured: 75 to 110 MB)."""


class Part(msgspec.Struct, frozen=True):
    """Something that is bounded, and its bound."""

    what: str
    bytes: int


def memory_parts(settings: Settings, indexes: Mapping[str, Index], tables: int) -> list[Part]:
    """Everything that holds bytes, with its bound."""
    waiting = sum(config.channel_bytes + 2 * config.batch_bytes for config in settings.pipelines.values())
    for name in indexes:
        feeding = [config for config in settings.pipelines.values() if config.index == name]
        waiting += max((config.channel_bytes + config.batch_bytes for config in feeding), default=0)
    in_flight = min(settings.memory.in_flight, waiting)
    writers = [Part(f"writer of index {name}", index.worst_case_bytes) for name, index in indexes.items()]
    if any(isinstance(index, Settling) and index.may_be_live for index in indexes.values()):
        writers.append(Part("files of live indexes, on a tmpfs", int(settings.memory.live)))
    return [
        Part("interpreter and libraries", PROGRAM_BYTES),
        Part(f"records in flight ({human(in_flight)} read, times {capacities.FRAME_FACTOR})",
                   in_flight * capacities.FRAME_FACTOR),
        *writers,
        *([Part("lookup tables and caches", tables)] if tables else []),
    ]  # fmt: skip


def worst_case(parts: Sequence[Part]) -> int:
    return sum(int(part.bytes) for part in parts)


def too_much(settings: Settings, parts: Sequence[Part]) -> ConfigError:
    """What is said where the parts add up to more than the limit."""
    sums = " + ".join(f"{human(part.bytes)} {part.what}" for part in parts)
    message = (
        f"the worst case of {human(worst_case(parts))} is more than the limit of "
        f"{human(settings.memory.limit)}: {sums}; "
        "raise the limit, or lower memory.in_flight, memory.live or the memory of an index"
    )
    return settings.origin.blame(ConfigError(message, path=("memory", "limit")))


def check_memory(settings: Settings, indexes: Mapping[str, Index]) -> None:
    """Raises ConfigError as `headrace check` does; what lookups hold is not known before they are read."""
    parts = memory_parts(settings, indexes, 0)
    if worst_case(parts) > settings.memory.limit:
        raise too_much(settings, parts)
