"""An index that nothing is written to gives back what its writer holds, and takes it again."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest

from flow.harness import QUICK, configured, running, until
from headrace.app import build_ingester
from headrace.core.clock import SystemClock
from headrace.core.errors import StoreError
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.index import tantivy
from headrace.index.base import IndexContext
from headrace.index.tantivy.merging import TASKS
from headrace.pipeline import commit
from headrace.testing import PAUSE, ScriptedSource
from headrace.units import Size

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not TASKS.is_dir(), reason="threads have names on Linux only"),
]


def threads() -> int:
    """Of the engine's writers, in this process."""
    found = 0
    for task in TASKS.iterdir():
        with suppress(OSError):  # one that ended meanwhile
            found += (task / "comm").read_text().startswith(("merge_thread_", "thrd-tantivy"))
    return found


def count(folder: Path) -> int:
    try:
        with closing(tantivy.open_reader(folder)) as reader:
            return reader.count(None)
    except StoreError:
        return -1  # not made yet


async def test_an_idle_index_rests_and_is_written_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner waits half a minute after a commit; here as short as a test can wait."""
    monkeypatch.setattr(commit, "REST_SECONDS", 0.05)
    before = threads()
    made = tantivy.Settings(fields={"n": "integer"}, memory=Size("32MB"), threads=1)
    index = tantivy.create(made, IndexContext("i", tmp_path / "i", SystemClock()))
    source = ScriptedSource([{"n": 1}], PAUSE, [{"n": 2}], PAUSE)
    flow = build_ingester(
        configured(tmp_path / "data", {"p": "i"}),
        metrics=Metrics(),
        health=Health(),
        sources={"p": source},
        indexes={"i": index},
        policy=QUICK,
    )
    async with running(flow):
        await until(lambda: count(tmp_path / "i") == 1)
        await until(lambda: threads() <= before)
        source.resume()
        await until(lambda: count(tmp_path / "i") == 2)
        await until(lambda: threads() <= before)
