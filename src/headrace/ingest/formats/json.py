"""JSON documents one after another or in one array, of any layout; each becomes a line of NDJSON.

The array may be far larger than memory: only element boundaries are looked for, with the standard
library's C scanner, and by a slower token scan where an element is malformed or not yet whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

from headrace.ingest.formats.base import BOM, Damaged, Taken

_scan = json.JSONDecoder(strict=False).raw_decode
_SPACE = re.compile(rb"[\s,]*")
_BLANK = re.compile(rb"\s*")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
_SCALAR_END = re.compile(rb"[\s,\]]")
_PIECE = re.compile(rb'\\.|["\[\]{},]|\\\Z', re.DOTALL)


class JsonSplitter:
    """Numbers count elements. Its state: `array` once known, `closed` after the array's end."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = dict(state or {})
        self._skipper: _Skipper | None = None

    def take(self, buffer: bytes, *, final: bool, limit: int) -> Taken:
        at = self._start(buffer)
        text = buffer.decode("latin-1")  # one character per byte: positions stay positions
        elements: list[bytes] = []
        while True:
            at = self._gap(buffer, at)
            if at >= len(buffer) or self.state.get("closed"):
                break
            end = self._element(buffer, text, at, final=final)
            if end < 0 or end - at > limit:
                break
            elements.append(_one_line(buffer[at:end]))
            at = end
        if not elements:  # what is good comes first, the complaint with the next call
            self._check_end(buffer, at, final=final, limit=limit)
        payload = b"\n".join([*elements, b""]) if elements else b""
        return Taken(at, payload, len(elements))

    def skip(self, buffer: bytes) -> int:
        skipper = self._skipper = self._skipper or _Skipper()
        end = skipper.feed(buffer)
        if end >= 0:
            self._skipper = None
        return end

    def _start(self, buffer: bytes) -> int:
        if "array" in self.state:
            return 0
        at = _end(_BLANK, buffer, len(BOM) if buffer.startswith(BOM) else 0)
        if at < len(buffer):
            self.state["array"] = buffer[at : at + 1] == b"["
            at += self.state["array"]
        return at

    def _gap(self, buffer: bytes, at: int) -> int:
        at = _end(_BLANK if self.state.get("closed") else _SPACE, buffer, at)
        if self.state.get("array") and not self.state.get("closed") and buffer[at : at + 1] == b"]":
            self.state["closed"] = True
            at = _end(_BLANK, buffer, at + 1)
        return at

    def _element(self, buffer: bytes, text: str, at: int, *, final: bool) -> int:
        """Where the element at `at` ends, -1 if it is not whole yet."""
        if buffer[at : at + 1] not in (b"{", b"[", b'"'):
            scalar = _SCALAR_END.search(buffer, at + 1)
            return scalar.start() if scalar else len(buffer) if final else -1
        try:
            return _scan(text, at)[1]
        except (json.JSONDecodeError, RecursionError):
            return _token_end(buffer, at)

    def _check_end(self, buffer: bytes, at: int, *, final: bool, limit: int) -> None:
        rest = len(buffer) - at
        if self.state.get("closed") and rest:
            raise Damaged("has more text after the end of its JSON array")
        if not final or rest > limit:
            return
        if rest or (self.state.get("array") and not self.state.get("closed")):
            kind = "JSON array" if self.state.get("array") else "JSON document"
            raise Damaged(f"ends in the middle of a {kind}")


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    match = pattern.match(buffer, at)
    return match.end() if match else at


def _one_line(element: bytes) -> bytes:
    return element.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in element else element


def _token_end(buffer: bytes, at: int) -> int:
    depth = 0
    for match in _TOKEN.finditer(buffer, at):
        token = buffer[match.start()]
        if token == 34 and match.end() - match.start() == 1:
            return -1  # a string that is not closed yet
        depth += (token in b"{[") - (token in b"}]")
        if depth == 0:
            return match.end()
    return -1


class _Skipper:
    """Finds the end of an element that is too large to hold, piece by piece."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._begun = False

    def feed(self, piece: bytes) -> int:
        start = int(self._escaped and bool(piece))
        self._escaped = False
        for match in _PIECE.finditer(piece, start):
            if (end := self._token(match)) >= 0:
                return end
        return -1

    def _token(self, match: re.Match[bytes]) -> int:
        token = match.group()
        if token[:1] == b"\\":
            self._escaped = self._quoted and len(token) == 1
        elif token == b'"':
            self._quoted = not self._quoted
            self._begun = True
        elif not self._quoted:
            return self._bracket(token, match)
        return -1

    def _bracket(self, token: bytes, match: re.Match[bytes]) -> int:
        if token == b",":
            return match.start() if self._depth == 0 and self._begun else -1
        self._begun = True
        if token in (b"{", b"["):
            self._depth += 1
            return -1
        self._depth -= 1
        if self._depth < 0:
            return match.start()
        return match.end() if self._depth == 0 else -1
