"""Flow tests: a property of the running pipeline each, around scripted sources and faulty indexes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.harness import configured, ingester, running, until
from headrace.core.errors import Retryable
from headrace.core.health import State
from headrace.layout import dead_letter_file
from headrace.model import Batch, Ledger, Position, RawBatch, Rejection
from headrace.pipeline.capacities import WANTED_SECONDS
from headrace.pipeline.deadletter import DeadLetterView
from headrace.settings import StepConfig
from headrace.testing import ABORT, EOF, PAUSE, FaultyIndex, Row, ScriptedSource, Step
from headrace.transform import validate

pytestmark = pytest.mark.anyio


def batches(count: int, size: int = 3) -> list[list[Row]]:
    return [[{"n": batch * size + row} for row in range(size)] for batch in range(count)]


def numbers(index: FaultyIndex) -> list[object]:
    """What is committed; and no run read again what was committed before it."""
    assert index.replayed == 0
    return [row["n"] for row in index.rows]


async def test_everything_arrives_in_order_and_the_pipeline_finishes(tmp_path: Path) -> None:
    source, index = ScriptedSource(*batches(20), EOF), FaultyIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(60))
    assert flow.health.snapshot().components["pipeline:p"].state is State.FINISHED
    assert index.positions == {("p", "script#0"): Position(60, {"scripted": True})}


async def test_a_stalled_index_stops_the_reader_at_the_exact_bound(tmp_path: Path) -> None:
    """With room for 4 records between stages and batches of 2: 1 in the writer, 2 before it (4 records),
    1 at the door of that channel, 2 in the first channel, 1 at its door: 7 batches are read, no more."""
    source, index = ScriptedSource(*batches(50, size=2), EOF), FaultyIndex()
    index.stall()
    settings = configured(tmp_path, {"p": "i"}, channel_records=4)
    async with running(ingester(settings, {"p": source}, {"i": index})):
        await until(lambda: source.delivered >= 7)
        await anyio.sleep(0.05)
        assert source.delivered == 7
        index.go_on()
        await until(lambda: len(index.rows) == 100)


async def test_a_source_that_keeps_up_has_one_batch_waiting_and_no_more(tmp_path: Path) -> None:
    """One is in the stalled writer; the next is read because others might keep that index busy for ever."""
    script = [step for rows in batches(20, size=2) for step in (rows, PAUSE)]
    source, index = ScriptedSource(*script, EOF), FaultyIndex()
    source.resume()
    index.stall()
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})):
        await until(lambda: source.delivered == 2)
        await anyio.sleep(3 * WANTED_SECONDS)
        assert source.delivered == 2
        index.go_on()
        await until(lambda: len(index.rows) == 40)


async def test_the_memory_budget_stops_all_readers(tmp_path: Path) -> None:
    """A budget of one batch: one is in flight, and each reader stands at the door with one more."""
    budget = 64_000
    large: list[list[Row]] = [[{"n": number, "pad": "x" * budget}] for number in range(10)]
    sources = {name: ScriptedSource(*large, EOF) for name in "pq"}
    index = FaultyIndex()
    index.stall()
    flow = ingester(configured(tmp_path, {"p": "i", "q": "i"}, in_flight=budget), sources, {"i": index})
    async with running(flow):
        await until(lambda: sum(source.delivered for source in sources.values()) == 3)
        await anyio.sleep(0.05)
        assert sum(source.delivered for source in sources.values()) == 3
        index.go_on()
        await until(lambda: len(index.rows) == 20)


async def test_a_drain_under_load_loses_nothing(tmp_path: Path) -> None:
    """What was read before the drain is committed; what was not is read at the next start."""
    index = FaultyIndex()
    first = ScriptedSource(*batches(200), EOF)
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": first}, {"i": index})):
        await until(lambda: first.delivered > 20)
    committed = index.positions["p", "script#0"].record
    assert numbers(index) == list(range(committed))
    again = ScriptedSource(*batches(200), EOF)
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": again}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(600))
    assert again.opened[0]["script#0"].record == committed


async def test_a_drain_that_takes_too_long_ends_anyway(tmp_path: Path) -> None:
    index = FaultyIndex()
    source = ScriptedSource(*batches(10), EOF)
    index.stall()
    settings = configured(tmp_path, {"p": "i"}, drain_timeout="50ms")
    with anyio.fail_after(3):
        async with running(ingester(settings, {"p": source}, {"i": index})):
            await until(lambda: source.delivered > 2)
    assert index.rows == []


@pytest.mark.parametrize(("writes", "commits"), [(1, 0), (0, 1), (2, 3)])
async def test_a_rollback_loses_and_doubles_nothing(tmp_path: Path, writes: int, commits: int) -> None:
    """FaultyIndex raises when a row is written twice; the run starts again after the committed position."""
    source, index = ScriptedSource(*batches(30), EOF), FaultyIndex(fail_writes=writes, fail_commits=commits)
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(90))
    assert len(source.opened) > 1


async def test_a_rollback_rewinds_every_pipeline_of_the_index(tmp_path: Path) -> None:
    sources = {name: ScriptedSource(*batches(20), EOF) for name in "pq"}
    index = FaultyIndex(fail_writes=3, fail_commits=2)
    flow = ingester(configured(tmp_path, {"p": "i", "q": "i"}), sources, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == [*range(60), *range(60)]


async def test_a_source_that_fails_for_now_goes_on_where_it_was(tmp_path: Path) -> None:
    script = batches(4)
    source, index = ScriptedSource(script[0], ABORT, script[1], ABORT, *script[2:], EOF), FaultyIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(12))


async def test_one_failing_pipeline_never_stops_the_others(tmp_path: Path) -> None:
    """The second pipeline's expression needs a column that is nowhere: it fails for good and says why."""
    settings = configured(tmp_path, {"good": "i", "bad": "j"})
    broken = StepConfig("where", "where", "no_such_field > 1")
    pipelines = {**settings.pipelines, "bad": replace(settings.pipelines["bad"], steps=(broken,))}
    settings = replace(settings, pipelines=pipelines)
    indexes = {"i": FaultyIndex(), "j": FaultyIndex()}
    sources = {"good": ScriptedSource(*batches(5), EOF), "bad": ScriptedSource(*batches(5), EOF)}
    flow = ingester(settings, sources, indexes)
    await flow.run(until_finished=True)
    assert numbers(indexes["i"]) == list(range(15))
    bad = flow.health.snapshot().components["pipeline:bad"]
    assert (bad.state, "no_such_field" in bad.reason) == (State.FAILED, True)


async def test_a_field_that_was_there_once_is_no_misspelling_after_a_restart(tmp_path: Path) -> None:
    """The first start's sample has `rare`, the second's has not: its expressions still hold."""
    step = StepConfig("set", "set", {"more": "rare + 1"})
    index = FaultyIndex()
    settings = configured(tmp_path, {"p": "i"}, steps=(step,))
    first = ScriptedSource([{"n": 1, "rare": 5}], EOF, partition="a#0")
    await ingester(settings, {"p": first}, {"i": index}).run(until_finished=True)
    second = ScriptedSource([{"n": 2}], EOF, partition="b#0")
    await ingester(settings, {"p": second}, {"i": index}).run(until_finished=True)
    assert [(row["n"], row.get("more")) for row in index.rows] == [(1, 6), (2, None)]


async def test_a_rejected_record_costs_no_other_and_carries_its_reason(tmp_path: Path) -> None:
    rows: list[Row] = [{"n": 1, "bad": None}, {"n": 2, "bad": "x"}, {"n": 3, "bad": None}]
    source, index = ScriptedSource(rows, EOF), FaultyIndex(reject="bad")
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == [1, 3]
    assert flow.owners["i"].watermarks.ledgers["p", "script#0"] == Ledger(read=3, indexed=2, rejected=1)
    (letter,) = DeadLetterView(dead_letter_file(tmp_path)).list()
    assert (letter.stage, letter.reason, letter.record) == ("index", "wrong_type", 1)
    assert letter.original == b'{"n":2,"bad":"x"}'


async def test_dead_letters_at_their_limit_pause_the_pipeline(tmp_path: Path) -> None:
    """Nothing is thrown away: the pipeline waits, degraded, and says what to do."""
    bad: list[list[Row]] = [[{"n": number, "bad": "x"}] for number in range(10)]
    step = StepConfig("where", "where", "n >= 0")
    source, index = ScriptedSource(*bad, EOF), FaultyIndex()
    options = msgspec.convert({"n": {"max": -1}}, validate.Settings)
    refusing = StepConfig("validate", "validate", options)
    settings = configured(tmp_path, {"p": "i"}, steps=(step, refusing), dead_letter_limit=3)
    flow = ingester(settings, {"p": source}, {"i": index})
    async with running(flow):
        await until(lambda: flow.health.snapshot().components["pipeline:p"].state is State.DEGRADED)
        assert "dead_letter_limit" in flow.health.snapshot().components["pipeline:p"].reason
        await until(lambda: flow.dead_letters.count("p") >= 3)


async def test_an_idle_source_is_committed_at_once_whatever_the_interval(tmp_path: Path) -> None:
    source, index = ScriptedSource(*batches(3), PAUSE, EOF), FaultyIndex()
    settings = configured(tmp_path, {"p": "i"}, commit_interval="1h")
    async with running(ingester(settings, {"p": source}, {"i": index})):
        await until(lambda: len(index.rows) == 9)
        assert index.commits <= 3
        source.resume()


async def test_under_load_a_commit_waits_for_the_interval_and_takes_what_has_come(tmp_path: Path) -> None:
    """No batch says that the source has caught up: with an interval of an hour only the end commits."""
    source, index = ScriptedSource(*batches(50), EOF), FaultyIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}, commit_interval="1h"), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert (index.commits, len(index.rows)) == (1, 150)


async def test_a_commit_comes_within_the_interval_though_the_source_never_pauses(tmp_path: Path) -> None:
    source, index = ScriptedSource(*batches(3)), FaultyIndex()
    settings = configured(tmp_path, {"p": "i"}, commit_interval="20ms")
    async with running(ingester(settings, {"p": source}, {"i": index})):
        await until(lambda: len(index.rows) == 9)


class Buggy(ScriptedSource):
    """A source with a bug: its second batch is none."""

    async def read(self) -> RawBatch:
        if self.delivered:
            return None  # type: ignore[return-value]
        return await super().read()


async def test_a_bug_in_one_component_ends_its_pipeline_and_no_other(tmp_path: Path) -> None:
    sources = {"good": ScriptedSource(*batches(5), EOF), "bad": Buggy(*batches(5), EOF)}
    indexes = {"i": FaultyIndex(), "j": FaultyIndex()}
    flow = ingester(configured(tmp_path, {"good": "i", "bad": "j"}), sources, indexes)
    await flow.run(until_finished=True)
    assert numbers(indexes["i"]) == list(range(15))
    assert flow.health.snapshot().components["pipeline:bad"].state is State.FAILED


class AwayIndex(FaultyIndex):
    """An index whose writer cannot be opened for a while: it says so before it writes anything."""

    away = 2

    async def write(self, batch: Batch) -> list[Rejection]:
        if self.away:
            self.away -= 1
            raise Retryable("cannot open a writer")
        return await super().write(batch)


async def test_an_index_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    source, index = ScriptedSource(*batches(5), EOF), AwayIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(15))


async def test_positions_are_acknowledged_only_when_durable(tmp_path: Path) -> None:
    source, index = ScriptedSource(*batches(2), PAUSE, *batches(1)), FaultyIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})
    async with running(flow):
        await until(lambda: "script#0" in source.acknowledged)
        assert source.acknowledged["script#0"].record <= index.positions["p", "script#0"].record


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    writes=st.integers(0, 3),
    commits=st.integers(0, 3),
    aborts=st.sets(st.integers(0, 11)),
)
async def test_any_batches_and_any_faults_give_the_same_index(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], writes: int, commits: int, aborts: set[int]
) -> None:
    script: list[list[Row] | Step] = []
    number = 0
    for at, size in enumerate(sizes):
        if at in aborts:
            script.append(ABORT)
        script.append([{"n": number + row} for row in range(size)])
        number += size
    source = ScriptedSource(*script, EOF)
    index = FaultyIndex(fail_writes=writes, fail_commits=commits)
    flow = ingester(configured(tmp_path_factory.mktemp("flow"), {"p": "i"}), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert numbers(index) == list(range(number))
