"""What came out, for the terminal: ratios first, then values, bars and goals, and what falls short.

Bars are shown and never asserted: a slow machine is no fault of the program.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from benches.table import MISSING, Row, Table, number


@dataclass(frozen=True)
class Run:
    """Everything one run of the suite found."""

    command: str
    taken_at: str
    machine: dict[str, str]
    records: int
    record_bytes: float
    rounds: int
    measured: dict[str, list[dict[str, Any]]]
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        return cls(**found)


QUIET_CORES: Final = 0.25
"""What a system spends on itself, more or less."""

HEADS: Final = ("", "ratio", "its spread", "median", "its spread", "bar", "goal", "verdict", "what")


def cells(row: Row) -> tuple[str, ...]:
    """Number, ratio, its spread, value, its spread, bar, goal, verdict, what."""
    return (
        row.number,
        format(statistics.median(row.ratios), ".2f") if row.ratios else "",
        _spread(row.ratios, ""),
        number(row.median, row.unit) if row.values else MISSING,
        _spread(row.values, row.unit),
        *row.limits,
        row.verdict,
        row.what,
    )


def _spread(values: Sequence[float], unit: str) -> str:
    if len(values) < 2:
        return ""
    low, high = (number(value, unit).removesuffix(f" {unit}") for value in (min(values), max(values)))
    return f"{low} to {high}"


def table(run: Run) -> str:
    """For a terminal."""
    lines = [HEADS, *(cells(row) for row in Table(run.measured).rows())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    text = [
        "  ".join(
            cell.ljust(width) if column in (0, len(HEADS) - 2, len(HEADS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", circumstances(run)])


def circumstances(run: Run) -> str:
    """How much was measured, and whether the machine was quiet."""
    return (
        f"{run.records:,} records of {run.record_bytes:.0f} bytes in each of {run.rounds} rounds; values are "
        f"medians over rounds, and a ratio compares neighbours in time. {busy(run)}"
    ).strip()


def busy(run: Run) -> str:
    found = [one["others_cores"] for taken in run.measured.values() for one in taken if "others_cores" in one]
    if not found:
        return ""
    told = f"Beside a measurement, others used up to {max(found):.2f} of {run.machine['cores']} cores"
    if max(found) <= QUIET_CORES:
        return f"{told}."
    return f"{told}: others were at work, so a ratio says little and a rate nothing; run it alone."
