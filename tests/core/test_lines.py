"""A buffer's lines are the same, however large it is."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import lines
from headrace.core.lines import lines_of

PIECES = st.lists(st.sampled_from([b"a", "é\u2028\x85".encode(), b"\n", b"\r", b"\r\n", b"\x0b\x0c", b"{}"]))


@given(PIECES.map(b"".join))
def test_a_small_buffer_has_the_lines_of_a_large_one(payload: bytes) -> None:
    assert pl.read_lines(payload).to_series().to_list() == lines_of(payload).to_list()


@pytest.mark.parametrize("length", [1, lines.SMALL_BYTES])
def test_what_is_not_utf_8_is_refused(length: int) -> None:
    with pytest.raises((UnicodeDecodeError, pl.exceptions.ComputeError)):
        lines_of(b"a" * length + b"\xff\n")
