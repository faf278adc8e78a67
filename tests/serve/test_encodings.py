"""Compressed bodies: what shippers send comes out as it went in, and what is none of it is told so."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import cramjam
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.serve.encodings import PIECE, RAW_BLOCK, undoing


def raw_deflate(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(body) + packing.flush()


def two_members(body: bytes) -> bytes:
    return gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])


def two_frames(body: bytes) -> bytes:
    return zstd.compress(body[: len(body) // 2]) + zstd.compress(body[len(body) // 2 :])


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in members": ("gzip", two_members),
    "zstd": ("zstd", zstd.compress),
    "zstd in frames": ("zstd", two_frames),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "raw snappy": ("snappy", lambda body: bytes(cramjam.snappy.compress_raw(body))),
    "framed snappy": ("snappy", lambda body: bytes(cramjam.snappy.compress(body))),
}


def undone(kind: str, packed: bytes, step: int) -> bytes:
    inner = undoing(kind)
    assert inner is not None
    pieces = [piece for at in range(0, len(packed), step) for piece in inner.push(packed[at : at + step])]
    pieces += inner.end()
    assert all(len(piece) <= max(PIECE, RAW_BLOCK if kind == "snappy" else 0) for piece in pieces)
    return b"".join(pieces)


def undone_or_refused(kind: str, packed: bytes) -> bytes | None:
    """None where it was refused, with a 400 that says that nothing was accepted."""
    try:
        return undone(kind, packed, 64)
    except RequestError as error:
        told = error.status, "nothing was accepted" in error.reason
    assert (400, True) == told
    return None


@pytest.mark.parametrize("name", PACKED)
@given(
    body=st.binary(max_size=5000) | st.binary(min_size=1, max_size=50).map(lambda part: part * 9000),
    step=st.integers(1, 100_000),
)
def test_what_was_packed_comes_out_however_it_was_cut(name: str, body: bytes, step: int) -> None:
    kind, pack = PACKED[name]
    step = max(step, len(body) // 500 + 1)
    assert body == undone(kind, pack(body), step)


@pytest.mark.parametrize("name", PACKED)
@given(data=st.data())
def test_what_ends_early_is_refused(name: str, data: st.DataObject) -> None:
    """Each cut within a stream is seen, but for one between two members: there a stream does end."""
    kind, pack = PACKED[name]
    body = b"the quick brown fox %d " * 200
    packed = pack(body)
    end = data.draw(st.integers(1, len(packed) - 1))
    found = undone_or_refused(kind, packed[:end])
    assert found is None or " in " in name or "framed" in name
    assert body != found


@pytest.mark.parametrize("kind", ["gzip", "zstd", "deflate", "snappy"])
@given(body=st.binary(max_size=300))
def test_bytes_that_are_nothing_never_break_it(kind: str, body: bytes) -> None:
    with suppress(RequestError):
        undone(kind, body, 7)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "deflate"])
def test_a_bomb_comes_out_a_piece_at_a_time(kind: str) -> None:
    packed = PACKED[kind][1](bytes(64 << 20))
    inner = undoing(kind)
    assert inner is not None
    first = next(iter(inner.push(packed)))
    assert PIECE >= len(first)


def test_a_raw_snappy_block_has_a_bound() -> None:
    packed = bytes(cramjam.snappy.compress_raw(bytes(RAW_BLOCK + 1)))
    with pytest.raises(RequestError, match="send it framed") as caught:
        undone("snappy", packed, 1 << 20)
    assert 413 == caught.value.status


def test_a_wrong_checksum_of_a_frame_is_seen() -> None:
    packed = bytearray(cramjam.snappy.compress(b"something worth a checksum" * 9))
    packed[15] ^= 1
    with pytest.raises(RequestError, match="cannot be decompressed"):
        undone("snappy", bytes(packed), 1000)


@pytest.mark.parametrize("header", ["br", "gzip, zstd", "none"])
def test_an_unknown_encoding_is_told_the_known_ones(header: str) -> None:
    with pytest.raises(RequestError, match="deflate, gzip, identity, snappy") as caught:
        undoing(header)
    assert 415 == caught.value.status


@pytest.mark.parametrize("header", ["", "identity", " Identity "])
def test_nothing_is_undone_where_nothing_was_done(header: str) -> None:
    assert undoing(header) is None
