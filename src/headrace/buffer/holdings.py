"""What the files hold, and for whom: the arithmetic of the bounds. Of the event loop's thread alone.

A log nobody subscribes to holds nothing. Sizes are kept per file and log in strides, not per entry, so
that a long backlog costs little memory; what is said to be held may be too much by one stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

STRIDE_BYTES: Final = 256 << 10
STRIDE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Stride:
    """Neighbouring entries of one log in one file: up to record `end`, the oldest of them from `at`."""

    end: int
    bytes: int
    at: float


class Held(NamedTuple):
    """Of one log: stored bytes that somebody has still to pass, and when the oldest was accepted."""

    bytes: int = 0
    oldest: float | None = None

    def __add__(self, other: tuple[object, ...]) -> Held:
        assert isinstance(other, Held)
        return Held(self.bytes + other.bytes, self.oldest if self.oldest is not None else other.oldest)


@dataclass(slots=True)
class Part:
    """One log's share of one file, records `first` to `end`."""

    first: int
    end: int
    bytes: int = 0
    strides: list[Stride] = field(default_factory=list)

    def add(self, end: int, size: int, at: float) -> None:
        self.end = end
        self.bytes += size
        last = self.strides[-1] if self.strides else None
        if last is None or last.bytes >= STRIDE_BYTES or at - last.at > STRIDE_SECONDS:
            self.strides.append(Stride(end, size, at))
            return
        last.end = end
        last.bytes += size

    def held(self, passed: int) -> Held:
        if passed >= self.end:
            return Held()
        if passed <= self.first:
            return Held(self.bytes, self.strides[0].at if self.strides else None)
        left = [stride for stride in self.strides if stride.end > passed]
        return Held(sum(stride.bytes for stride in left), left[0].at if left else None)


@dataclass(slots=True)
class FileFacts:
    """One file: its size on the disk, and what is in it. `damaged`: kept aside when it is released."""

    path: Path
    first: int
    bytes: int
    parts: dict[str, Part] = field(default_factory=dict)
    damaged: bool = False

    def add(self, log: str, first: int, end: int, size: int, at: float) -> None:
        self.parts.setdefault(log, Part(first, first)).add(end, size, at)

    def passed(self, least: Mapping[str, int]) -> bool:
        return all(least.get(log, part.end) >= part.end for log, part in self.parts.items())


class Holdings:
    """All files, oldest first (the last is the newest), and what each log holds in them."""

    def __init__(self) -> None:
        self.files: list[FileFacts] = []
        self.least: dict[str, int] = {}
        self.subscribed: Mapping[str, Mapping[str, int]] = {}
        self.bytes = 0
        self._older = 0
        self._of: dict[str, Held] = {}

    def recount(self, subscribed: Mapping[str, Mapping[str, int]], least: dict[str, int]) -> None:
        """To be called when positions moved, or files came or went."""
        self.subscribed, self.least = subscribed, least
        self._older = sum(file.bytes for file in self.files[:-1] if not file.passed(least))
        self.bytes = self._older + self._newest_bytes()
        held: dict[str, Held] = {}
        for file in self.files:
            for log, part in file.parts.items():
                if log in least:
                    held[log] = held.get(log, Held()) + part.held(least[log])
        self._of = held

    def again(self) -> None:
        self.recount(self.subscribed, self.least)

    def add(self, log: str, first: int, end: int, size: int, at: float) -> None:
        """An entry in the newest file."""
        self.files[-1].add(log, first, end, size, at)
        if log in self.least:
            self._of[log] = self._of.get(log, Held()) + Held(size, at)

    def grown(self, size: int) -> None:
        """The newest file has now this size."""
        self.files[-1].bytes = size
        self.bytes = self._older + self._newest_bytes()

    def _newest_bytes(self) -> int:
        newest = self.files[-1]
        return 0 if newest.passed(self.least) else newest.bytes

    def of(self, log: str) -> Held:
        return self._of.get(log, Held())

    def logs(self) -> Iterator[str]:
        return iter(self._of)

    def passed(self) -> list[FileFacts]:
        """Files, but for the newest, that nobody needs any more."""
        return [file for file in self.files[:-1] if file.passed(self.least)]

    def holder(self) -> tuple[str, str] | None:
        """Who holds the oldest file: (subscriber, log)."""
        for file in self.files:
            for log, part in file.parts.items():
                if self.least.get(log, part.end) < part.end:
                    return self.slowest(log), log
        return None

    def slowest(self, log: str) -> str:
        """The subscriber that is least far in a log."""
        at = {name: positions[log] for name, positions in self.subscribed.items() if log in positions}
        return min(at, key=lambda name: (at[name], name), default="")
