"""Killed at any moment, a service loses and doubles nothing that was pushed to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.push_crash import PushCampaign
from headrace.index.tantivy.room import DEFAULT_BASE, is_tmpfs


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a tmpfs."""
    if not is_tmpfs(DEFAULT_BASE):
        pytest.skip("there is no tmpfs at /dev/shm")
    made = Path(tempfile.mkdtemp(dir=DEFAULT_BASE))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
def test_what_was_acknowledged_is_there_once(tmp_path: Path, *, indexed: bool) -> None:
    """A few kills in every run."""
    PushCampaign(tmp_path, kills=4, indexed=indexed, seed=1).run()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
def test_what_was_acknowledged_is_there_once_though_its_commits_were_in_memory(
    tmp_path: Path, memory: Path, *, indexed: bool
) -> None:
    """And though some of the kills are power cuts; closed in order, nothing is left in memory."""
    PushCampaign(tmp_path, kills=5, indexed=indexed, seed=4, base=memory).run()
    assert [] == list(memory.iterdir())


@pytest.mark.torture
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
@pytest.mark.parametrize("seed", [2, 3])
def test_what_was_acknowledged_is_there_once_after_25_kills(
    tmp_path: Path, seed: int, *, indexed: bool
) -> None:
    """25 kills in each of four campaigns: `make torture` makes 100."""
    PushCampaign(tmp_path, kills=25, indexed=indexed, seed=seed).run()


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
@pytest.mark.parametrize("seed", [5, 6])
def test_what_was_in_memory_is_there_once_after_25_kills(
    tmp_path: Path, memory: Path, seed: int, *, indexed: bool
) -> None:
    """25 kills in each, of one of three processes, of all, of all and the memory."""
    campaign = PushCampaign(tmp_path, kills=25, indexed=indexed, seed=seed, base=memory)
    campaign.run()
    assert campaign.power_cuts
    assert [] == list(memory.iterdir())
