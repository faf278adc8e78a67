"""The compiled steps of a pipeline: bound to sample and declared fields, and what becomes of rejections."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import SystemClock
from headrace.core.errors import ConfigError, Fatal
from headrace.fields import Field
from headrace.model import RECORD
from headrace.pipeline.plan import Plan, compile_steps, merged_schema
from headrace.settings import Origin, PipelineConfig, Settings, StepConfig
from headrace.settings.origin import Path_
from headrace.settings.types import OnReject
from headrace.units import Duration, Size

FIELDS = {"price": Field("float"), "name": Field("keyword"), "meta": Field("json")}


def plan(*steps: StepConfig) -> Plan:
    config = PipelineConfig("p", "files", None, steps, "i", Duration("1s"), Size(1), 1, Size(1), 1)
    lines: dict[Path_, int] = {("pipelines", "p", "transform", 1, "set"): 14}
    settings = Settings(Path("/data"), Path("/"), origin=Origin("p.yaml", None, lines))
    return compile_steps(config, settings, None, fields=FIELDS, clock=SystemClock())


def step(kind: str, options: object, on_reject: OnReject = "dead_letter") -> StepConfig:
    return StepConfig(kind, kind, options, on_reject)


def frame(**columns: object) -> pl.DataFrame:
    made = pl.DataFrame(columns)
    return made.with_columns(pl.int_range(made.height, dtype=pl.Int64).alias(RECORD))


def test_steps_run_one_after_the_other() -> None:
    steps = plan(step("set", {"twice": "price * 2"}), step("where", "twice > 3"))
    outcome = steps.run([frame(price=[1.0, 2.0])])
    assert ([4.0], 1) == (outcome.frames[0]["twice"].to_list(), outcome.dropped)


def test_a_declared_field_that_a_frame_lacks_is_null_for_the_steps_and_absent_afterwards() -> None:
    outcome = plan(step("set", {"named": "name is not null"})).run([frame(price=[1.0])])
    assert {"price": 1.0, "named": False, RECORD: 0} == outcome.frames[0].row(0, named=True)


def test_a_field_that_a_step_fills_stays() -> None:
    outcome = plan(step("set", {"name": "'x'"})).run([frame(price=[1.0])])
    assert ["x"] == outcome.frames[0]["name"].to_list()


def test_an_error_names_the_line_of_its_step() -> None:
    with pytest.raises(ConfigError, match=r"^p.yaml:14: pipelines.p.transform\[1\].set.b: .*'price'"):
        plan(step("set", {"a": "price"}), step("set", {"b": "pirce"}))


@pytest.mark.parametrize(("on_reject", "rejected", "dropped"), [("dead_letter", 1, 0), ("drop", 0, 1)])
def test_rejected_records_become_dead_letters_or_are_dropped(
    on_reject: OnReject, rejected: int, dropped: int
) -> None:
    outcome = plan(step("set", {"n": "cast(name as integer)"}, on_reject)).run([frame(name=["1", "x"])])
    assert (1, rejected, dropped) == (outcome.frames[0].height, len(outcome.rejections), outcome.dropped)


def test_a_rejection_stops_the_pipeline_where_the_step_says_so() -> None:
    with pytest.raises(Fatal, match=r"step 'set' rejected record 1 .* on_reject: fail"):
        plan(step("set", {"n": "cast(name as integer)"}, "fail")).run([frame(name=["1", "x"])])


def test_the_schema_has_the_columns_of_sample_and_declaration() -> None:
    sample = [
        pl.Schema({"price": pl.Null(), "x": pl.Int64()}),
        pl.Schema({"x": pl.String(), "name": pl.Int64()}),
    ]
    merged = merged_schema(sample, FIELDS)
    assert [pl.Float64(), pl.Int64(), pl.Int64(), pl.Null()] == [
        merged[n] for n in ("price", "x", "name", "meta")
    ]


@given(st.lists(st.sampled_from(["1", "2", "x", None]), max_size=12), st.integers(0, 12))
def test_every_row_is_in_exactly_one_place_however_the_input_is_split(
    names: list[str | None], cut: int
) -> None:
    steps = plan(step("set", {"n": "cast(name as integer)"}), step("where", "n = 1"))
    whole = frame(name=pl.Series(names, dtype=pl.String))
    parts = [steps.run([part]) for part in (whole[:cut], whole[cut:])]
    once = steps.run([whole])
    assert whole.height == once.frames[0].height + len(once.rejections) + once.dropped
    assert once.dropped == sum(part.dropped for part in parts)
    assert once.frames[0][RECORD].to_list() == [record for part in parts for record in part.frames[0][RECORD]]
    assert [r.record for r in once.rejections] == [r.record for part in parts for r in part.rejections]
