"""What is known of earlier batches saves work and changes nothing: warm and cold decoders agree on every line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.model import RECORD, Position, RawBatch

GOOD = {"s": "text", "i": 1, "f": 1.5, "b": True, "in": {"x": "y"}, "many": ["a", "b"]}

HOSTILE = [
    b'{"s":5}',
    b'{"s":true}',
    b'{"i":1.0}',
    b'{"i":"1"}',
    b'{"i":-0}',
    b'{"i":9223372036854775808}',
    b'{"f":1}',
    b'{"f":"1.5"}',
    b'{"f":1e400}',
    b'{"f":NaN}',
    b'{"b":1}',
    b'{"b":"true"}',
    b'{"s":"\\ud800"}',
    b'{"s":"a","s":"b"}',
    b'{"s":"b","s":"text"}',
    b'{"in":{"x":"y","x":"z"}}',
    b'{"in":"y"}',
    b'{"in":{"z":1}}',
    b'{"many":"a"}',
    b'{"many":["a",1]}',
    b'{"many":[null]}',
    b'{"s":null}',
    b'{"new":1}',
    b'{"_id":"1"}',
    b'{"s":"\xff"}',
    b'{"s":"\x01"}',
    b'{"s":"a"} x',
    b'{"s":"a"',
    b'{"s":"a"}\x0b',
    b"[1]",
    b"5",
    b"",
    b"  ",
    b'{"new":' + b"[" * 3000 + b"]" * 3000 + b"}",
]


def decoded(decoder: NdjsonDecoder, lines: list[bytes]) -> tuple[dict[int, Any], list[tuple[int, str]]]:
    payload = b"\n".join(lines) + b"\n"
    raw = RawBatch("p", 0, Position(len(lines)), payload, decoder, len(payload), "here", 0.0)
    found = decoder.decode(raw)
    rows = {
        row.pop(RECORD): {name: value for name, value in row.items() if value is not None}
        for frame in found.frames
        for row in frame.to_dicts()
    }
    for frame, texts in zip(found.frames, found.texts, strict=True):
        kept = texts.lines.removesuffix(b"\n").split(b"\n")
        assert [lines[number].rstrip() for number in frame[RECORD]] == [line.rstrip() for line in kept]
    return rows, [(refused.record, refused.reason) for refused in found.rejections]


def _warm(separators: tuple[str, str] = (",", ":")) -> NdjsonDecoder:
    decoder = NdjsonDecoder({})
    decoded(decoder, [json.dumps(GOOD, separators=separators).encode()] * 3)
    return decoder


def _agree(lines: list[bytes], warm: NdjsonDecoder) -> None:
    expected, refused = decoded(NdjsonDecoder({}), lines)
    # A cold decoder that meets each line alone can be led by no neighbour.
    alone = {}
    for number, line in enumerate(lines):
        for row in decoded(NdjsonDecoder({}), [line])[0].values():
            alone[number] = row
    found, also_refused = decoded(warm, lines)
    assert refused == also_refused
    assert sorted(alone) == sorted(found) == sorted(expected)
    for number in (number for number in alone if "in" not in alone[number]):
        assert repr(sorted(alone[number].items())) == repr(sorted(found[number].items()))


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_among_canonical_ones_is_what_it_is_alone(line: bytes) -> None:
    good = json.dumps(GOOD, separators=(",", ":")).encode()
    _agree([good, good, line, good, good, good], _warm())


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_among_spaced_ones_is_what_it_is_alone(line: bytes) -> None:
    good = json.dumps(GOOD).encode()
    _agree([good, good, line, good, good, good], _warm((", ", ": ")))


@given(
    st.lists(
        st.sampled_from([*HOSTILE, *[json.dumps(GOOD, separators=(",", ":")).encode()] * 40]), min_size=1
    )
)
def test_any_mixture_is_what_its_lines_are(lines: list[bytes]) -> None:
    _agree(lines, _warm())
