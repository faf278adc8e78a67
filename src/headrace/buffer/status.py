"""What the buffer says of itself, for `GET /api`: what it holds, for whom, and what was lost."""

from __future__ import annotations

import msgspec

from headrace.buffer.holdings import Holdings
from headrace.buffer.opening import Missing


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """accepted: the number after its last record; held_bytes and oldest_seconds: of what somebody has
    still to pass (None: nothing); positions: per subscriber, the number it has passed."""

    accepted: int
    held_bytes: int
    oldest_seconds: float | None
    positions: dict[str, int]


class Holder(msgspec.Struct, frozen=True):
    """Who keeps the oldest file from being released."""

    subscriber: str
    log: str
    file: str


class BufferStatus(msgspec.Struct, frozen=True, kw_only=True):
    """held_bytes: of files somebody needs; bytes: of all files; quarantined: files put aside as damaged;
    damaged: files still read as far as they can be; missing: records that were lost."""

    incarnation: str
    held_bytes: int
    bytes: int
    files: int
    logs: dict[str, LogStatus]
    holder: Holder | None
    quarantined: list[str]
    damaged: list[str]
    missing: list[Missing]
    problem: str = ""


def logs_of(holdings: Holdings, reached: dict[str, int], now: float) -> dict[str, LogStatus]:
    positions: dict[str, dict[str, int]] = {}
    for subscriber, at in holdings.subscribed.items():
        for log, record in at.items():
            positions.setdefault(log, {})[subscriber] = record
    return {
        log: _log(holdings, log, reached, positions, now) for log in sorted({*reached, *positions} - {""})
    }


def holder_of(holdings: Holdings) -> Holder | None:
    found = holdings.holder()
    if found is None:
        return None
    file = next(file for file in holdings.files if not file.passed(holdings.least))
    return Holder(*found, file.path.name)


def _log(
    holdings: Holdings, log: str, reached: dict[str, int], positions: dict[str, dict[str, int]], now: float
) -> LogStatus:
    held = holdings.of(log)
    return LogStatus(
        accepted=reached.get(log, reached.get("", 0)),
        held_bytes=held.bytes,
        oldest_seconds=None if held.oldest is None else max(0.0, now - held.oldest),
        positions=positions.get(log, {}),
    )
