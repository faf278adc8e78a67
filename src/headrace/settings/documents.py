"""Configuration text in three formats → one plain tree, with the line of every key.

The tree has only what all three can say: mappings with text keys, lists, text, numbers, booleans, null.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final

from headrace.core.errors import ConfigError, uncapitalized
from headrace.settings.origin import Path_


@dataclass(slots=True)
class Document:
    """A parsed file. `quoted` holds the paths of values that were written in quotes (YAML only)."""

    tree: Any = None
    lines: dict[Path_, int] = field(default_factory=dict)
    quoted: set[Path_] = field(default_factory=set)


class ParseError(ConfigError):
    """The text is not of its format; `line` is where, as far as known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def parse(text: str, style: str) -> Document:
    """The document of a text in `yaml`, `toml` or `json`. Raises ParseError, also for duplicate keys."""
    return PARSERS[style](text)


def parse_yaml(text: str) -> Document:
    from headrace.settings.yaml import compose

    return compose(text)


def parse_json(text: str) -> Document:
    from headrace.settings.yaml import compose

    try:
        tree = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error.msg} in column {error.colno}", error.lineno) from None
    except _DuplicateKeyError as error:
        # The decoder does not know the line, the YAML reader does.
        compose(text.replace("\t", " "))
        raise ParseError(f"duplicate key {error.args[0]!r}") from None
    try:
        # JSON is YAML but for tabs between tokens: read a second time for the lines alone.
        lines = compose(text.replace("\t", " ")).lines
    except ParseError:
        lines = {}
    return Document(tree, lines)


def parse_toml(text: str) -> Document:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        message = str(error)[: found.start()] if found else str(error)
        line = int(found[1] or len(text.splitlines())) if found else None
        raise ParseError(f"not TOML: {uncapitalized(message)}", line) from None
    return Document(_without_times(tree), toml_lines(text))


PARSERS: Final[dict[str, Callable[[str], Document]]] = {
    "yaml": parse_yaml,
    "json": parse_json,
    "toml": parse_toml,
}


class _DuplicateKeyError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _DuplicateKeyError(key)
        made[key] = value
    return made


def _no_constant(name: str) -> Any:
    raise ParseError(f"not JSON: {name} is not a number of JSON")


def _without_times(value: Any) -> Any:
    """TOML's own dates as the text that the other formats have."""
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value


_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED: Final = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_ENTRY: Final = re.compile(rf"\s*({_DOTTED})\s*=(.*)")
_FENCES: Final = ('"""', "'''")


def toml_lines(text: str) -> dict[Path_, int]:
    """Lines of a valid TOML text's tables and keys; what stands inside an inline value has its key's line.

    `tomllib` gives no positions, so this reads line by line, and skips multi-line text.
    """
    lines: dict[Path_, int] = {}
    table: Path_ = ()
    counts: dict[Path_, int] = {}
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if found := _TABLE.match(line):
            table = _indexed(_keys(found[2]), counts, new=found[1] == "[[")
            _note(lines, table, number)
        elif entry := _ENTRY.match(line):
            _note(lines, table + _keys(entry[1]), number)
            fence = next((mark for mark in _FENCES if entry[2].count(mark) % 2), "")
    return lines


def _note(lines: dict[Path_, int], path: Path_, number: int) -> None:
    for depth in range(1, len(path) + 1):
        lines.setdefault(path[:depth], number)


def _keys(text: str) -> Path_:
    return tuple(
        key[1:-1] if key[0] == "'" else json.loads(key) if key[0] == '"' else key
        for key in re.findall(_KEY, text)
    )


def _indexed(path: Path_, counts: dict[Path_, int], *, new: bool) -> Path_:
    """The path with list positions put in where it leads through arrays of tables."""
    made: Path_ = ()
    for depth, part in enumerate(path):
        made = (*made, part)
        if new and depth == len(path) - 1:
            counts[made] = counts.get(made, -1) + 1
        if made in counts:
            made = (*made, counts[made])
    return made
