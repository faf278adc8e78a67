"""Frames become documents: `_source` as it came, the engine given only what it takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.model import RECORD
from writing import batch, documents, matches, reasons, rows, sources, writer

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=6).filter(
    lambda key: (
        key not in {"_id", "_seq", "_source", "_dyn", "_dyn_text", "_pos", "_posdata", RECORD, "_ordinal"}
    )
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def _column(height: int) -> st.SearchStrategy[pl.Series]:
    scalar: list[tuple[st.SearchStrategy[Any], Any]] = [
        (TEXTS, pl.String),
        (INTEGERS, pl.Int64),
        (st.integers(0, 2**64 - 1), pl.UInt64),
        (FLOATS, pl.Float64),
        (st.booleans(), pl.Boolean),
        (st.lists(TEXTS, max_size=3), pl.List(pl.String)),
        (st.lists(INTEGERS, max_size=3), pl.List(pl.Int64)),
        (st.lists(st.lists(st.booleans(), max_size=2), max_size=2), pl.List(pl.List(pl.Boolean))),
        (
            st.fixed_dictionaries({"x": TEXTS, "y": st.lists(INTEGERS, max_size=2)}),
            pl.Struct({"x": pl.String, "y": pl.List(pl.Int64)}),
        ),
    ]
    columns = [
        st.lists(st.none() | values, min_size=height, max_size=height).map(_as(dtype))
        for values, dtype in scalar
    ]
    return st.one_of(columns)


def _as(dtype: Any) -> Callable[[list[Any]], pl.Series]:
    return lambda values: pl.Series(values, dtype=dtype)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.integers(1, 4))
    columns = draw(st.dictionaries(KEYS, _column(height), max_size=5))
    return pl.DataFrame({RECORD: pl.Series(range(height), dtype=pl.Int64), **columns})


def _expected(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if value is not None}
        for row in frame.drop(RECORD).to_dicts()
    ]


@given(frames(), st.sampled_from([True, False]))
def test_any_frame_comes_back_as_it_was(frame: pl.DataFrame, dynamic: bool) -> None:
    """All undeclared: what JSON can hold is what is in `_source`, top-level nulls left out."""
    with tempfile.TemporaryDirectory() as folder:
        made = writer(Path(folder) / "i", dynamic=dynamic, threads=1)
        assert made.write(batch(frame, first=0, records=frame.height)) == []
        made.commit()
        made.close()
        assert sources(Path(folder) / "i") == _expected(frame)


DECLARED = {
    "t": "text",
    "k": "keyword",
    "n": "integer",
    "u": "unsigned",
    "f": "float",
    "b": "boolean",
    "l": "keyword[]",
}


@st.composite
def typed_frames(draw: st.DrawFn) -> pl.DataFrame:
    """Columns of declared names, of any type: fitting or not."""
    height = draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from([*DECLARED, "other"]), unique=True, max_size=6))
    columns = {name: draw(_column(height)) for name in names}
    return pl.DataFrame({RECORD: pl.Series(range(height), dtype=pl.Int64), **columns})


@given(typed_frames())
def test_a_record_of_any_types_is_indexed_under_any_mapping_where_dynamic_is_true(
    frame: pl.DataFrame,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = writer(Path(folder) / "i", fields=DECLARED, threads=1)
        assert made.write(batch(frame, first=0, records=frame.height)) == []
        made.commit()
        made.close()
        assert sources(Path(folder) / "i") == _expected(frame)


def test_every_type_is_found_by_its_value(tmp_path: Path) -> None:
    fields = {
        "t": "text", "k": "keyword", "n": "integer", "u": "unsigned", "f": "float", "b": "boolean",
        "d": "date", "ip": "ip", "j": "json", "l": "integer[]", "a.b": "keyword",
    }  # fmt: skip
    record = {
        "t": "Hello", "k": 'quo"te', "n": -5, "u": 5, "f": 1.5, "b": True, "d": "2024-01-02T03:04:05Z",
        "ip": "10.0.0.1", "j": {"x": "y"}, "l": [1, 2, None], "a": {"b": "nested", "c": 3},
    }  # fmt: skip
    made = writer(tmp_path / "i", fields=fields)
    assert made.write(rows(record)) == []
    made.commit()
    made.close()
    terms = [
        ("t", "hello"), ("k", 'quo"te'), ("n", -5), ("u", 5), ("f", 1.5), ("b", True), ("ip", "10.0.0.1"),
        ("d", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)), ("_dyn.j.x", "y"), ("l", 2), ("x$a$2e$b", "nested"),
        ("_dyn.a.c", 3), ("_dyn_text.j.x", "y"),
    ]  # fmt: skip
    assert [(name, matches(tmp_path / "i", name, value)) for name, value in terms] == [
        (n, 1) for n, _ in terms
    ]
    assert sources(tmp_path / "i") == [record]


def test_moments_are_rfc_3339_in_utc_also_inside_lists_and_structs(tmp_path: Path) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    made = writer(tmp_path / "i", fields={"d": "date"})
    berlin = pl.Series([moment]).dt.convert_time_zone("Europe/Berlin")
    frame = pl.DataFrame(
        {
            RECORD: [0],
            "d": berlin,
            "day": [date(2024, 1, 2)],
            "l": [[moment]],
            "s": [{"m": moment, "raw": b"\x00"}],
        }
    )
    made.write(batch(frame, first=0, records=1))
    made.commit()
    made.close()
    text = "2024-01-02T03:04:05.000678Z"
    expected = {"d": text, "day": "2024-01-02", "l": [text], "s": {"m": text, "raw": "AA=="}}
    assert sources(tmp_path / "i") == [expected]


def test_nan_is_missing_and_the_infinite_are_kept_out_of_a_float_field(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"f": "float", "l": "float[]"})
    record: list[dict[str, Any]] = [
        {"f": float("nan"), "l": [float("nan"), 1.0]},
        {"f": float("inf"), "l": None},
    ]
    assert made.write(rows(*record)) == []
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"l": [None, 1.0]}, {"f": None}]


@pytest.mark.parametrize(
    ("dynamic", "found"), [(True, []), (False, [(1, "wrong_type")]), ("strict", [(1, "wrong_type")])]
)
def test_a_value_that_conflicts_with_its_type_goes_to_the_dynamic_pair_or_its_record_is_rejected(
    tmp_path: Path, dynamic: bool | str, found: list[tuple[int, str]]
) -> None:
    made = writer(tmp_path / "i", fields={"d": "date"}, dynamic=dynamic)
    rejections = made.write(rows({"d": "2024-01-02"}, {"d": "yesterday"}))
    assert reasons(rejections) == found
    assert all("d: date" in rejection.detail and "yesterday" in rejection.detail for rejection in rejections)
    made.commit()
    made.close()
    assert matches(tmp_path / "i", "_dyn.d", "yesterday") == (dynamic is True)


def test_undeclared_fields_are_kept_but_not_indexed_where_dynamic_is_false(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"k": "keyword", "j": "json"}, dynamic=False)
    assert made.write(rows({"k": "a", "x": "b", "j": {"y": "c"}})) == []
    made.commit()
    made.close()
    assert sources(tmp_path / "i") == [{"k": "a", "x": "b", "j": {"y": "c"}}]
    assert matches(tmp_path / "i", "_dyn.x", "b") == 0
    assert matches(tmp_path / "i", "_dyn.j.y", "c") == 1


def test_undeclared_fields_reject_their_record_where_dynamic_is_strict(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", fields={"k": "keyword", "a.b": "keyword"}, dynamic="strict")
    rejections = made.write(
        rows({"k": "a"}, {"k": "a", "x": 1}, {"a": {"b": "c", "d": 1}}, {"a": {"b": "c"}})
    )
    assert reasons(rejections) == [(1, "unknown_field"), (2, "unknown_field")]
    assert rejections[1].detail == (
        "expected only declared fields (dynamic: strict), not 'a.d' (did you mean 'a.b'?); found '1'"
    )


def test_a_record_with_a_field_of_ours_is_rejected(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    assert reasons(made.write(rows({"_seq": 5}, {"a": 1}))) == [(0, "reserved_field")]


def test_ids_of_several_fields_are_unambiguous(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id=["a", "b"])
    given = [("x|y", "z"), ("x", "y|z"), ("x\\", "|y"), ("x\\|", "y")]
    made.write(rows(*({"a": a, "b": b} for a, b in given)))
    made.commit()
    made.close()
    assert len(documents(tmp_path / "i")) == len(given)


def test_an_id_has_one_spelling_whatever_type_a_record_gave_it_in(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id="k", fields={"k": "float"})
    made.write(rows({"k": 1}))
    made.write(rows({"k": 1.0}, first=1))
    made.commit()
    made.close()
    assert documents(tmp_path / "i") == {"1.0": {"k": 1.0}}


def test_records_without_a_usable_id_are_rejected(tmp_path: Path) -> None:
    made = writer(tmp_path / "i", id="k")
    found = made.write(rows({"k": "a"}, {"k": None}, {"k": ""}, {"k": "x" * 513}, {"k": "x" * 512}))
    assert reasons(found) == [(1, "missing_id"), (2, "missing_id"), (3, "id_too_long")]
    assert reasons(made.write(rows({"other": 1}, first=5))) == [(5, "missing_id")]
    assert reasons(made.write(rows({"k": ["a"]}, first=6))) == [(6, "missing_id")]


def test_a_source_is_written_in_the_order_of_its_fields(tmp_path: Path) -> None:
    made = writer(tmp_path / "i")
    made.write(rows({"b": 1, "a": None, "c": "x"}, {"b": 2, "a": 5, "c": "y"}))
    made.commit()
    made.close()
    assert [json.dumps(source) for source in sources(tmp_path / "i")] == [
        '{"b": 1, "c": "x"}', '{"b": 2, "a": 5, "c": "y"}'
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["*", "^a.*$", "^", "", "a b", 'a"b'])
def test_a_name_that_could_be_a_pattern_is_only_a_name(name: str, tmp_path: Path) -> None:
    """Polars reads `*` and `^…$` as patterns; a record may have such a key, at the top or inside."""
    row = {name: 1.5, "other": "x", "deep": {name: "y", "z": 2}}
    with headrace.index(pl.DataFrame([row]), into=tmp_path) as index:
        (hit,) = index.search("*").hits
        assert msgspec.json.decode(hit.source) == row


def test_no_object_gets_keys_of_its_neighbours(tmp_path: Path) -> None:
    """A frame has them as nulls; in a list a null is a value."""
    frame = pl.DataFrame(
        {
            "it": [[{"p": 1}, {"sku": "x"}], [{"sku": '":null'}]],
            "o": [{"a": 1, "b": None}, {"a": None, "b": [1, None]}],
        }
    )
    with headrace.index(frame, into=tmp_path) as index:
        hits = index.search("*", sort="_doc").hits
    assert [msgspec.json.decode(hit.source) for hit in hits] == [
        {"it": [{"p": 1}, {"sku": "x"}], "o": {"a": 1}},
        {"it": [{"sku": '":null'}], "o": {"b": [1, None]}},
    ]
