"""Which format a file has: by its first bytes, and only where these leave it open by its name."""

from __future__ import annotations

import msgspec

from headrace.ingest.formats.base import BOM

_BY_NAME = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".psv": "csv",
    ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json",
    ".txt": "lines", ".log": "lines",
}  # fmt: skip
_LONGEST_SCHEMA = 1 << 28
_COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz", ".zip")
_DELIMITERS = b",\t;|"


def sniff(head: bytes, name: str) -> str:
    """The format of a file called `name` that starts with `head` (decompressed)."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1") or is_arrow_stream(head):
        return "arrow"
    text = head.removeprefix(BOM).lstrip()
    if text.startswith(b"["):
        return "json" if text[1:].lstrip()[:1] in (b"{", b"]", b"") else _by_name(name) or "lines"
    if text.startswith(b"{"):
        return "ndjson" if _first_line_is_json(text) else "json"
    return _by_name(name) or ("csv" if _looks_delimited(text) else "lines")


def is_arrow_stream(head: bytes) -> bool:
    """Whether these first bytes are a marker that no text begins with, and a length of a first message."""
    length = int.from_bytes(head[4:8], "little")
    return head.startswith(b"\xff\xff\xff\xff") and 0 < length < _LONGEST_SCHEMA and length % 8 == 0


def _first_line_is_json(text: bytes) -> bool:
    """An object on one line, or a broken one followed by another object."""
    line, newline, rest = text.partition(b"\n")
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return bool(newline) and rest.lstrip(b" \t").startswith(b"{")
    return True


def _by_name(name: str) -> str | None:
    lower = name.lower()
    for ending in _COMPRESSIONS:
        lower = lower.removesuffix(ending)
    return next((kind for ending, kind in _BY_NAME.items() if lower.endswith(ending)), None)


def _looks_delimited(text: bytes) -> bool:
    lines = [line for line in text.split(b"\n", 20)[:20] if line.strip()]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut off
    return any(
        len({line.count(delimiter) for line in lines}) == 1 and lines[0].count(delimiter) > 0
        for delimiter in (_DELIMITERS[i : i + 1] for i in range(len(_DELIMITERS)))
        if len(lines) > 1
    )
