"""Steps and pipelines under a flag: who skips, in which order, and that no split of the input shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow.harness import configured, ingester, running, until
from headrace.cli.app import USAGE, run
from headrace.core.errors import ConfigError
from headrace.core.flags import Flags, Use
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.core.registry import kind
from headrace.fields import Field
from headrace.index.tantivy.lines import numbered
from headrace.index.tantivy.rows import RowFormat
from headrace.index.tantivy.schema import build
from headrace.model import RECORD
from headrace.pipeline.plan import Plan, compile_steps
from headrace.pipeline.rollout import Gate, key_of, merged, uses
from headrace.settings import IndexConfig, PipelineConfig, Settings, StepConfig, When, loads
from headrace.settings.flagfile import read_flag_file
from headrace.testing import EOF, PAUSE, FaultyIndex, ScriptedSource
from headrace.units import Duration, Size
from tick import TickClock

ON_OFF: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
}
HALF: dict[str, Any] = ON_OFF | {"targeting": {"fractional": [["on", 50], ["off", 50]]}}
ON = ON_OFF | {"defaultVariant": "on"}
FIELDS = {"id": Field("keyword"), "n": Field("integer")}


class Options(msgspec.Struct):
    id: list[str]


def write(path: Path, **flags: Any) -> None:
    path.write_text(json.dumps({"flags": flags}))


def step(name: str, options: object, when: When | None, on_reject: Any = "dead_letter") -> StepConfig:
    made = msgspec.convert(options, kind("transform", name).settings_type)
    return StepConfig(name, name, made, on_reject, when)


def plan(
    folder: Path,
    *steps: StepConfig,
    fields: Mapping[str, Field] = FIELDS,
    key: Sequence[str] = ("id",),
    **flags: Any,
) -> Plan:
    write(folder / "flags.json", **flags)
    named = tuple(replace(each, name=f"{each.kind}{number}") for number, each in enumerate(steps))
    config = PipelineConfig("p", "files", None, named, "i", Duration("1s"), Size(1), 1, Size(1), 1)
    whole = Settings(
        folder,
        folder,
        flags=folder / "flags.json",
        indexes={"i": IndexConfig("i", "tantivy", Options(list(key)))},
        pipelines={"p": config},
    )
    clock = TickClock()
    made = Flags(
        folder / "flags.json",
        uses(whole),
        read=read_flag_file,
        clock=clock,
        metrics=Metrics(),
        health=Health(clock),
    )
    return compile_steps(config, whole, None, fields=fields, clock=clock, flags=made)


def frame(ids: Sequence[str | None], first: int = 0) -> pl.DataFrame:
    numbers = pl.Series(range(first, first + len(ids)), dtype=pl.Int64)
    return pl.DataFrame(
        {"id": pl.Series(ids, dtype=pl.String), "n": numbers, RECORD: numbers},
    )


def documents(frames: Sequence[pl.DataFrame]) -> list[str]:
    """What the index would keep of each record, byte for byte, in record order."""
    found: dict[int, str] = {}
    schema = build({})
    for each in numbered(tuple(frames)):
        rows = RowFormat(schema, (), "true").render(each).frame
        found |= dict(zip(rows[RECORD], rows["_source"], strict=True))
    return [f"{record}: {found[record]}" for record in sorted(found)]


class TestASplitStep:
    def test_is_skipped_by_those_the_flag_is_off_for_in_order(self, tmp_path: Path) -> None:
        steps = plan(tmp_path, step("set", {"twice": "n * 2"}, When(flag="half")), half=HALF)
        passed = steps.run([frame([f"k{n}" for n in range(20)])])
        (out,) = passed.frames
        assert list(range(20)) == out[RECORD].to_list()
        on = out.filter(pl.col("twice").is_not_null())
        assert 0 < on.height < 20
        assert on["n"].to_list() == [n // 2 for n in on["twice"]]

    @pytest.mark.parametrize(("flag", "expected"), [(ON, [0, 2, 4]), (ON_OFF, [None, None, None])])
    def test_is_for_all_or_none_under_a_plain_flag(
        self, tmp_path: Path, flag: Any, expected: list[int | None]
    ) -> None:
        steps = plan(tmp_path, step("set", {"twice": "n * 2"}, When(flag="f")), f=flag)
        (out,) = steps.run([frame(["a", "b", "c"])]).frames
        assert expected == (out["twice"].to_list() if "twice" in out.columns else [None] * 3)

    def test_rejects_and_drops_only_among_those_it_sees(self, tmp_path: Path) -> None:
        where = step("where", "n < 0", When(flag="half"))
        check = step("validate", {"n": {"max": 3}}, When(flag="half", key="n"))
        passed = plan(tmp_path, check, where, half=HALF).run([frame([f"k{n}" for n in range(40)])])
        kept = [record for each in passed.frames for record in each[RECORD]]
        assert 40 == len(kept) + passed.dropped + len(passed.rejections)
        assert 0 < passed.dropped < 40
        assert 0 < len(passed.rejections) < 40
        assert {"validate0"} == {rejection.stage for rejection in passed.rejections}

    def test_that_changes_a_fields_type_leaves_two_frames(self, tmp_path: Path) -> None:
        steps = plan(tmp_path, step("set", {"n": "'x'"}, When(flag="half")), half=HALF)
        passed = steps.run([frame([f"k{n}" for n in range(20)])])
        assert {pl.String(), pl.Int64()} == {each.schema["n"] for each in passed.frames}
        assert list(range(20)) == sorted(r for each in passed.frames for r in each[RECORD])

    def test_a_batch_is_decided_by_one_state_of_the_file(self, tmp_path: Path) -> None:
        steps = plan(
            tmp_path,
            step("set", {"a": "1"}, When(flag="f")),
            step("set", {"b": "1"}, When(flag="f")),
            f=ON,
        )
        gate = steps.steps[0].gate
        assert gate is not None
        clock = cast("TickClock", gate.flags._clock)

        class Changing(list[pl.DataFrame]):
            def __iter__(self) -> Any:
                for each in super().__iter__():
                    write(tmp_path / "flags.json", f=ON_OFF)
                    clock.advance(5)
                    yield each

        first = steps.run(Changing([frame(["a"]), frame(["b"], 1)]))
        assert [["id", "n", "a", "b"]] * 2 == [[c for c in f.columns if c != RECORD] for f in first.frames]
        second = steps.run([frame(["a"])])
        assert ["id", "n"] == [c for c in second.frames[0].columns if c != RECORD]


CHAINS: dict[str, Any] = {
    "set": [("set", {"twice": "n * 2"})],
    "set another type": [("set", {"n": "'x'"}), ("set", {"m": "1"})],
    "rename then set": [("rename", {"n": "m"}), ("set", {"late": "m > 3"})],
    "drop": [("drop", ["n"]), ("set", {"late": "id is not null"})],
    "a field that others lack": [("set", {"m": "n"}), ("set", {"late": "m > 3"}), ("set", {"later": "late"})],
    "filter": [("where", "n > 2"), ("set", {"twice": "n * 2"})],
    "reject": [("validate", {"n": {"max": 5}}), ("set", {"twice": "n * 2"})],
}


class TestAnySplitOfTheInput:
    """Law: records take the same way whatever batch they come in, whatever their neighbours are."""

    @pytest.mark.parametrize("chain", CHAINS)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        ids=st.lists(st.none() | st.sampled_from([f"k{n}" for n in range(12)]), max_size=14),
        cuts=st.lists(st.integers(0, 14), max_size=4),
        gated=st.integers(1, 3),
    )
    def test_gives_the_same_documents_rejections_and_counts(
        self, tmp_path: Path, chain: str, ids: list[str | None], cuts: list[int], gated: int
    ) -> None:
        steps = [
            step(name, options, When(flag="half") if gated >> number & 1 else None)
            for number, (name, options) in enumerate(CHAINS[chain])
        ]
        made = plan(tmp_path, *steps, half=HALF)
        whole = frame(ids)
        places = sorted({0, *(cut for cut in cuts if cut <= len(ids)), len(ids)})
        parts = [whole[start:end] for start, end in pairwise(places)]
        once = made.run([whole])
        several = [made.run([part]) for part in parts]
        assert documents(once.frames) == documents([each for part in several for each in part.frames])
        assert sorted(r.record for r in once.rejections) == sorted(
            r.record for part in several for r in part.rejections
        )
        assert once.dropped == sum(part.dropped for part in several)
        assert len(ids) == sum(f.height for f in once.frames) + len(once.rejections) + once.dropped


class TestTheKey:
    """By default it is the document's `_id`, so that others can ask flagd for the same record."""

    @pytest.mark.parametrize(
        ("declared", "values"),
        [
            ({"a": "keyword"}, {"a": ["x", None, "ü|"]}),
            ({"a": "integer"}, {"a": [7, -1, None]}),
            ({"a": "integer"}, {"a": ["7", "x", None]}),
            ({"a": "keyword"}, {"a": [7, 8, 9]}),
            ({"a": "boolean"}, {"a": [True, False, None]}),
            ({"a": "date"}, {"a": ["2026-01-01T00:00:00Z", "2026-01-01", "?"]}),
            ({"a": "keyword", "b": "integer"}, {"a": ["x|y", "x", "\\"], "b": [1, None, 3]}),
            ({}, {"a": [{"b": "inner"}, {"b": None}, None]}),
        ],
    )
    def test_is_spelt_as_the_index_spells_the_id(
        self, tmp_path: Path, declared: dict[str, str], values: dict[str, list[Any]]
    ) -> None:
        fields = {name: Field(given) for name, given in declared.items()}
        key = tuple(values) if declared else ("a.b",)
        given = pl.DataFrame(values).with_row_index(RECORD).cast({RECORD: pl.Int64})
        rows = RowFormat(build(fields), key, "true").render(numbered((given,))[0])
        gate = Gate(_no_flags(tmp_path), Use("f", "p", "s"), key, fields)
        keys = dict(zip(given[RECORD], gate.keys(given), strict=True))
        assert dict(zip(rows.frame[RECORD], rows.frame["_id"], strict=True)) == {
            record: text for record, text in keys.items() if text is not None
        }

    def test_declared_and_unknown_is_an_error_with_the_nearest_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"when\.key: unknown field 'idd', did you mean 'id'"):
            plan(tmp_path, step("set", {"a": "n"}, When(flag="half", key="idd")), half=HALF)

    def test_of_floats_is_refused(self, tmp_path: Path) -> None:
        floating = step("set", {"a": "n"}, When(flag="half", key="x"))
        with pytest.raises(ConfigError, match="field 'x' is of type Float64, which cannot be a key"):
            plan(tmp_path, floating, fields=FIELDS | {"x": Field("float")}, half=HALF)

    def test_that_is_null_takes_the_default(self, tmp_path: Path) -> None:
        steps = plan(tmp_path, step("set", {"a": "n"}, When(flag="half")), half=HALF | ON | {"targeting": HALF["targeting"]})  # fmt: skip
        (out,) = steps.run([frame([None, None])]).frames
        assert [0, 1] == out["a"].to_list()


def _no_flags(folder: Path) -> Flags:
    clock = TickClock()
    return Flags(
        folder / "none.json", [], read=read_flag_file, clock=clock, metrics=Metrics(), health=Health(clock)
    )


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_merged_orders_keep_both(first: list[str], second: list[str]) -> None:
    order = merged(first, second)
    shared = [[name for name in one if name in other] for one, other in ((first, second), (second, first))]
    assert (order is None) == (shared[0] != shared[1])
    if order is not None:
        assert first == [name for name in order if name in first]
        assert second == [name for name in order if name in second]
        assert sorted({*first, *second}) == sorted(order)


@pytest.mark.anyio
async def test_a_pipeline_whose_flag_is_off_does_not_read_and_resumes(tmp_path: Path) -> None:
    """What its source brings after the flag went off is held, and what was read before is indexed."""
    write(tmp_path / "flags.json", f=ON)
    base = configured(tmp_path, {"p": "i"})
    switched = replace(
        base, flags=tmp_path / "flags.json", pipelines={"p": replace(base.pipelines["p"], when="f")}
    )
    source = ScriptedSource([{"n": 0}], PAUSE, [{"n": 1}], [{"n": 2}], EOF)
    index = FaultyIndex()
    flow = ingester(switched, {"p": source}, {"i": index})
    async with running(flow):
        await until(lambda: len(index.rows) == 1)
        write(tmp_path / "flags.json", f=ON_OFF)
        await until(lambda: flow.flags is not None and flow.flags.status().flags[0].used_by[0].state == "off")
        source.resume()
        component = flow.health.snapshot().components
        await until(lambda: flow.health.snapshot().components["pipeline:p"].reason == "paused by flag f")
        component = flow.health.snapshot().components
        assert State.READY is component["pipeline:p"].state
        assert (2, 1) == (source.delivered, len(index.rows))
        write(tmp_path / "flags.json", f=ON)
        await until(lambda: len(index.rows) == 3)
    assert State.FINISHED is flow.health.snapshot().components["pipeline:p"].state


@pytest.mark.anyio
@pytest.mark.parametrize("flag", [ON, ON_OFF])
async def test_a_single_pass_ends_without_a_pipeline_that_is_off(tmp_path: Path, flag: Any) -> None:
    """What it read before its flag went off is committed; the rest is left to the next run."""
    write(tmp_path / "flags.json", f=flag)
    base = configured(tmp_path, {"p": "i", "q": "j"})
    pipelines = {**base.pipelines, "p": replace(base.pipelines["p"], when="f")}
    switched = replace(base, flags=tmp_path / "flags.json", pipelines=pipelines)
    source = ScriptedSource([{"n": 0}], PAUSE, [{"n": 1}], EOF)
    indexes = {"i": FaultyIndex(), "j": FaultyIndex()}
    flow = ingester(switched, {"p": source, "q": ScriptedSource([{"n": 0}], EOF)}, indexes)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: flow.run(until_finished=True))
        if flag is ON:
            await until(lambda: len(indexes["i"].rows) == 1)
            write(tmp_path / "flags.json", f=ON_OFF)
            await until(lambda: flow.flags is not None and not flow.flags.is_on(Use("f", "p")))
            source.resume()
    assert (1 if flag is ON else 0, 1) == (len(indexes["i"].rows), len(indexes["j"].rows))


@pytest.mark.anyio
async def test_a_pipeline_that_is_off_from_the_start_does_not_open_its_source_and_drains(
    tmp_path: Path,
) -> None:
    base = configured(tmp_path, {"p": "i", "q": "j"})
    pipelines = {**base.pipelines, "p": replace(base.pipelines["p"], when="f")}
    switched = replace(base, flags=tmp_path / "flags.json", pipelines=pipelines)
    sources = {name: ScriptedSource([{"n": 0}], PAUSE) for name in "pq"}
    indexes = {"i": FaultyIndex(), "j": FaultyIndex()}
    flow = ingester(switched, sources, indexes)
    async with running(flow):
        await until(lambda: len(indexes["j"].rows) == 1)
        assert "paused by flag f" == flow.health.snapshot().components["pipeline:p"].reason
        assert 0 == sources["p"].delivered
    assert [] == indexes["i"].rows


DESIGN = """\
data_dir: ./data
server: { host: 127.0.0.1, port: 7223 }
flags: flags.yaml
indexes:
  flights:
    type: tantivy
    id: [carrier, flight, time_hour]
    dynamic: true
    fields: { origin: keyword, time_hour: date, dep_delay: float, airline: text }
pipelines:
  flights:
    source: { type: files, paths: ["flights.csv.zip"], format: csv, null_values: [NA] }
    transform:
      - validate: { dep_delay: { min: -120, max: 2000 }, origin: { one_of: [JFK, LGA, EWR] } }
      - lookup:   { key: carrier, table: airlines.csv, add: { airline: name } }
      - set:      { late: "dep_delay > 15" }
        when: late-flag
      - where:    "month between 1 and 12"
    index: flights
"""


def test_the_design_s_own_example_loads_once_it_names_a_flag_file(tmp_path: Path) -> None:
    flights = loads(DESIGN, base=tmp_path)
    (use,) = uses(flights)
    assert Use("late-flag", "flights", "set") == use
    assert ("carrier", "flight", "time_hour") == key_of(
        flights.pipelines["flights"].steps[2], flights.pipelines["flights"], flights
    )
    with pytest.raises(ConfigError, match=r":1[4-7]: .*'when' needs a flag file: say `flags: FILE`"):
        loads(DESIGN.replace("flags: flags.yaml\n", ""), base=tmp_path)


CONFIGURATION = """\
flags: flags.json
indexes:
  sales: {type: tantivy, fields: {order: keyword}}
pipelines:
  sales:
    source: {type: files, paths: [sales.ndjson]}
    transform:
      - set: {a: "1"}
        when: WHEN
    index: sales
"""


@pytest.mark.parametrize(
    ("when", "flags", "code", "expected"),
    [
        ("dear", {"dear": ON}, 0, "delivery"),
        ("dear", None, 0, "note            the flag file flags.json is missing: every flag is off until"),
        ("deer", {"dear": ON}, USAGE, "[0].when: there is no flag 'deer', did you mean 'dear'? (have: dear), in"),
        ("deer", {"dear": ON}, USAGE, "p.yaml:9: "),
        ("dear", {"dear": HALF}, USAGE, "has none: say when: {flag: dear, key: FIELD}"),
        ("{flag: dear, key: order}", {"dear": HALF}, 0, "delivery"),
        ("{flag: dear, key: oder}", {"dear": HALF}, USAGE, "transform[0].when.key: unknown field 'oder', did you"),
        ("dear", {"dear": {"state": "?"}}, USAGE, "p.yaml:1: flags: flags.json: not a flagd flag file"),
    ],
)  # fmt: skip
def test_check_knows_the_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], when: str, flags: Any, code: int, expected: str
) -> None:
    (tmp_path / "sales.ndjson").write_text('{"order": "a"}\n')
    (tmp_path / "p.yaml").write_text(CONFIGURATION.replace("WHEN", when))
    if flags is not None:
        write(tmp_path / "flags.json", **flags)
    assert code == run(["check", str(tmp_path / "p.yaml")])
    told = capsys.readouterr()
    assert expected in told.out + told.err
