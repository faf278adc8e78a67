"""Killed at any moment, a service loses and doubles nothing that was pushed to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow.push_crash import PushCampaign


@pytest.mark.timeout(180)
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
def test_what_was_acknowledged_is_there_once(tmp_path: Path, *, indexed: bool) -> None:
    """A few kills in every run."""
    PushCampaign(tmp_path, kills=4, indexed=indexed, seed=1).run()


@pytest.mark.torture
@pytest.mark.parametrize("indexed", [False, True], ids=["durable", "indexed"])
@pytest.mark.parametrize("seed", [2, 3])
def test_what_was_acknowledged_is_there_once_after_25_kills(
    tmp_path: Path, seed: int, *, indexed: bool
) -> None:
    """25 kills in each of four campaigns: `make torture` makes 100."""
    PushCampaign(tmp_path, kills=25, indexed=indexed, seed=seed).run()
