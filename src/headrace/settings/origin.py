"""Where each setting stands in its file, so that every error can say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from headrace.core.errors import ConfigError

Path_: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file: ("pipelines", "flights", "transform", 0)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The file, and the line (from 1) of each key by its path."""

    name: str = ""
    file: Path | None = None
    lines: Mapping[Path_, int] = field(default_factory=dict)

    def line(self, path: Path_) -> int | None:
        """The line of the key, or of the nearest thing round it that has one."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def locate(self, path: Path_) -> str:
        line = self.line(path)
        return f"{self.name}:{line}" if line else self.name

    def blame(self, error: ConfigError) -> ConfigError:
        """The same error with file, line and path put before its message."""
        if error.where:
            return error
        where = ": ".join(part for part in (self.locate(error.path), dotted(error.path)) if part)
        return ConfigError(error.message, path=error.path, where=where, passing=error.passing)


class SettingsError(ConfigError):
    """All independent problems found in a configuration; one line each."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.message, path=first.path, where=first.where)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def dotted(path: Path_) -> str:
    """`pipelines.flights.transform[0].set`"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
