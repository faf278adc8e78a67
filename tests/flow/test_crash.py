"""`kill -9` at random moments: afterwards every record is there exactly once, as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow.crash import Campaign

MODES = pytest.mark.parametrize(
    ("follow", "declared_id"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["once-derived", "once-declared", "follow-derived", "follow-declared"],
)


@MODES
def test_after_kills_every_record_is_there_exactly_once(
    tmp_path: Path, follow: bool, declared_id: bool
) -> None:
    Campaign(tmp_path, records=30_000, kills=3, follow=follow, declared_id=declared_id, seed=11).run()


@pytest.mark.torture
@MODES
def test_after_25_kills_every_record_is_there_exactly_once(
    tmp_path: Path, follow: bool, declared_id: bool
) -> None:
    """25 kills in each of four modes: `make torture` makes 100."""
    Campaign(tmp_path, records=600_000, kills=25, follow=follow, declared_id=declared_id, seed=5).run()
