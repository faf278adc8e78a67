"""The configuration page has the options as they are."""

from __future__ import annotations

from pathlib import Path

from headrace.cli.components import table
from headrace.settings import SettingsFile

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_the_reference_is_the_table_of_the_types() -> None:
    """`headrace.cli.components.table(SettingsFile)` prints it."""
    assert table(SettingsFile) in PAGE.read_text("utf-8")
