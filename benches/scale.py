"""How much each measurement is given: about ten minutes of work, one, or seconds for the tests.

Sizes travel to the measuring processes in a file of the work folder, so that all of them agree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

FILE: Final = "scale.json"


@dataclass(frozen=True)
class Scale:
    """records: of P1, P2, P10; searched: in the index of P6 and P7; held: accepted while the index stands
    still; growth: sizes of P8; steps: rates that P3 tries; beside: records of what one would pick instead."""

    records: int
    rounds: int
    searched: int
    held: int
    growth: tuple[int, ...]
    rates: tuple[int, ...]
    rate_seconds: float
    steps: tuple[int, ...]
    trial_seconds: float
    sustained_seconds: float
    kind_seconds: float
    busy_seconds: float
    beside: int

    @property
    def most(self) -> int:
        """Records that have to be made."""
        return max(self.records, self.searched, self.growth[-1], self.beside)

    def save(self, work: Path) -> None:
        (work / FILE).write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def load(cls, work: Path) -> Self:
        found: dict[str, Any] = json.loads((work / FILE).read_text("utf-8"))
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in found.items()
        }
        return cls(**values)


FULL: Final = Scale(
    records=500_000,
    rounds=3,
    searched=1_000_000,
    held=1_000_000,
    growth=(100_000, 300_000, 1_000_000),
    rates=(10_000, 25_000, 50_000, 100_000),
    rate_seconds=10.0,
    steps=(10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000, 90_000, 100_000, 120_000),
    trial_seconds=6.0,
    sustained_seconds=60.0,
    kind_seconds=3.0,
    busy_seconds=20.0,
    beside=200_000,
)
QUICK: Final = Scale(
    records=50_000,
    rounds=1,
    searched=100_000,
    held=100_000,
    growth=(20_000, 60_000),
    rates=(25_000, 50_000),
    rate_seconds=2.0,
    steps=(70_000,),
    trial_seconds=1.5,
    sustained_seconds=4.0,
    kind_seconds=0.5,
    busy_seconds=3.0,
    beside=10_000,
)
TINY: Final = Scale(
    records=500,
    rounds=1,
    searched=500,
    held=1_000,
    growth=(200, 400),
    rates=(1_000, 2_000),
    rate_seconds=0.5,
    steps=(1_000, 2_000),
    trial_seconds=0.5,
    sustained_seconds=0.5,
    kind_seconds=0.1,
    busy_seconds=0.5,
    beside=500,
)
GROWTH: Final = (1_000_000, 3_000_000, 10_000_000)
"""What `--growth` asks for: some ten minutes more than the sizes above."""

SCALES: Final = {"full": FULL, "quick": QUICK, "tiny": TINY}
