"""Retention in a running ingester: what becomes due is deleted while it runs, with nothing new to read."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flow.harness import QUICK, configured, running, until
from headrace.app import build_ingester
from headrace.core.errors import StoreError
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.index import tantivy
from headrace.index.base import IndexContext
from headrace.index.tantivy import Retention
from headrace.model import Ledger
from headrace.pipeline import commit
from headrace.testing import PAUSE, ManualClock, ScriptedSource
from headrace.units import Duration, Size

pytestmark = pytest.mark.anyio

HOUR = 3600.0


def count(folder: Path) -> int:
    """Documents a reader beside the writer finds."""
    try:
        with closing(tantivy.open_reader(folder)) as reader:
            return reader.count(None)
    except StoreError:
        return -1  # not made yet


async def test_documents_go_when_they_are_due_without_a_restart_and_without_new_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner looks every minute; here as often as a test can wait, by a clock held in the hand."""
    monkeypatch.setattr(commit, "RETENTION_SECONDS", 0.05)
    clock = ManualClock()
    dates = [datetime.fromtimestamp(clock.time() + minutes * 60, UTC) for minutes in (0, 1, 90)]
    rows = [{"n": n, "d": date.isoformat()} for n, date in enumerate(dates)]
    settings = tantivy.Settings(
        fields={"n": "integer", "d": "date"},
        retention=Retention(max_age=Duration(HOUR), field="d"),
        memory=Size("32MB"),
        threads=1,
    )
    index = tantivy.create(settings, IndexContext("i", tmp_path / "i", clock))
    flow = build_ingester(
        configured(tmp_path / "data", {"p": "i"}),
        metrics=Metrics(),
        health=Health(),
        clock=clock,
        sources={"p": ScriptedSource(rows, PAUSE, clock=clock)},
        indexes={"i": index},
        policy=QUICK,
    )
    async with running(flow):
        await until(lambda: count(tmp_path / "i") == 3)
        await clock.advance(HOUR - 1)
        await clock.advance(2)
        await until(lambda: count(tmp_path / "i") == 2)
        await clock.advance(60)
        await until(lambda: count(tmp_path / "i") == 1)
    assert flow.owners["i"].watermarks.ledgers["p", "script#0"] == Ledger(read=3, indexed=3)
    assert count(tmp_path / "i") == 1
