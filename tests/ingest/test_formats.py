"""Formats: the same records with the same types, however the bytes were split and whatever came before."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError
from headrace.ingest import formats
from headrace.ingest.formats.base import CsvLayout, Damaged, FormatOptions, Hints
from headrace.ingest.formats.dialect import infer
from headrace.model import RECORD, Decoded, Decoder, Position, RawBatch

LIMIT = 1 << 20


def batch(payload: bytes, decoder: Decoder, first: int = 0) -> RawBatch:
    return RawBatch("p", first, Position(first), payload, decoder, len(payload), "a.log", 0.0)


def decode(decoder: Decoder, payload: bytes, first: int = 0) -> Decoded:
    return decoder.decode(batch(payload, decoder, first))


def ndjson(hints: Hints | None = None) -> Decoder:
    return formats.create("ndjson", FormatOptions(), hints or {})


def bare(value: Any) -> Any:
    """A value without its nulls and empty objects, with the type of every number."""
    if isinstance(value, dict):
        kept = {key: bare(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {})}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value if value is None else (type(value).__name__, value)


def rows(decoded: Decoded) -> dict[int, Any]:
    return {row.pop(RECORD): bare(row) for frame in decoded.frames for row in frame.to_dicts()}


def test_each_record_keeps_the_type_it_was_written_with() -> None:
    decoded = decode(
        ndjson(), b'{"a":1}\n{"a":"1"}\n{"a":1.0}\n{"a":true}\n{"a":null}\n{"a":18446744073709551615}\n'
    )
    assert {
        0: {"a": ("int", 1)},
        1: {"a": ("str", "1")},
        2: {"a": ("float", 1.0)},
        3: {"a": ("bool", True)},
        4: {},
        5: {"a": ("int", 2**64 - 1)},
    } == rows(decoded)
    assert decoded.records == 6


def test_a_key_that_json_escapes_is_only_a_key() -> None:
    """Quotes, backslashes, control characters: such a record once stopped the pipeline that read it."""
    keys = ['say "so"', "C:\\temp", "ends in \\", "bell\x07", "\x00", "line\nbreak", "", "plain"]
    payload = b"".join(json.dumps({key: 1}).encode() + b"\n" for key in keys)
    decoder = ndjson()
    for first in (0, 10):  # before it knows the shape, and after
        expected = {first + at: {key: ("int", 1)} for at, key in enumerate(keys)}
        assert expected == rows(decode(decoder, payload, first))


def test_a_malformed_line_37_costs_only_itself_and_is_named() -> None:
    lines = [b'{"a":%d}' % n for n in range(50)]
    lines[36] = b'{"a":'
    decoded = decode(ndjson(), b"\n".join(lines))
    (rejection,) = decoded.rejections
    assert (36, "decode", "malformed", b'{"a":') == (
        rejection.record,
        rejection.stage,
        rejection.reason,
        rejection.original,
    )
    assert rejection.detail.startswith("a.log:37: not JSON: ")
    assert 49 == sum(frame.height for frame in decoded.frames)


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"a":"\xff"}', "invalid_utf8", "column 7: byte 0xff is not UTF-8"),
        (b"[1]", "not_an_object", "found an array"),
        (b"null", "not_an_object", "found null"),
        (b'{"_id":1}', "reserved_field", "'_id'"),
        (b'{"a":1,"a":2}', "malformed", "key 'a' is there twice"),
        (b'{"a":{"b":1,"b":2}}', "malformed", "key 'b' is there twice"),
        (b'{"a":[1,"x"]}', "unsupported_value", "a list that mixes"),
        (b'{"a":1} {"a":2}', "malformed", "not JSON"),
        (b'{"a":"\\ud800"}', "malformed", "not JSON"),
        (b'{"a":NaN}', "malformed", "not JSON"),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_a_bad_record_is_rejected_with_its_reason(line: bytes, reason: str, detail: str, warm: bool) -> None:
    decoder = ndjson()
    if warm:
        decode(decoder, b'{"a":1}\n{"a":{"b":5}}\n{"a":["x"]}\n' * 3)
    decoded = decode(decoder, b'{"a":1}\n' + line + b'\n{"a":2}\n', 10)
    assert [(11, reason)] == [(r.record, r.reason) for r in decoded.rejections]
    assert detail in decoded.rejections[0].detail
    assert [10, 12] == sorted(rows(decoded))


def test_blank_lines_take_a_number_and_are_no_records() -> None:
    decoded = decode(ndjson(), b'\n{"a":1}\r\n  \n{}\n', 5)
    assert {6: {"a": ("int", 1)}, 8: {}} == rows(decoded)
    assert 2 == decoded.records


def test_a_byte_order_mark_is_no_part_of_the_first_record() -> None:
    assert {0: {"a": ("int", 1)}} == rows(decode(ndjson(), b'\xef\xbb\xbf{"a":1}\n'))


def test_a_declared_float_takes_integers_and_nothing_else() -> None:
    decoder = ndjson({"a": pl.Float64()})
    for _ in range(2):  # cold, then warm
        found = rows(decode(decoder, b'{"a":1,"b":1}\n{"a":2.5,"b":2}\n'))
        assert {0: {"a": ("float", 1.0), "b": ("int", 1)}, 1: {"a": ("float", 2.5), "b": ("int", 2)}} == found
    assert {0: {"a": ("str", "1")}} == rows(decode(decoder, b'{"a":"1"}\n'))


def test_the_original_of_a_record_is_its_own_line() -> None:
    decoder = ndjson()
    raw = batch(b'{"a":1}\n{"a":2}\r\n', decoder, 7)
    assert b'{"a":2}' == decoder.original(raw, 8)
    assert decoder.original(raw, 9) is None


keys = st.sampled_from(["a", "b", "c", "ü", 'q"\\', ""])
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4) | st.just('x":1')
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(keys, values, max_size=4)
lines = st.one_of(
    objects.map(lambda value: json.dumps(value).encode()),
    objects.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()),
    st.sampled_from(
        [b"", b"  ", b"{", b"[]", b'{"a":1,"a":2}', b'{"a":5,"a":null}', b'{"a" :1,"a":2}', b"\xff"]
    ),
)


@given(
    st.lists(lines, min_size=1, max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
    st.lists(lines, max_size=5),
)
def test_any_split_and_any_history_gives_the_same_records(
    given_lines: list[bytes], cuts: list[int], warm_up: list[bytes]
) -> None:
    whole = _outcome(ndjson(), [given_lines])
    alone = _outcome(ndjson(), [[line] for line in given_lines])
    warm = ndjson()
    decode(warm, b"".join(line + b"\n" for line in warm_up))
    bounds = [0, *sorted(min(cut, len(given_lines)) for cut in cuts), len(given_lines)]
    parts = [given_lines[a:b] for a, b in pairwise(bounds)]
    assert whole == alone == _outcome(warm, parts) == _outcome(warm, parts)


def _outcome(
    decoder: Decoder, parts: Sequence[Sequence[bytes]]
) -> tuple[dict[int, Any], list[tuple[int, str]], int]:
    found: dict[int, Any] = {}
    rejected: list[tuple[int, str]] = []
    count = first = 0
    for part in parts:
        decoded = decode(decoder, b"".join(line + b"\n" for line in part), first)
        found |= rows(decoded)
        rejected += [(r.record, r.reason) for r in decoded.rejections]
        count += decoded.records
        first += len(part)
    return found, rejected, count


@given(st.lists(objects, min_size=1, max_size=8))
def test_values_come_out_as_json_has_them(given_objects: list[dict[str, Any]]) -> None:
    decoded = decode(ndjson(), b"".join(json.dumps(value).encode() + b"\n" for value in given_objects))
    refused = {r.record for r in decoded.rejections}
    assert all(r.reason == "unsupported_value" for r in decoded.rejections)
    found = rows(decoded)
    for number, value in enumerate(given_objects):
        if number not in refused:
            assert _loose(bare(value)) == _loose(found[number])


def _loose(value: Any) -> Any:
    """Numbers of a list that mixes integers and floats are all floats: compare them as such."""
    if isinstance(value, dict):
        return {key: _loose(item) for key, item in value.items()}
    if isinstance(value, list):
        listed = [_loose(item) for item in value]
        if {item[0] for item in listed if isinstance(item, tuple)} == {"int", "float"}:
            return [("float", float(item[1])) if isinstance(item, tuple) else item for item in listed]
        return listed
    return value


# --- splitting -------------------------------------------------------------------------------------------


def split(kind: str, data: bytes, sizes: Sequence[int], limit: int = LIMIT) -> list[bytes]:
    """The payloads a reader would cut, given pieces of these sizes."""
    cutter = formats.splitter(kind, CsvLayout(columns=("a", "b")))
    buffer, at, out = b"", 0, []
    for size in [*sizes, len(data) + 1]:
        buffer += data[at : at + size]
        at += size
        final = at > len(data)
        while True:
            taken = cutter.take(buffer, final=final, limit=limit)
            buffer = buffer[taken.consumed :]
            if taken.payload:
                out.append(taken.payload)
            if not taken.consumed:
                break
    assert buffer == b""
    return out


csv_fields = st.sampled_from(
    ["1", "x", "", '"q"', '"a,b"', '"two\nlines"', '"say ""hi"""', 'in"ch', '""', "ü", '"a"b']
)
csv_records = st.lists(st.tuples(csv_fields, csv_fields).map(",".join), min_size=1, max_size=10)


@given(csv_records, st.lists(st.integers(1, 20), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_split_of_csv_gives_the_same_records(
    records: list[str], sizes: list[int], end: str, ended: bool
) -> None:
    data = (end.join(records) + (end if ended else "")).encode()
    layout = CsvLayout(columns=("a", "b"), types=("string", "string"))
    assert _csv_rows(layout, split("csv", data, [])) == _csv_rows(layout, split("csv", data, sizes))


def _csv_rows(layout: CsvLayout, payloads: Sequence[bytes]) -> tuple[dict[int, Any], list[Any]]:
    decoder = formats.create("csv", FormatOptions(), {}, layout)
    cutter = formats.splitter("csv", layout)
    found: dict[int, Any] = {}
    rejected: list[Any] = []
    first = 0
    for payload in payloads:
        decoded = decode(decoder, payload, first)
        found |= rows(decoded)
        rejected += [(r.record, r.reason) for r in decoded.rejections]
        first += cutter.take(payload, final=True, limit=LIMIT).numbers
    return found, rejected


@given(
    st.lists(values, max_size=6),
    st.lists(st.integers(1, 25), max_size=8),
    st.sampled_from([None, 1, 4]),
    st.booleans(),
)
def test_any_split_of_a_json_array_gives_the_same_elements(
    elements: list[Any], sizes: list[int], indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode() + b"\n"
    found = [json.loads(line) for payload in split("json", data, sizes) for line in payload.split(b"\n")[:-1]]
    assert elements == found


def test_json_documents_need_no_array_around_them() -> None:
    assert [b'{ "a": 1 }\n{"b":2}\n'] == split("json", b'{\n"a":\n1\n}\n{"b":2}', [])


def test_a_malformed_element_costs_only_itself() -> None:
    payload = b"".join(split("json", b'[{"a":1},{"a":x},{"a":3}]', []))
    decoded = decode(formats.create("json", FormatOptions(), {}), payload)
    assert [0, 2] == sorted(rows(decoded))
    assert ["a.log: element 1: not JSON"] == [r.detail[:26] for r in decoded.rejections]


@pytest.mark.parametrize(
    ("data", "message"), [(b'[{"a":1}', "middle of a JSON array"), (b"[1]x", "after the end")]
)
def test_a_json_array_that_does_not_end_as_it_should_is_damaged(data: bytes, message: str) -> None:
    with pytest.raises(Damaged, match=message):
        split("json", data, [])


def test_a_long_element_is_skipped_by_its_brackets() -> None:
    cutter = formats.splitter("json")
    consumed = cutter.take(b'[{"a":"', final=False, limit=5).consumed
    assert 1 == consumed
    pieces = [b'{"a":"', b"x]}\\", b'"}', b'", "b":[{', b'}]} , {"c":1}]']
    assert [-1, -1, -1, -1, 3] == [cutter.skip(piece) for piece in pieces]


# --- CSV types -------------------------------------------------------------------------------------------


def csv_of(
    text: str, hints: Hints | None = None, options: FormatOptions | None = None
) -> tuple[CsvLayout, Decoded]:
    opts = options or FormatOptions()
    layout = infer(text.encode(), opts, hints or {})
    body = text.partition("\n")[2] if layout.header else text
    return layout, decode(formats.create("csv", opts, hints or {}, layout), body.encode())


def test_csv_types_header_and_delimiter_are_inferred() -> None:
    layout, decoded = csv_of("id;name;zip;score;ok\n1;Ann;01234;1.5;true\n2;Bob;99999;NA;false\n")
    assert (";", True) == (layout.delimiter, layout.header)
    assert ("integer", "string", "string", "float", "boolean") == layout.types
    assert [(1, "Ann", "01234", 1.5, True, 0), (2, "Bob", "99999", None, False, 1)] == decoded.frames[
        0
    ].rows()


def test_leading_zeros_of_a_declared_keyword_stay() -> None:
    _, decoded = csv_of("zip,n\n12345,1\n", {"zip": pl.String(), "n": pl.Float64()})
    assert [("12345", 1.0, 0)] == decoded.frames[0].rows()


def test_a_value_that_does_not_fit_its_column_keeps_its_record() -> None:
    layout = CsvLayout(columns=("a", "b"), types=("integer", "float"), null_values=("", "NA"))
    decoded = decode(formats.create("csv", FormatOptions(), {}, layout), b"1,2.5\nx,1\n3,NA\n007,inf\n,\n")
    assert {
        0: {"a": ("int", 1), "b": ("float", 2.5)},
        1: {"a": ("str", "x"), "b": ("float", 1.0)},
        2: {"a": ("int", 3)},
        3: {"a": ("str", "007"), "b": ("str", "inf")},
        4: {},
    } == rows(decoded)


def test_text_that_looks_like_null_stays_text_unless_declared() -> None:
    assert [("NA", 0), ("x", 1)] == csv_of("a\nNA\nx\n")[1].frames[0].rows()
    declared = FormatOptions(null_values=("NA",), header=True)
    assert [(None, 0), ("x", 1)] == csv_of("a\nNA\nx\n", options=declared)[1].frames[0].rows()


def test_wrong_columns_name_the_line() -> None:
    _, decoded = csv_of("a,b\n1,2\n1\n1,2,3\n4,5\n")
    assert [(1, "wrong_columns"), (2, "wrong_columns")] == [(r.record, r.reason) for r in decoded.rejections]
    assert "a.log:3: expected 2 columns, found 1" == decoded.rejections[0].detail
    assert [(1, 2, 0), (4, 5, 3)] == decoded.frames[0].rows()


def test_a_header_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'a' is there twice"):
        csv_of("a,b,a\n1,2,3\n")


def test_a_csv_record_that_is_not_utf8_costs_only_itself() -> None:
    layout = CsvLayout(columns=("a", "b"), types=("string", "string"))
    decoded = decode(formats.create("csv", FormatOptions(), {}, layout), b"1,\xff\n2,x\n")
    assert [(0, "invalid_utf8")] == [(r.record, r.reason) for r in decoded.rejections]
    assert [("2", "x", 1)] == decoded.frames[0].rows()


# --- lines and frames -----------------------------------------------------------------------------------


def test_lines_become_messages_and_bad_bytes_are_rejected_or_replaced() -> None:
    options = FormatOptions(message_field="text")
    decoded = decode(formats.create("lines", options, {}), b"one\r\n\nt\xffo\nlast", 4)
    assert [("one", 4), ("last", 7)] == decoded.frames[0].rows()
    assert [(6, "invalid_utf8", b"t\xffo")] == [(r.record, r.reason, r.original) for r in decoded.rejections]
    replaced = decode(formats.create("lines", FormatOptions(invalid_utf8="replace"), {}), b"t\xffo\n")
    assert [("t�o", 0)] == replaced.frames[0].rows()


def test_rows_of_columnar_files_are_numbered() -> None:
    decoder = formats.create("parquet", FormatOptions(), {})
    raw = RawBatch("p", 3, Position(5), pl.DataFrame({"a": [1, 2]}), decoder, 16, "a.parquet", 0.0)
    assert [(1, 3), (2, 4)] == decoder.decode(raw).frames[0].rows()
    assert b'{"a":2}\n' == decoder.original(raw, 4)


def test_an_unknown_format_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ndjson'"):
        formats.create("ndjsn", FormatOptions(), {})


def test_floats_are_read_to_the_last_bit() -> None:
    numbers = [0.1, 1e-320, 1.7976931348623157e308, 0.30000000000000004, math.pi]
    payload = b"".join(b'{"a":%s}\n' % repr(n).encode() for n in numbers)
    assert numbers == decode(ndjson(), payload).frames[0]["a"].to_list()


def test_a_record_of_very_many_keys_costs_only_itself() -> None:
    """Each key would be a column of its whole batch."""
    many = json.dumps({f"k{n}": n for n in range(10_001)}).encode()
    few = json.dumps({f"k{n}": n for n in range(500)}).encode()
    decoded = decode(ndjson(), b'{"a":1}\n' + many + b"\n" + few + b"\n")
    assert [("too_many_fields", 1)] == [(found.reason, found.record) for found in decoded.rejections]
    assert sorted(number for frame in decoded.frames for number in frame[RECORD]) == [0, 2]
