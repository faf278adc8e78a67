"""Cutting a stream at line ends; a quoted field of CSV may hold line ends of its own."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from headrace.ingest.formats.base import Taken, count_lines

NOTHING = Taken(0, b"", 0)


class LineSplitter:
    """Records end at a newline."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def take(self, buffer: bytes, *, final: bool, limit: int) -> Taken:
        end = len(buffer) if final else buffer.rfind(b"\n") + 1
        end = first_long_line(buffer, end, limit)
        payload = buffer[:end]
        return Taken(end, payload, count_lines(payload)) if end else NOTHING

    def skip(self, buffer: bytes) -> int:
        return buffer.find(b"\n") + 1 or -1


def first_long_line(buffer: bytes, end: int, limit: int) -> int:
    """Where the first line of more than `limit` bytes starts, else `end`."""
    start = 0
    while end - start > limit + 1:
        newline = buffer.rfind(b"\n", start, start + limit + 1)
        if newline < 0:
            return start
        start = newline + 1
    last = end - start - buffer.endswith(b"\n", start, end)
    return start if last > limit else end


class Quoting(NamedTuple):
    """Patterns of quoted fields. A quote opens a field only at its start, as in RFC 4180; else it is text.

    field:   a quoted field, from opening to closing quote; group 1 is empty where it is not closed
    regular: a closed one, if nothing stands between the closing quote and the field's end
    """

    field: re.Pattern[bytes]
    regular: re.Pattern[bytes]


@cache
def quoting(delimiter: str, quote: str) -> Quoting:
    q, d = re.escape(quote.encode()), re.escape(delimiter.encode())
    # The quote comes first, so that the engine jumps from quote to quote and only then looks behind.
    start = q + rb"(?:(?<=[" + d + rb"\n]" + q + rb")|(?<=\A" + q + rb"))"
    body = start + rb"(?:[^" + q + rb"]++|" + q + q + rb")*+"
    return Quoting(
        re.compile(body + rb"(" + q + rb"?)"), re.compile(body + q + rb"(?=" + d + rb"|\r?\n|\r?\Z)")
    )


class CsvSplitter:
    """Records end at a newline outside of quotes; numbers count records, blank ones included."""

    def __init__(self, delimiter: str, quote: str) -> None:
        self.state: dict[str, Any] = {}
        self._quote = quote.encode()
        self._quoting = quoting(delimiter, quote) if quote else None
        self._lines = LineSplitter()

    def take(self, buffer: bytes, *, final: bool, limit: int) -> Taken:
        if self._quoting is None or self._quote not in buffer:
            return self._lines.take(buffer, final=final, limit=limit)
        if len(buffer) <= limit and (quick := self._regular(buffer, self._quoting)):
            return quick
        ends = record_ends(buffer, self._quoting, final=final)
        start = used = 0
        for end in ends:
            if end - start > limit + 1:
                break
            start, used = end, used + 1
        return Taken(start, buffer[:start], used) if used else NOTHING

    def _regular(self, buffer: bytes, quoting: Quoting) -> Taken | None:
        """Up to the last newline, where all quotes before it are in pairs round whole fields."""
        payload = buffer[: buffer.rfind(b"\n") + 1]
        bare = quoting.regular.sub(b"", payload)
        if not payload or self._quote in bare:
            return None
        return Taken(len(payload), payload, bare.count(b"\n"))

    def skip(self, buffer: bytes) -> int:
        """To the next newline, quoted or not: beyond an unclosed quote this is the best place to go on."""
        return self._lines.skip(buffer)


def record_ends(buffer: bytes, quoting: Quoting, *, final: bool) -> list[int]:
    """Where each whole record ends (after its newline)."""
    ends: list[int] = []
    at = 0
    size = len(buffer)
    for match in quoting.field.finditer(buffer):
        _newlines(buffer, at, match.start(), ends)
        at = match.end()
        if match.end() == size and not final:
            return ends  # not closed, or the closing quote may be the first of an escaped pair
    _newlines(buffer, at, size, ends)
    if final and (not ends or ends[-1] != size):
        ends.append(size)
    return ends


def _newlines(buffer: bytes, start: int, stop: int, ends: list[int]) -> None:
    at = buffer.find(b"\n", start, stop)
    while at >= 0:
        ends.append(at + 1)
        at = buffer.find(b"\n", at + 1, stop)
