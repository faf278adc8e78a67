"""python: a function of a frame; its exceptions cost the records that raise them, no others."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError, Fatal
from headrace.transform import python

from .frames import assert_lawful, context, frame_of, kept

FUNCTIONS = """
import polars as pl

def double(frame):
    return frame.with_columns(twice=pl.col("a") * 2)

def strict(frame):
    if (frame["a"] == 13).any():
        raise ValueError("13 is unlucky")
    return double(frame)

def odd_only(frame):
    return frame.filter(pl.col("a") % 2 == 1)

def backwards(frame):
    return frame.reverse()

def forgets(frame):
    return frame.drop("_record")

def invents(frame):
    return frame.with_columns(pl.col("_record") + 1000)

def repeats(frame):
    return pl.concat([frame, frame])

def returns_rows(frame):
    return frame.rows()

def needs_rows(frame):
    return frame.with_columns(first=frame["a"][0])

not_a_function = 5
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "enrich.py").write_text(FUNCTIONS)
    (folder / "enrich_by_name.py").write_text(FUNCTIONS)
    (folder / "broken.py").write_text("import nowhere_to_be_found")
    return folder


def step(base: Path, name: str) -> python.Python:
    function = name if ":" in name else f"./enrich.py:{name}"
    transform = python.create(python.Settings(function=function), context(base))
    transform.bind(frame_of(a=[1]).schema)
    return transform


def test_a_function_beside_the_configuration_is_called_with_the_frame(base: Path) -> None:
    for name in ("double", "enrich_by_name:double"):
        assert step(base, name).apply(frame_of(a=[1, 2])).frame["twice"].to_list() == [2, 4]
    assert str(base) not in sys.path


def test_bind_says_what_comes_out(base: Path) -> None:
    transform = python.create(python.Settings(function="./enrich.py:double"), context(base))
    assert transform.bind(frame_of(a=[1]).schema)["twice"] == pl.Int64


def test_an_exception_costs_the_records_that_raise_it(base: Path) -> None:
    outcome = step(base, "strict").apply(frame_of(a=[1, 13, 3, 13]))
    assert outcome.frame["twice"].to_list() == [2, 6]
    assert [(r.record, r.reason, r.detail) for r in outcome.rejections] == [
        (1, "python_error", "./enrich.py:strict: ValueError: 13 is unlucky"),
        (3, "python_error", "./enrich.py:strict: ValueError: 13 is unlucky"),
    ]
    assert step(base, "strict").apply(frame_of(a=[13])).frame.is_empty()


def test_rows_left_out_are_dropped_and_the_order_is_restored(base: Path) -> None:
    outcome = step(base, "odd_only").apply(frame_of(a=[1, 2, 3]))
    assert (kept(outcome), outcome.dropped) == ([0, 2], 1)
    assert kept(step(base, "backwards").apply(frame_of(a=[1, 2, 3]))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("invents", "returned a record it was not given"),
        ("repeats", "returned a record twice"),
    ],
)
def test_a_broken_contract_stops_the_pipeline(base: Path, name: str, message: str) -> None:
    with pytest.raises(Fatal, match=message):
        step(base, name).apply(frame_of(a=[1, 2]))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("forgets", "lost or changed the column '_record'"),
        ("returns_rows", "returned list, expected a polars DataFrame"),
        ("needs_rows", "failed on an empty frame: IndexError"),
        ("./enrich.py:dubble", "has no function 'dubble', did you mean 'double'"),
        ("./enrich.py:not_a_function", "has no function 'not_a_function'"),
        ("./nowhere.py:double", "no Python file at"),
        ("./broken.py:double", "broken.py cannot be imported: ModuleNotFoundError"),
        ("nowhere_to_be_found:double", "nowhere_to_be_found cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(base: Path, function: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        step(base, function)
    assert message in str(caught.value)
    assert caught.value.path == ("function",)


@given(
    st.sampled_from(["double", "strict", "odd_only"]),
    st.lists(st.integers(0, 20), max_size=8),
    st.lists(st.integers(0, 8), max_size=3),
)
def test_any_split_gives_the_same(base: Path, name: str, values: list[int], cuts: list[int]) -> None:
    frame = frame_of(a=values).cast({"a": pl.Int64})
    assert_lawful(step(base, name), frame, cuts)
