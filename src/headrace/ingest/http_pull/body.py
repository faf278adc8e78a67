"""Bodies → records as bytes; one that is not well formed costs itself, never the page.

The strict way is msgspec's: only boundaries are looked for, at about the speed of memory. Where it finds a
body not well formed, brackets and quotes are counted instead, so that the decoder can reject single records.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from headrace.ingest.formats.base import BOM, Damaged
from headrace.ingest.formats.json import JsonSplitter
from headrace.model import Json

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)


class Truncated(Exception):
    """The body ends in the middle."""


class Malformed(Exception):
    """The body is complete, and not what it should be; says what it is instead."""


def steps(path: str) -> tuple[str, ...]:
    """`data.items` or the JSON pointer `/data/items` (RFC 6901) as keys."""
    if path.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    return tuple(path.split(".")) if path else ()


class Document:
    """A JSON body of which only some places are looked at. Raises Truncated, Malformed."""

    def __init__(self, body: bytes) -> None:
        self._body = body.removeprefix(BOM)
        self._strict = True
        try:
            msgspec.json.decode(self._body, type=msgspec.Raw)
        except msgspec.DecodeError as error:
            if "truncated" in str(error):
                raise Truncated from None
            if "trailing" in str(error):
                raise Malformed("more text after the end of the JSON document") from None
            if self._body.lstrip()[:1] not in (b"{", b"["):
                raise Malformed("no JSON") from None
            self._strict = False

    def records(self, path: tuple[str, ...], *, single: bool) -> list[bytes]:
        """The elements of the list at `path`, each on one line; none where there is null."""
        found = self.at(path)
        where = f"`{'.'.join(path)}`" if path else "the body"
        if found is None:
            keys = ", ".join(self._keys(path)) or "nothing"
            raise Malformed(f"nothing at `records: {'.'.join(path)}`; there is: {keys}")
        found = found.strip()
        if single:
            return [_one_line(found)]
        if found == b"null":
            return []
        if found[:1] == b"{":
            keys = ", ".join(_members(found))
            raise Malformed(
                f"{where} is an object, not a list of records (its keys: {keys}): name the list in "
                "`records`, or say `one_record: true`"
            )
        if found[:1] != b"[":
            raise Malformed(f"{where} is no list of records")
        return self._elements(found)

    def value(self, path: tuple[str, ...]) -> Json:
        """The value at `path`; None where there is none."""
        found = self.at(path)
        if found is None:
            return None
        try:
            value: Json = msgspec.json.decode(found)
        except msgspec.DecodeError as error:
            raise Malformed(f"`{'.'.join(path)}` is not JSON: {error}") from None
        return value

    def at(self, path: tuple[str, ...]) -> bytes | None:
        """The text of the value at `path`."""
        found = self._body
        for key in path:
            inner = self._inside(found, key)
            if inner is None:
                return None
            found = inner
        return found

    def _inside(self, text: bytes, key: str) -> bytes | None:
        first = text.lstrip()[:1]
        if first == b"[":
            elements = self._elements(text)
            return elements[int(key)] if key.isdecimal() and int(key) < len(elements) else None
        if first != b"{":
            return None
        if not self._strict:
            return _members(text).get(key)
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get(key)
        return None if found is None else bytes(found)

    def _elements(self, text: bytes) -> list[bytes]:
        if self._strict:
            return [_one_line(bytes(raw)) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
        try:
            taken = JsonSplitter().take(text.strip(), final=True, limit=len(text))
        except Damaged:
            raise Truncated from None
        if taken.consumed < len(text.strip()):
            raise Truncated
        return taken.payload.split(b"\n")[:-1]

    def _keys(self, path: tuple[str, ...]) -> list[str]:
        """The keys beside the first step that leads nowhere."""
        for depth in range(len(path)):
            parent = self.at(path[:depth])
            if parent is not None and self.at(path[: depth + 1]) is None:
                return list(_members(parent)) if parent.lstrip()[:1] == b"{" else []
        return []


def high_values(records: list[bytes], path: tuple[str, ...]) -> list[Any]:
    """The values at `path`, of the records that have one and are well formed."""
    model: Any = msgspec.UnsetType | Any
    for number, key in enumerate(reversed(path)):
        model = msgspec.defstruct(f"Inside{number}", [("inner", model, msgspec.UNSET)], rename={"inner": key})
    decoder = msgspec.json.Decoder(model)
    values = []
    for record in records:
        try:
            value = decoder.decode(record)
        except msgspec.DecodeError:
            continue
        for _ in path:
            value = getattr(value, "inner", msgspec.UNSET)
        if value is not msgspec.UNSET and value is not None:
            values.append(value)
    return values


def _one_line(element: bytes) -> bytes:
    """Line ends can only stand between tokens: inside a text they would be escaped."""
    return (
        element.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in element or b"\r" in element else element
    )


def _members(text: bytes) -> dict[str, bytes]:
    """Keys and values of an object by brackets and quotes alone. Raises Truncated."""
    found: dict[str, bytes] = {}
    depth, key, start = 0, b"", -1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if depth == 1 and token in (b",", b"}") and start >= 0:
            found[_name(key)] = text[start : match.start()].strip()
            start = -1
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return found
        elif depth == 1 and token == b":" and start < 0:
            start = match.end()
        elif depth == 1 and start < 0 and token != b",":
            key = token
    raise Truncated


def _name(key: bytes) -> str:
    try:
        name: str = msgspec.json.decode(key, type=str)
    except msgspec.DecodeError:
        return key.decode("utf-8", "replace")
    return name
