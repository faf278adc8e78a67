"""A record that no step changes keeps its text; what is found is the same as if it had been written again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tantivy
from hypothesis import given
from hypothesis import strategies as st

from headrace.fields import cast, parse_field
from headrace.index.tantivy.positions import count
from headrace.index.tantivy.schema import SEQ, SOURCE, exclude_positions
from headrace.ingest.formats.base import Hints
from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.model import RECORD, Batch, Position, RawBatch
from writing import matches, searcher, writer

Step = Callable[[pl.DataFrame], pl.DataFrame]

FIELDS: Mapping[str, Any] = {
    "id": "keyword",
    "ts": "date",
    "n": "integer",
    "f": "float",
    "ok": "boolean",
    "text": "text",
    "more": "keyword",
}
HINTS: Hints = {"f": pl.Float64()}


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def added(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.col(RECORD) % 2 == 0).then(pl.lit("yes")).alias("more"))


def raised(frame: pl.DataFrame) -> pl.DataFrame:
    """Changes every third record."""
    if frame.schema.get("n") != pl.Int64:
        return frame
    return frame.with_columns(pl.when(pl.col(RECORD) % 3 == 0).then(7).otherwise(pl.col("n")).alias("n"))


def dropped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("ok", strict=False)


def filtered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col(RECORD) % 2 == 1)


def turned(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns in another order, as `keep` leaves them."""
    return frame.select(RECORD, *sorted(set(frame.columns) - {RECORD}, reverse=True))


STEPS: list[Step] = [same, added, raised, dropped, filtered, turned]


def batch(lines: list[bytes], step: Step, *, known: bool = True, decoder: Any = None) -> Batch:
    """The lines as the pipeline hands them over; not `known`: what they were before is forgotten."""
    payload = b"\n".join(lines) + b"\n"
    used = decoder or NdjsonDecoder(HINTS)
    raw = RawBatch("p", 0, Position(len(lines)), payload, used, len(payload), "here", 0.0)
    decoded = raw.decoder.decode(raw)
    frames = tuple(frame for frame in map(step, decoded.frames) if frame.height)
    gone = decoded.records - len(decoded.rejections) - sum(frame.height for frame in frames)
    made = Batch("b", "pipe", raw, frames, decoded.records, decoded.rejections, gone, decoded)
    return made if known else replace(made, decoded=None)


def stored(folder: Path, given: Batch, **options: Any) -> list[bytes]:
    """`_source` of all documents, in the records' order, after all were taken."""
    made = writer(folder, fields=FIELDS, threads=1, **options)
    assert made.write(given) == []
    made.commit()
    made.close()
    index, found = searcher(folder)
    query = exclude_positions(tantivy.Query.all_query(), index.schema)
    hits = [found.doc(address) for _, address in found.search(query, limit=max(1, count(found, query))).hits]
    hits.sort(key=lambda hit: int(hit.get_first(SEQ) or 0))
    return [bytes(hit.get_first(SOURCE) or b"") for hit in hits]


def kept(lines: list[bytes], tmp_path: Path, step: Step = same) -> list[bytes]:
    return stored(tmp_path / "i", batch(lines, step))


@st.composite
def spelled(draw: st.DrawFn) -> bytes:
    """An object in one of the many ways to write it."""
    blank = st.sampled_from(["", "", " ", "\t"])
    integers = st.integers(-(2**63), 2**63 - 1).map(str) | st.just("-0")
    floats = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(
        ["1E2", "5", "-0", "0.10"]
    )
    texts = st.builds(
        json.dumps, st.text(st.characters(exclude_categories=["Cs"]), max_size=6), ensure_ascii=st.booleans()
    )
    moments = st.sampled_from(
        ["2026-01-02T03:04:05Z", "2024-02-29T00:00:00Z", "2026-01-02", "2026-02-30T00:00:00Z"]
    )
    values = {
        "id": texts,
        "ts": moments.map(json.dumps) | texts,
        "n": integers,
        "f": floats,
        "ok": st.sampled_from(["true", "false"]),
        "text": texts | st.just('"a null, it: null"'),
        "list": st.lists(texts, max_size=2).map(lambda found: f"[{', '.join(found)}]"),
        "in": texts.map(lambda found: f'{{"x": {found}}}') | st.just('{"y": null}'),
    }
    names = draw(st.lists(st.sampled_from(sorted(values)), unique=True, max_size=5))
    pairs = []
    for name in names:
        value = draw(values[name] | st.just("null") if draw(st.booleans()) else values[name])
        key = json.dumps(name) if draw(st.booleans()) else f'"\\u{ord(name[0]):04x}{name[1:]}"'
        pairs.append(f"{draw(blank)}{key}{draw(blank)}:{draw(blank)}{value}{draw(blank)}")
    return f"{draw(blank)}{{{','.join(pairs) or draw(blank)}}}{draw(blank)}".encode()


def bare(value: Any) -> Any:
    """Without nulls: a field that is null is one that is not there."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if inner is not None}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def says_null(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(says_null, inside))


@given(st.lists(spelled(), min_size=1, max_size=6), st.sampled_from(STEPS))
def test_documents_are_those_of_rows_written_again(lines: list[bytes], step: Step) -> None:
    with tempfile.TemporaryDirectory() as folder:
        again = stored(Path(folder) / "again", batch(lines, step, known=False))
        found = stored(Path(folder) / "i", batch(lines, step))
        values = [json.loads(source) for source in found]
        assert [bare(json.loads(source)) for source in again] == [bare(value) for value in values]
        for name, value in {
            (name, value[name]) for value in values for name in ("id", "n", "ok") if name in value
        }:
            assert (
                matches(Path(folder) / "again", name, value) == matches(Path(folder) / "i", name, value) >= 1
            )


@given(st.lists(spelled(), min_size=1, max_size=6), st.sampled_from(STEPS))
def test_untouched_records_keep_every_byte(lines: list[bytes], step: Step) -> None:
    """Whatever their neighbours are, and however the decoder read them."""
    given_batch = batch(lines, step)
    numbers = sorted(number for frame in given_batch.frames for number in frame[RECORD])
    with tempfile.TemporaryDirectory() as folder:
        found = stored(Path(folder) / "i", given_batch)
    for number, source in zip(numbers, found, strict=True):
        value = json.loads(lines[number])
        touched = (
            not value
            or says_null(value)
            or (
                step is raised and number % 3 == 0 and value.get("n") != 7
            )  # also where only neighbours have it
            or (step is dropped and "ok" in value)
            or (step is added and number % 2 == 0)
        )
        if not touched:
            assert lines[number].strip() == source


def test_what_a_step_adds_stands_at_the_end_of_the_text(tmp_path: Path) -> None:
    lines = [b'{ "n" : 1.0e1, "id": "\\u0061" }', b'{"id":"b", "n":2.0}']
    found = kept(lines, tmp_path, added)
    assert [b'{ "n" : 1.0e1, "id": "\\u0061" ,"more":"yes"}', b'{"id":"b", "n":2.0}'] == found


def test_a_changed_row_is_written_again_and_its_neighbours_are_not(tmp_path: Path) -> None:
    found = kept([b'{"n": 1, "id": "a"}', b'{"n": 1, "id": "b"}', b'{"n": 1, "id": "c"}'], tmp_path, raised)
    assert [b'{"n":7,"id":"a"}', b'{"n": 1, "id": "b"}', b'{"n": 1, "id": "c"}'] == found


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (b'{"n":-0}', b'{"n":-0}'),
        (b'{"f":5, "id":"a"}', b'{"f":5, "id":"a"}'),
        (b'{"f":0.1000000000000000055511151231257827}', b'{"f":0.1000000000000000055511151231257827}'),
        (b' {"n":1}\r', b'{"n":1}'),
        (b'\xef\xbb\xbf{"n": 1}', b'{"n": 1}'),
        (b"{ }", b"{}"),
        (b'{"n": null}', b"{}"),
        (b'{"n": null, "id": "null"}', b'{"id":"null"}'),
        (b'{"id": "say null", "n": 1}', b'{"id": "say null", "n": 1}'),
        (b'{"id":"\\ud83d\\ude00 \\/ \\u0000"}', b'{"id":"\\ud83d\\ude00 \\/ \\u0000"}'),
        (b'{"id":"\xf0\x9f\x98\x80\xe2\x80\xa8"}', b'{"id":"\xf0\x9f\x98\x80\xe2\x80\xa8"}'),
        (b'{"big":1e400, "n":1}', None),
        (b'{"big":123456789012345678901234567890}', b'{"big":123456789012345678901234567890}'),
        (b'{"id":"\\ud800"}', None),
        (b'{"id":"a","id":"b"}', None),
        (b'{"f":NaN}', None),
        (b'{"ts":"2026-01-02T03:04:05.123456789Z"}', b'{"ts":"2026-01-02T03:04:05.123456789Z"}'),
        (b'{"ts": "2023-02-29T00:00:00Z"}', b'{"ts": "2023-02-29T00:00:00Z"}'),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_each_spelling_stays_or_is_refused(
    line: bytes, source: bytes | None, warm: bool, tmp_path: Path
) -> None:
    """`None`: not JSON, or more than it may say. A decoder that has seen such records before decides alike."""
    decoder = NdjsonDecoder(HINTS)
    if warm:
        batch([line.removeprefix(b"\xef\xbb\xbf")], same, decoder=decoder)
    given_batch = batch([line], same, decoder=decoder)
    assert ([] if source is None else [source]) == stored(tmp_path / "i", given_batch)


MOMENTS = [
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.5Z",
    "2026-01-02T03:04:05.000001Z",
    "2026-01-02T03:04:05.000001999Z",
    "2026-01-02T04:04:05+01:00",
    "2026-01-02 03:04:05",
    "2026-01-02",
    "2024-02-29T23:59:59Z",
    "1678-01-01T00:00:00Z",
    "2261-12-31T23:59:59.999999Z",
]


@pytest.mark.parametrize("text", MOMENTS)
def test_a_date_is_found_however_it_is_spelled(text: str, tmp_path: Path) -> None:
    """The engine reads some texts itself, alone and beside others that it is given as moments."""
    for name, others in (("alone", []), ("beside", MOMENTS)):
        lines = [json.dumps({"ts": each}).encode() for each in [text, *others]]
        found = [
            asked(tmp_path / f"{name}-{known}", batch(lines, same, known=known), text)
            for known in (True, False)
        ]
        assert found[0] == found[1] >= 1


def asked(folder: Path, given_batch: Batch, text: str) -> int:
    """How many documents have exactly the date that `text` is."""
    stored(folder, given_batch)
    index, found = searcher(folder)
    day = (
        pl.Series("ts", [text]).to_frame().select(cast("ts", pl.String(), parse_field("date"), coerce=False))
    )
    moment = day.item()
    return count(found, tantivy.Query.range_query(index.schema, "ts", tantivy.FieldType.Date, moment, moment))


def test_values_nested_deeper_than_is_compared_are_kept_all_the_same(tmp_path: Path) -> None:
    """Comparing takes twice as long with each level, so it is not done: a hundred levels would take for ever."""
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    found = kept([json.dumps({"id": "x", "deep": deep}).encode()], tmp_path)
    assert [{"id": "x", "deep": deep}] == [json.loads(source) for source in found]
