"""A pipeline whose peers are away: it waits where it is, loses nothing, and stops when told to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from flow.harness import QUICK, configured, ingester, running, until
from headrace.app import Ingester, build_ingester
from headrace.core.errors import Retryable
from headrace.core.health import Health, State
from headrace.core.metrics import Metrics
from headrace.core.retry import RetryPolicy
from headrace.index.base import Index
from headrace.model import Position, Watermarks
from headrace.settings import StepConfig
from headrace.testing import EOF, PAUSE, FaultyIndex, Row, ScriptedSource
from headrace.transform import http_lookup, lookup
from headrace.units import decode
from hostile import BROKEN, Fault, Hostile, Request, as_json, serving

pytestmark = pytest.mark.anyio

ROWS: list[list[Row]] = [
    [{"n": 10 * batch + row, "who": f"w{row}"} for row in range(10)] for batch in range(5)
]


def names(request: Request) -> Any:
    return as_json({"name": request.path.removeprefix("/").upper()})


@pytest.fixture
def service() -> Iterator[Hostile]:
    with serving(names) as server:
        yield server


def asking(server: Hostile, **options: Any) -> StepConfig:
    given = {"url": f"{server.url}/{{who}}", "key": "who", "add": ["name"], "timeout": "1s", "patience": "1s"}
    return StepConfig(
        "http_lookup", "ask", msgspec.convert(given | options, http_lookup.Settings, dec_hook=decode)
    )


def down(server: Hostile) -> None:
    server.faults.extend([BROKEN] * 10_000)


def component(flow: Ingester, name: str) -> tuple[State, str]:
    found = flow.health.snapshot().components[name]
    return found.state, found.reason


def let_probe(flow: Ingester, name: str) -> None:
    """As if the wait of its breaker were over."""
    found = flow.dependencies.find(name)
    assert found is not None
    found.breaker.force(None)


async def test_a_held_batch_waits_in_its_pipeline_and_is_enriched_once_the_service_is_back(
    tmp_path: Path, service: Hostile
) -> None:
    """Nothing is read twice: the source stays open, and its position where it was."""
    source, index = ScriptedSource(*ROWS, EOF), FaultyIndex()
    down(service)
    flow = ingester(configured(tmp_path, {"p": "i"}, steps=(asking(service),)), {"p": source}, {"i": index})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: flow.run(until_finished=True))
        await until(lambda: component(flow, "pipeline:p")[0] is State.DEGRADED)
        assert "held, nothing is lost: ask waits for its service" in component(flow, "pipeline:p")[1]
        await until(lambda: "breaker:lookup:p.ask" in flow.health.snapshot().components)
        assert index.rows == []
        service.faults.clear()
        let_probe(flow, "lookup:p.ask")
    assert [(row["n"], row["name"]) for row in index.rows] == [(n, f"W{n % 10}") for n in range(50)]
    assert len(source.opened) == 1
    assert flow.supervisor.keepers[0].restarts == 0


@pytest.mark.parametrize(("policy", "indexed", "letters"), [("keep_marked", 50, 0), ("reject", 0, 50)])
async def test_the_other_policies_go_on_while_the_service_is_down(
    tmp_path: Path, service: Hostile, policy: str, indexed: int, letters: int
) -> None:
    source, index = ScriptedSource(*ROWS, EOF), FaultyIndex()
    down(service)
    step = asking(service, on_outage=policy)
    flow = ingester(configured(tmp_path, {"p": "i"}, steps=(step,)), {"p": source}, {"i": index})
    await flow.run(until_finished=True)
    assert [row["enriched"] for row in index.rows] == [False] * indexed
    assert component(flow, "pipeline:p")[0] is State.FINISHED
    ledger = next(iter(flow.owners["i"].watermarks.ledgers.values()))
    assert (ledger.read, ledger.indexed, ledger.rejected, ledger.imbalance) == (50, indexed, letters, 0)
    assert len(service.requests) < 30, "five batches of ten keys: the breaker kept them from a dead peer"


async def test_a_pipeline_that_holds_stops_when_told_to_and_reads_it_again_at_the_next_start(
    tmp_path: Path, service: Hostile
) -> None:
    index = FaultyIndex()
    down(service)
    settings = configured(tmp_path, {"p": "i"}, steps=(asking(service),), drain_timeout="60s")
    with anyio.fail_after(3):
        async with running(ingester(settings, {"p": ScriptedSource(*ROWS, EOF)}, {"i": index})) as flow:
            await until(lambda: component(flow, "pipeline:p")[0] is State.DEGRADED)
    assert index.rows == []
    service.faults.clear()
    again = ingester(settings, {"p": ScriptedSource(*ROWS, EOF)}, {"i": index})
    await again.run(until_finished=True)
    assert [row["n"] for row in index.rows] == list(range(50))


async def test_one_pipeline_of_three_fails_and_the_others_go_on(tmp_path: Path, service: Hostile) -> None:
    """Its lookup is down and it holds; theirs have none, one of them into the same index."""
    sources = {name: ScriptedSource(*ROWS, EOF) for name in ("asks", "same", "other")}
    indexes = {"i": FaultyIndex(), "j": FaultyIndex()}
    settings = configured(tmp_path, {"asks": "i", "same": "i", "other": "j"})
    settings.pipelines["asks"] = replace(settings.pipelines["asks"], steps=(asking(service),))
    down(service)
    async with running(ingester(settings, sources, indexes)) as flow:
        await until(lambda: len(indexes["i"].rows) == 50 == len(indexes["j"].rows))
        await until(lambda: component(flow, "pipeline:asks")[0] is State.DEGRADED)
        assert component(flow, "pipeline:same")[0] is State.FINISHED
        assert component(flow, "pipeline:other")[0] is State.FINISHED
        assert flow.health.snapshot().state is State.DEGRADED
        assert flow.health.snapshot().state.serves


class AwaySource(ScriptedSource):
    """Cannot be opened, for so many times; counts who reached it."""

    def __init__(self, *script: Any, failures: int) -> None:
        super().__init__(*script)
        self.failures = failures
        self.reached = 0

    async def open(self, resume_after: Mapping[str, Position]) -> None:
        self.reached += 1
        if self.failures:
            self.failures -= 1
            raise Retryable("connection refused")
        await super().open(resume_after)


async def test_a_source_that_cannot_be_opened_is_left_to_probes_and_the_pipeline_is_not_lost(
    tmp_path: Path,
) -> None:
    """The breaker covers connecting: it opens, says so, and closes when the source is there."""
    source, index = AwaySource(*ROWS, EOF, failures=8), FaultyIndex()
    metrics = Metrics()
    flow = build_ingester(
        configured(tmp_path, {"p": "i"}),
        metrics=metrics,
        health=Health(),
        sources={"p": source},
        indexes={"i": index},
        policy=RetryPolicy(initial=0.0005, maximum=0.2, attempts=None),
    )
    await flow.run(until_finished=True)
    assert [row["n"] for row in index.rows] == list(range(50))
    assert source.reached == 9
    labels = {"dependency": "source:p", "reason": "breaker_open"}
    # The fifth failure opens it: the next try, a millisecond or so later, is refused without a call.
    assert (metrics.registry.get_sample_value("headrace_retries_total", labels) or 0) >= 1
    assert "breaker:source:p" not in flow.health.snapshot().components


async def test_a_service_stops_at_once_though_a_source_cannot_be_opened(tmp_path: Path) -> None:
    patient = RetryPolicy(initial=30, maximum=60, attempts=None)
    source = AwaySource(EOF, failures=10_000)
    flow = build_ingester(
        configured(tmp_path, {"p": "i"}, drain_timeout="60s"),
        metrics=Metrics(),
        health=Health(),
        sources={"p": source},
        indexes={"i": FaultyIndex()},
        policy=patient,
    )
    with anyio.fail_after(5):
        async with running(flow):
            await until(lambda: source.reached > 0)


class AwayIndex(FaultyIndex):
    """Cannot be opened until it is told to be there."""

    there = False

    async def open(self) -> Watermarks:
        if not self.there:
            raise Retryable("connection refused")
        return await super().open()


async def test_an_index_that_is_away_holds_its_pipelines_only(tmp_path: Path) -> None:
    away, near = AwayIndex(), FaultyIndex()
    indexes: dict[str, Index] = {"away": away, "near": near}
    sources = {"p": ScriptedSource(*ROWS, EOF), "q": ScriptedSource(*ROWS, PAUSE)}
    flow = build_ingester(
        configured(tmp_path, {"p": "away", "q": "near"}),
        metrics=Metrics(),
        health=Health(),
        sources=sources,
        indexes=indexes,
        policy=QUICK,
    )
    async with running(flow):
        await until(lambda: len(near.rows) == 50)
        await until(lambda: "breaker:index:away" in flow.health.snapshot().components)
        away.there = True
        await until(lambda: len(away.rows) == 50)
        await until(lambda: "breaker:index:away" not in flow.health.snapshot().components)


async def test_slow_services_of_others_take_no_thread_from_a_pipeline_that_asks_nobody(
    tmp_path: Path, service: Hostile
) -> None:
    """More pipelines wait for their services than there are threads for work: the one with work goes on."""
    service.faults.extend([Fault(hang=60)] * 1000)
    patient = asking(service, timeout="3s", patience="3s")
    asking_ones = [f"asks{number}" for number in range(4)]
    settings = configured(tmp_path, dict.fromkeys([*asking_ones, "works"], "i"))
    for name in asking_ones:
        settings.pipelines[name] = replace(settings.pipelines[name], steps=(patient,))
    sources = {name: ScriptedSource(*ROWS, PAUSE) for name in settings.pipelines}
    index = FaultyIndex()
    async with running(ingester(settings, sources, {"i": index})) as flow:
        await until(lambda: len(service.requests) >= 4)
        await until(lambda: len(index.rows) == 50)
        assert all("name" not in row for row in index.rows)
        held = [component(flow, f"pipeline:{name}")[0] is State.DEGRADED for name in asking_ones]
        assert not any(held), "none of them has given up yet"


TABLE = "who,name\n" + "".join(f"w{n},W{n}\n" for n in range(10))


def looking_up(path: Path) -> StepConfig:
    return StepConfig("lookup", "name", lookup.Settings(table=str(path), key="who", add=["name"]))


@pytest.mark.parametrize("broken", [None, "", "who\nw1\n", TABLE + "w1,again\n"])
async def test_a_table_that_is_missing_or_broken_at_the_start_is_waited_for(
    tmp_path: Path, broken: str | None
) -> None:
    """The pipeline says so and tries again; nothing is read meanwhile, and all is when the file is there."""
    table = tmp_path / "names.csv"
    if broken is not None:
        table.write_text(broken)
    source, index = ScriptedSource(*ROWS, PAUSE), FaultyIndex()
    flow = ingester(configured(tmp_path, {"p": "i"}, steps=(looking_up(table),)), {"p": source}, {"i": index})
    async with running(flow):
        await until(lambda: flow.supervisor.keepers[0].restarts > 2)
        await until(lambda: "starts again in" in component(flow, "pipeline:p")[1])
        assert component(flow, "pipeline:p")[0] is State.DEGRADED
        assert "names.csv" in component(flow, "pipeline:p")[1]
        assert index.rows == []
        table.write_text(TABLE)
        await until(lambda: len(index.rows) == 50)
        assert component(flow, "pipeline:p")[0] is State.READY
    assert [(row["n"], row["name"]) for row in index.rows] == [(n, f"W{n % 10}") for n in range(50)]


async def test_a_single_pass_does_not_wait_for_a_table(tmp_path: Path) -> None:
    flow = ingester(
        configured(tmp_path, {"p": "i"}, steps=(looking_up(tmp_path / "names.csv"),)),
        {"p": ScriptedSource(*ROWS, EOF)},
        {"i": FaultyIndex()},
    )
    await flow.run(until_finished=True)
    assert component(flow, "pipeline:p")[0] is State.FAILED
    assert "no table at" in component(flow, "pipeline:p")[1]
