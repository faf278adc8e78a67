"""Bringing a stream of a file's bytes to an offset, its first and last bytes before it known."""

from __future__ import annotations

from headrace.ingest.files.compression import CHUNK, ByteStream, PlainStream
from headrace.ingest.files.mark import HEAD, TAIL, Mark, Trail


def wind(stream: ByteStream, mark: Mark) -> Trail | None:
    """Bring a fresh stream to the mark's offset; None if it is not the same file. Raises Damaged."""
    trail = wind_to(stream, mark.offset)
    return trail if trail is not None and trail.matches(mark) else None


def wind_to(stream: ByteStream, offset: int) -> Trail | None:
    """Bring a stream to an offset, a plain file from anywhere; None where it ends before. Raises Damaged."""
    trail = Trail()
    if isinstance(stream, PlainStream) and stream.file.seekable():
        stream.file.seek(0)
        trail.head = stream.file.read(min(HEAD, offset))
        start = stream.file.seek(max(0, offset - TAIL))
        trail.tail = exactly(stream, offset - start)
        trail.offset = start + len(trail.tail)
        return trail if trail.offset == offset else None
    while trail.offset < offset:
        piece = stream.read(min(CHUNK, offset - trail.offset))
        if not piece:
            return None
        trail.advance(piece)
    return trail


def exactly(stream: ByteStream, size: int) -> bytes:
    """So many bytes, fewer only at the stream's end."""
    pieces: list[bytes] = []
    while size > 0:
        piece = stream.read(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
