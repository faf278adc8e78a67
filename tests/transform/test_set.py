"""set: fields become what their expressions give, in declared order; a record without a result is rejected."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from headrace.core.errors import ConfigError
from headrace.model import RESERVED
from headrace.transform import set as set_step
from headrace.transform.base import Outcome

from .frames import context, frame_of, kept


def apply(texts: dict[str, str], frame: pl.DataFrame, bound: pl.DataFrame | None = None) -> Outcome:
    transform = set_step.create(texts, context())
    schema = transform.bind((frame if bound is None else bound).schema)
    outcome = transform.apply(frame)
    assert frame.height == outcome.frame.height + len(outcome.rejections)
    for name in texts:
        assert schema[name] == outcome.frame.schema[name]
    return outcome


def test_a_later_expression_sees_an_earlier_result() -> None:
    outcome = apply({"b": "a + 1", "c": "b * 2", "a": "a + 100", "d": "a"}, frame_of(a=[1]))
    assert outcome.frame.row(0, named=True) == {"_record": 0, "a": 101, "b": 2, "c": 4, "d": 101}


def test_a_constant_fills_every_record() -> None:
    assert apply({"kind": "'flight'"}, frame_of(a=[1, 2])).frame["kind"].to_list() == ["flight"] * 2


def test_a_result_that_is_not_finite_rejects_the_record() -> None:
    outcome = apply({"r": "10 / a"}, frame_of(a=[1, 0, None]))
    assert outcome.frame["r"].to_list() == [10.0, None]
    assert [(r.record, r.reason, r.detail) for r in outcome.rejections] == [
        (1, "bad_value", "r: '10 / a' gave inf, which no index can hold")
    ]


def test_a_failing_cast_rejects_the_record_and_costs_no_other() -> None:
    values = [str(n) for n in range(1000)]
    values[3] = values[777] = "NA"
    outcome = apply({"n": "cast(s as bigint)"}, frame_of(s=values))
    assert [r.record for r in outcome.rejections] == [3, 777]
    assert outcome.frame.height == 998
    assert outcome.frame["n"].to_list() == [n for n in range(1000) if n not in {3, 777}]


def test_one_bad_record_costs_logarithmically_many_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [str(n) for n in range(4096)]
    values[1234] = "NA"
    transform = set_step.create({"n": "cast(s as bigint)"}, context())
    transform.bind(frame_of(s=values).schema)
    runs: list[int] = []
    run = transform._program._run

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        runs.append(frame.height)
        return run(frame)

    monkeypatch.setattr(transform._program, "_run", counted)
    assert transform.apply(frame_of(s=values)).frame.height == 4095
    assert len(runs) <= 2 * 12 + 4


def test_integers_in_a_float_field_give_floats_where_they_are_exact() -> None:
    bound = frame_of(a=[1.5])
    outcome = apply({"b": "a + 1"}, frame_of(a=[1, 2**53 + 4]), bound)
    assert outcome.frame["b"].to_list() == [2.0]
    assert [(r.record, r.reason) for r in outcome.rejections] == [(1, "wrong_type")]


def test_texts_in_a_number_field_reject_those_records_only() -> None:
    outcome = apply({"b": "a + 1"}, frame_of(a=["x", None]), frame_of(a=[1]))
    assert kept(outcome) == [1]
    assert outcome.rejections[0].reason == "wrong_type"
    assert "arithmetic on dtypes str" in outcome.rejections[0].detail


def test_every_record_of_a_wrong_type_is_rejected_at_the_price_of_one() -> None:
    outcome = apply({"b": "upper(a)"}, frame_of(a=list(range(50_000))), frame_of(a=["x"]))
    assert len(outcome.rejections) == 50_000


def test_dates_are_truncated_and_printed() -> None:
    frame = pl.DataFrame({"_record": [0], "d": [datetime(2024, 5, 6, 7, tzinfo=UTC)]})
    outcome = apply({"y": "year(d)", "m": "strftime(d, '%Y-%m')", "n": "d + interval '1 day'"}, frame)
    assert outcome.frame.row(0)[2:] == (2024, "2024-05", datetime(2024, 5, 7, 7, tzinfo=UTC))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_fields_cannot_be_set(name: str) -> None:
    with pytest.raises(ConfigError, match="belongs to headrace") as caught:
        set_step.create({name: "1"}, context())
    assert caught.value.path == (name,)


def test_an_error_leads_to_the_field_whose_expression_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"unknown field 'dep_dely' at line 2, column 1") as caught:
        set_step.create({"ok": "1", "late": "15 <\ndep_dely"}, context()).bind(frame_of(dep_delay=[1]).schema)
    assert caught.value.path == ("late",)
    with pytest.raises(ConfigError, match="looks at other records") as caught:
        set_step.create({"late": "avg(a)"}, context())
    assert caught.value.path == ("late",)
