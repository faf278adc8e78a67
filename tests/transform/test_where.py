"""where: records for which the condition is true stay; everything else is counted."""

from __future__ import annotations

import polars as pl
import pytest

from headrace.core.errors import ConfigError
from headrace.transform import where

from .frames import context, frame_of, kept


def filtered(condition: str, frame: pl.DataFrame) -> list[int]:
    transform = where.create(condition, context())
    transform.bind(frame.schema)
    outcome = transform.apply(frame)
    assert frame.height == outcome.frame.height + outcome.dropped + len(outcome.rejections)
    return kept(outcome)


def test_null_is_not_true() -> None:
    frame = frame_of(a=[1, None, 3])
    assert filtered("a > 1", frame) == [2]
    assert filtered("not a > 1", frame) == [0]
    assert filtered("a > 1 or a is null", frame) == [1, 2]


def test_a_condition_may_be_a_constant() -> None:
    frame = frame_of(a=[1, 2])
    assert filtered("true", frame) == [0, 1]
    assert filtered("1 = 2", frame) == []
    assert filtered("null", frame) == []


def test_dates_compare_with_timestamptz() -> None:
    frame = frame_of(d=["2020-01-01", "2021-01-01"]).with_columns(
        pl.col("d").str.to_datetime(time_zone="UTC")
    )
    assert filtered("d > timestamptz '2020-06-01 00:00:00'", frame) == [1]
    assert filtered("d > date '2020-06-01'", frame) == [1]


def test_a_failing_cast_rejects_its_record_only() -> None:
    frame = frame_of(s=["1", "x", "3"])
    transform = where.create("cast(s as bigint) > 1", context())
    transform.bind(frame.schema)
    outcome = transform.apply(frame)
    assert kept(outcome) == [2]
    assert outcome.dropped == 1
    assert [(r.record, r.stage, r.reason) for r in outcome.rejections] == [(1, "step", "bad_value")]
    assert '["x"]' in outcome.rejections[0].detail


def test_records_of_another_type_are_rejected_with_the_engines_words_but_nulls_are_not() -> None:
    transform = where.create("a > 1 or a is null", context())
    transform.bind(frame_of(a=[1]).schema)
    outcome = transform.apply(frame_of(a=["x", None]))
    assert kept(outcome) == [1]
    assert [(r.record, r.reason) for r in outcome.rejections] == [(0, "wrong_type")]
    assert "cannot compare string with numeric type" in outcome.rejections[0].detail


def test_a_condition_must_be_boolean() -> None:
    with pytest.raises(
        ConfigError, match="a condition must be true or false, but 'a \\+ 1' is of type Int64"
    ):
        where.create("a + 1", context()).bind(frame_of(a=[1]).schema)


def test_an_empty_frame_stays_empty() -> None:
    transform = where.create("a > 1", context())
    transform.bind(frame_of(a=[1]).schema)
    assert transform.apply(frame_of(a=[1]).clear()).frame.is_empty()
