"""Decompression by content, a bounded piece at a time: neither a bomb nor a huge file is ever held whole."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final, Protocol

from headrace.ingest.formats.base import Damaged

CHUNK: Final = 256 << 10
"""Bytes read from a file, and decompressed, at once: large enough that calls cost nothing."""

MAGIC: Final[dict[str, bytes]] = {
    "gzip": b"\x1f\x8b",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "zip": b"PK\x03\x04",
}
EMPTY_ZIP: Final = b"PK\x05\x06"
XZ_MEMORY: Final = 256 << 20
ZSTD_WINDOW_LOG: Final = 27  # 128 MB, what the command line tool accepts without being asked


def detect(head: bytes) -> str | None:
    """The compression of a file that starts with `head`, by its magic bytes; None if there is none."""
    if head.startswith(EMPTY_ZIP):
        return "zip"
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), None)


class Inflater(Protocol):
    """One member of a compressed stream. `hungry`: it gives nothing more without more input."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def hungry(self) -> bool: ...

    def push(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes from what is buffered and `data`."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    eof = property(lambda self: self._inner.eof)
    unused_data = property(lambda self: self._inner.unused_data)

    hungry = property(lambda self: not self._inner.unconsumed_tail)

    def push(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)


class _Native:
    """bz2, lzma and zstd share one interface: they keep what they could not decompress yet."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    eof = property(lambda self: self._inner.eof)
    unused_data = property(lambda self: self._inner.unused_data)

    hungry = property(lambda self: self._inner.needs_input)

    def push(self, data: bytes, most: int) -> bytes:
        piece: bytes = self._inner.decompress(data, most)
        return piece


def _inflater(kind: str) -> Inflater:
    if kind == "gzip":
        return _Gzip()
    if kind == "bz2":
        return _Native(bz2.BZ2Decompressor())
    if kind == "xz":
        return _Native(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY))
    return _Native(_zstd())


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        from backports import zstd
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


class ByteStream(Protocol):
    """Decompressed bytes in order. `read` gives at most `size` bytes, none at the end; raises Damaged."""

    def read(self, size: int) -> bytes: ...

    def remaining(self) -> int:
        """Bytes of the file (compressed ones) not yet read."""
        ...

    def close(self) -> None: ...


class PlainStream:
    """A file as it is; more may be appended, then `read` gives more after its end."""

    def __init__(self, file: IO[bytes], size: int = 0) -> None:
        self.file = file
        self._size = size

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def remaining(self) -> int:
        return max(0, self._size - self.file.tell()) if self.file.seekable() else 0

    def close(self) -> None:
        self.file.close()


class CompressedStream:
    """All members of a compressed file, one after another."""

    def __init__(self, file: IO[bytes], kind: str, size: int) -> None:
        self._file = file
        self._kind = kind
        self._size = size
        self._inflater: Inflater | None = None
        self._spare = b""
        self._given = 0

    def read(self, size: int) -> bytes:
        while True:
            fresh = self._spare or self._next()
            self._spare = b""
            if self._inflater is None:
                fresh = fresh.lstrip(b"\x00") if self._given else fresh  # padding between members
                if not fresh:
                    return b""
            inflater = self._inflater = self._inflater or self._begin(fresh)
            piece = self._push(inflater, fresh, size)
            if inflater.eof:
                self._spare = inflater.unused_data
                self._inflater = None
            elif not piece and not fresh:
                raise Damaged(f"{self._kind} stream ends early after {self._given:,} decompressed bytes")
            if piece:
                self._given += len(piece)
                return piece

    def remaining(self) -> int:
        return max(0, self._size - self._file.tell())

    def close(self) -> None:
        self._file.close()

    def _next(self) -> bytes:
        """More compressed bytes, but none while the inflater still holds some."""
        hungry = self._inflater is None or self._inflater.hungry
        return self._file.read(CHUNK) if hungry else b""

    def _begin(self, fresh: bytes) -> Inflater:
        if self._given and not fresh.startswith(MAGIC[self._kind][: len(fresh)]):
            raise Damaged(f"has bytes that are not {self._kind} after {self._given:,} decompressed bytes")
        return _inflater(self._kind)

    def _push(self, inflater: Inflater, fresh: bytes, size: int) -> bytes:
        try:
            return inflater.push(fresh, size)
        except Exception as error:  # noqa: BLE001  each library has an error of its own; all mean the same
            raise Damaged(
                f"{self._kind} stream is damaged after {self._given:,} decompressed bytes: {error}"
            ) from None


class ZipMemberStream:
    """One member of a ZIP archive."""

    def __init__(self, path: Path, member: str) -> None:
        self._archive = zipfile.ZipFile(path)
        self._member = self._archive.open(member)
        self._size = self._archive.getinfo(member).file_size
        self._given = 0

    def read(self, size: int) -> bytes:
        try:
            piece = self._member.read(size)
        except Exception as error:  # noqa: BLE001  zipfile raises a dozen kinds; all mean the same
            raise Damaged(
                f"ZIP member is damaged after {self._given:,} decompressed bytes: {error}"
            ) from None
        self._given += len(piece)
        return piece

    def remaining(self) -> int:
        return max(0, self._size - self._given)

    def close(self) -> None:
        self._member.close()
        self._archive.close()


def members(path: Path) -> list[str]:
    """The files in a ZIP archive by name; raises Damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, OSError) as error:
        raise Damaged(f"ZIP archive cannot be read: {error}") from None


def open_stream(path: Path, member: str = "") -> ByteStream:
    """The decompressed bytes of a file, or of one member of a ZIP archive. Raises OSError, Damaged."""
    if member:
        try:
            return ZipMemberStream(path, member)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise Damaged(f"ZIP member {member!r} cannot be read: {error}") from None
    file = path.open("rb", buffering=0)
    size = path.stat().st_size
    kind = detect(file.read(8))
    file.seek(0)
    return PlainStream(file, size) if kind is None or kind == "zip" else CompressedStream(file, kind, size)


class Replayed(io.RawIOBase):
    """A pipe with its first bytes put back, so that they can be looked at."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._rest.read1(size) if hasattr(self._rest, "read1") else self._rest.read(size)
