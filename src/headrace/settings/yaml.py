"""YAML 1.2 → a plain tree, with the line of every key; refuses duplicate keys.

Built from the composed nodes instead of a loader's objects: so scalars follow the core schema exactly, dates
stay text, and lines are those of the keys.
"""

from __future__ import annotations

from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from headrace.settings.documents import Document, ParseError
from headrace.settings.origin import Path_
from headrace.settings.scalars import read_scalar

NODE_LIMIT: Final = 200_000
"""Values after following all aliases: a few lines of aliases can mean billions."""

_STANDARD: Final = "tag:yaml.org,2002:"


def compose(text: str) -> Document:
    """The document. Raises ParseError with the line."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ParseError(
            f"not YAML: {error.problem or error.context}", mark.line + 1 if mark else None
        ) from None
    except YAMLError as error:
        raise ParseError(f"not YAML: {' '.join(str(error).split())}") from None
    builder = _Builder()
    if node is not None:
        builder.document.tree = builder.build(node, ())
    return builder.document


class _Builder:
    def __init__(self) -> None:
        self.document = Document()
        self.nodes = 0
        self.open: set[int] = set()

    def build(self, node: Node, path: Path_) -> Any:
        self.nodes += 1
        if self.nodes > NODE_LIMIT:
            raise ParseError(f"more than {NODE_LIMIT} values after following all aliases", _line(node))
        if isinstance(node, ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            raise ParseError("an alias (*) leads into itself", _line(node))
        self.open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            return self.sequence(node, path)
        finally:
            self.open.discard(id(node))

    def scalar(self, node: ScalarNode, path: Path_) -> Any:
        if node.style:
            self.document.quoted.add(path)
        tag = _tag(node)
        return node.value if tag == "str" or node.style else read_scalar(node.value) if node.value else None

    def sequence(self, node: Node, path: Path_) -> list[Any]:
        _tag(node)
        made = []
        for position, inner in enumerate(node.value):
            self.document.lines.setdefault((*path, position), _line(inner))
            made.append(self.build(inner, (*path, position)))
        return made

    def mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        _tag(node)
        made: dict[str, Any] = {}
        merged: list[Node] = []
        for key, inner in node.value:
            if _tag(key) == "merge":
                merged.extend(inner.value if isinstance(inner, SequenceNode) else [inner])
                continue
            name = _key(key)
            if name in made:
                first = self.document.lines[(*path, name)]
                raise ParseError(f"duplicate key {name!r}, first given in line {first}", _line(key))
            self.document.lines[(*path, name)] = _line(key)
            made[name] = self.build(inner, (*path, name))
        for inner in merged:
            self.merge(inner, made, path)
        return made

    def merge(self, node: Node, made: dict[str, Any], path: Path_) -> None:
        """Take what `<<: *anchor` has and the mapping itself does not."""
        if not isinstance(node, MappingNode):
            raise ParseError("'<<' needs a mapping", _line(node))
        for key, inner in node.value:
            name = _key(key)
            if name not in made:
                self.document.lines[(*path, name)] = _line(key)
                made[name] = self.build(inner, (*path, name))


def _key(node: Node) -> str:
    """A key as the text it was written with: `1:` and `on:` are names here."""
    if not isinstance(node, ScalarNode):
        raise ParseError("a key must be plain text", _line(node))
    return str(node.value)


def _tag(node: Node) -> str:
    tag = str(node.tag)
    if not tag.startswith(_STANDARD):
        raise ParseError(f"unknown tag {tag!r}", _line(node))
    return tag.removeprefix(_STANDARD)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
