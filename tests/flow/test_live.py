"""An index whose commits are visible before they are durable: nothing is told too early, nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flow.harness import configured, ingester, running, until
from headrace.core.errors import Rewound
from headrace.core.health import State
from headrace.layout import dead_letter_file
from headrace.model import PartitionKey, Position, Watermarks
from headrace.pipeline.deadletter import DeadLetterView
from headrace.testing import PAUSE, FaultyIndex, ScriptedSource

pytestmark = pytest.mark.anyio

KEY = ("p", "script#0")


class LiveIndex(FaultyIndex):
    """Durable where `settle` was called; `lose` empties the memory, as far as `told` somebody waits for it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.is_live = self.may_be_live = True
        self.told = 0
        self._settled = self._committed
        self._lost = False

    @property
    def catching_up(self) -> str:
        behind = self._committed.positions.get(KEY, Position(0)).record < self.told
        return "it is read again" if behind else ""

    def settle(self) -> None:
        self._settled = self._committed

    def lose(self) -> None:
        self._lost = True

    async def settled(self) -> Watermarks:
        if self._lost:
            self._lost, self._committed = False, self._settled
            raise self._rewound("the folder vanished")
        return self._watermarks()

    async def promise(self, key: PartitionKey, record: int) -> bool:
        self.told = max(self.told, record)
        return True

    def _rewound(self, message: str) -> Rewound:
        self._roll_back()
        positions = dict(self._committed.positions)
        return Rewound(message, positions, durable=dict(self._settled.positions))

    def _watermarks(self) -> Watermarks:
        durable: Mapping[PartitionKey, Position] = dict(self._settled.positions)
        return Watermarks(dict(self._committed.positions), durable, dict(self._settled.ledgers))


def batches(count: int) -> list[list[dict[str, object]]]:
    return [[{"n": batch * 3 + row} for row in range(3)] for batch in range(count)]


async def test_a_source_may_forget_what_is_durable_and_no_more(tmp_path: Path) -> None:
    """Also without another commit: an index that is idle is settled all the same."""
    source, index = ScriptedSource(*batches(2), PAUSE, *batches(1)), LiveIndex()
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        owner = flow.owners["i"]
        await until(lambda: owner.progress.reached(KEY, 6, visible=True))
        assert {} == {name: at for name, at in source.acknowledged.items() if at.record}
        index.settle()
        await until(lambda: source.acknowledged.get("script#0", Position(0)).record == 6)


async def test_a_run_goes_on_behind_what_is_visible(tmp_path: Path) -> None:
    """What is in memory stands after a failure, and is not read again."""
    source, index = ScriptedSource(*batches(2), PAUSE, *batches(2), PAUSE), LiveIndex()
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        owner = flow.owners["i"]
        await until(lambda: owner.progress.reached(KEY, 6, visible=True))
        index.fail_writes = 1
        source.resume()
        await until(lambda: len(index.rows) == 12)
    assert 0 == index.replayed
    assert [{}, {"script#0": Position(6, {"scripted": True})}] == source.opened
    assert {} == source.acknowledged


async def test_a_dead_letter_is_real_when_its_record_is_durable(tmp_path: Path) -> None:
    source, index = ScriptedSource([{"n": 1, "bad": 1}, {"n": 2}], PAUSE), LiveIndex(reject="bad")
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        await until(lambda: len(index.rows) == 1)
        assert (1, 0) == (flow.dead_letters.kept("p"), flow.dead_letters.count("p"))
        index.settle()
        await until(lambda: flow.dead_letters.count("p") == 1)


async def test_a_dead_letter_of_what_is_in_memory_outlives_a_rollback(tmp_path: Path) -> None:
    """Its record does not come again; only those behind the last commit do."""
    script = ([{"n": 1, "bad": 1}, {"n": 2}], PAUSE, [{"n": 3, "bad": 1}, {"n": 4}])
    source, index = ScriptedSource(*script), LiveIndex(reject="bad")
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        await until(lambda: len(index.rows) == 1)
        index.fail_commits = 1
        source.resume()
        await until(lambda: len(index.rows) == 2)
        index.settle()
        await until(lambda: flow.dead_letters.count("p") == 2)
    found = DeadLetterView(dead_letter_file(tmp_path)).list("p")
    assert [0, 2] == sorted(letter.record for letter in found)


async def test_what_vanished_from_memory_is_read_again(tmp_path: Path) -> None:
    """From the durable position; and until somebody's records are back the service is not ready."""
    source, index = ScriptedSource(*batches(2), PAUSE, *batches(0)), LiveIndex()
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        owner = flow.owners["i"]
        await until(lambda: owner.progress.reached(KEY, 6, visible=True))
        assert await owner.promise(KEY, 6)
        index.stall()
        index.lose()
        await until(lambda: flow.health.snapshot().components["index:i"].state is State.STARTING)
        assert not flow.health.snapshot().state.serves
        index.go_on()
        await until(lambda: owner.progress.reached(KEY, 6, visible=True))
        await until(lambda: flow.health.snapshot().components["index:i"].state is State.READY)
    assert [0, 1, 2, 3, 4, 5] == [row["n"] for row in index.rows]
    assert [{}, {}] == source.opened


async def test_an_index_that_is_plain_promises_nothing(tmp_path: Path) -> None:
    """It has kept it already."""
    source, index = ScriptedSource(*batches(1), PAUSE), FaultyIndex()
    async with running(ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index})) as flow:
        assert await flow.owners["i"].promise(KEY, 3)
