"""Compressed bodies, undone a bounded piece at a time: a bomb costs no more memory than an honest body.

Shippers send gzip (Beats, Logstash), zstd, deflate with and without zlib's header, and snappy: most as one
raw block (Vector), which has to be held whole and so has a bound of its own, some framed.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import cramjam

from headrace.core.errors import RequestError

PIECE: Final = 1 << 20
"""Most bytes that come out at once."""

RAW_BLOCK: Final = 32 << 20
"""Largest raw snappy block, undone: it cannot be cut, so this is what one request may hold of it."""

ZSTD_WINDOW_LOG: Final = 23  # 8 MB: what RFC 9659 allows in HTTP
GZIP_BITS, ZLIB_BITS, DEFLATE_BITS = 31, 15, -15
SNAPPY_STREAM: Final = b"\xff\x06\x00\x00sNaPpY"
SNAPPY_FRAME: Final = 65_536
"""Most bytes of one frame, undone, by its specification."""


class Undoing(Protocol):
    """One compressed body. Raises RequestError for what is damaged or ends early."""

    def push(self, data: bytes) -> Iterator[bytes]:
        """What comes out of more input, in pieces."""
        ...

    def end(self) -> Iterator[bytes]:
        """What was held back until the end of the input."""
        ...


def undoing(header: str) -> Undoing | None:
    """For a `Content-Encoding`; None where there is nothing to undo. Raises RequestError 415."""
    names = [name for part in header.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    if len(names) == 1 and names[0] in KNOWN:
        return KNOWN[names[0]]()
    have = ", ".join(sorted({*KNOWN, "identity"}))
    what = "more than one encoding" if len(names) > 1 else f"unknown encoding [{names[0]}]"
    raise RequestError(
        415, "media_type_header_exception", f"Content-Encoding [{header}]: {what}; send one of: {have}"
    )


def damaged(kind: str, why: object) -> RequestError:
    return RequestError(
        400, "compression_exception", f"the {kind} body cannot be decompressed: {why}; nothing was accepted"
    )


class Zlib:
    """gzip with all its members, or one deflate stream, which some wrap in zlib's header and some do not."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._head = b""
        self._inner: Any = None

    def push(self, data: bytes) -> Iterator[bytes]:
        data = self._head + data
        self._head = b""
        while data:
            if self._inner is None and not (data := self._begin(data)):
                return
            try:
                piece = self._inner.decompress(data, PIECE)
            except zlib.error as error:
                raise damaged(self._kind, error) from None
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._next_member()
            if piece:
                yield piece

    def end(self) -> Iterator[bytes]:
        if self._head or (self._inner is not None and not self._inner.eof):
            # What `decompress` holds back when its output was cut is less than a piece.
            rest = b"" if self._inner is None else self._inner.flush()
            if self._head or not self._inner.eof:
                raise damaged(self._kind, "it ends early")
            yield rest

    def _begin(self, data: bytes) -> bytes:
        """Start a member; what of the input it is then given."""
        if self._kind == "gzip":
            self._inner = zlib.decompressobj(GZIP_BITS)
            return data
        if len(data) < 2:
            self._head = data
            return b""
        wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
        self._inner = zlib.decompressobj(ZLIB_BITS if wrapped else DEFLATE_BITS)
        return data

    def _next_member(self) -> bytes:
        """What follows a finished member: another one, only of gzip."""
        rest: bytes = self._inner.unused_data
        if self._kind == "gzip":
            if rest:
                self._inner = None
            return rest
        if rest:
            raise damaged(self._kind, f"{len(rest)} bytes follow its end")
        return b""


class Zstd:
    """All frames of a zstd body."""

    def __init__(self) -> None:
        self._inner: Any = None

    def push(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._inner is None:
                if not data:
                    return
                self._inner = _zstd()
            try:
                piece = self._inner.decompress(data, PIECE)
            except Exception as error:  # noqa: BLE001  the library's own error is one of two modules'
                raise damaged("zstd", error) from None
            data = b""
            if piece:
                yield piece
            if self._inner.eof:
                data = self._inner.unused_data
                self._inner = None
            elif self._inner.needs_input:
                return

    def end(self) -> Iterator[bytes]:
        if self._inner is not None:
            raise damaged("zstd", "it ends early")
        return iter(())


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        from backports import zstd
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


class Snappy:
    """A raw block, undone at its end, or frames, each as it is whole; the first bytes tell."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._framed: bool | None = None

    def push(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        if self._framed is None and len(self._held) >= len(SNAPPY_STREAM):
            self._framed = self._held.startswith(SNAPPY_STREAM)
        if self._framed:
            yield from self._frames()
        elif self._framed is False:
            self._check_block()

    def end(self) -> Iterator[bytes]:
        if self._framed:
            if self._held:
                raise damaged("snappy", "it ends within a frame")
            return
        if self._held:
            yield self._block()

    def _check_block(self) -> int:
        """How long the block is, undone. Raises RequestError where it, or what came of it, is too long."""
        try:
            length: int = cramjam.snappy.decompress_raw_len(bytes(self._held[:8]))
        except cramjam.DecompressionError as error:
            raise damaged("snappy", error) from None
        if max(length, len(self._held) * 6 // 7) > RAW_BLOCK:
            reason = f"a raw snappy block of {length} bytes, at most {RAW_BLOCK}; send it framed, or as zstd"
            raise RequestError(413, "content_too_long_exception", reason)
        return length

    def _block(self) -> bytes:
        output = bytearray(self._check_block())
        try:
            written = cramjam.snappy.decompress_raw_into(bytes(self._held), output)
        except Exception as error:  # noqa: BLE001  a panic of the library's is no other kind of damage
            raise damaged("snappy", error) from None
        if written != len(output):
            raise damaged("snappy", "it ends early")
        self._held.clear()
        return bytes(output)

    def _frames(self) -> Iterator[bytes]:
        start = 0
        while len(self._held) - start >= 4:
            kind, size = self._held[start], int.from_bytes(self._held[start + 1 : start + 4], "little")
            if 0x02 <= kind <= 0x7F:
                raise damaged("snappy", f"unknown frame type {kind}")
            if kind in (0x00, 0x01) and size > SNAPPY_FRAME * 7 // 6 + 64:
                raise damaged("snappy", f"a frame of {size} bytes")
            if len(self._held) - start < 4 + size:
                break
            frame = bytes(self._held[start : start + 4 + size])
            start += 4 + size
            if kind in (0x00, 0x01):
                yield self._frame(frame)
        del self._held[:start]

    @staticmethod
    def _frame(frame: bytes) -> bytes:
        """One frame, its checksum compared."""
        output = bytearray(SNAPPY_FRAME)
        try:
            written = cramjam.snappy.decompress_into(SNAPPY_STREAM + frame, output)
        except Exception as error:  # noqa: BLE001  as above
            raise damaged("snappy", error) from None
        return bytes(output[:written])


KNOWN: Final[dict[str, Callable[[], Undoing]]] = {
    "gzip": functools.partial(Zlib, "gzip"),
    "x-gzip": functools.partial(Zlib, "gzip"),
    "deflate": functools.partial(Zlib, "deflate"),
    "zlib": functools.partial(Zlib, "deflate"),
    "zstd": Zstd,
    "snappy": Snappy,
    "x-snappy-framed": Snappy,
}
