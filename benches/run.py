"""Run the suite: `python -m benches.run [--quick] [--publish]`, about four minutes, or one.

Every measurement is a process of its own. A round takes each of them once, one after the other, so that a
ratio compares neighbours in time; what is told is the median over the rounds, and how far they spread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benches.machine import describe
from benches.measure import MEASUREMENTS, Inputs
from benches.report import Run, page, table

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = ROOT / "benches" / "results" / "latest.json"
PAGE: Final = ROOT / "docs" / "performance.md"

FULL: Final = (500_000, 3)
QUICK: Final = (100_000, 2)
"""Records, rounds."""

NEEDS: Final = {"overwrite": "upsert"}


def take(name: str, inputs: Inputs) -> dict[str, Any]:
    """One measurement in a process of its own. Raises where it did not do all the work it is named for."""
    command = [sys.executable, "-m", "benches.measure", name]
    command += ["--records", str(inputs.records), "--work", str(inputs.work)]
    load = os.getloadavg()[0]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["records"] != inputs.records or found.get("documents") not in (None, inputs.records):
        raise RuntimeError(f"{name} was to handle {inputs.records} records: {found}")
    return {**found, "process_seconds": time.perf_counter() - started, "load_before": load}


def rounds(inputs: Inputs, names: list[str], count: int) -> dict[str, list[dict[str, Any]]]:
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(count):
        for name in names:
            _say(f"round {number + 1} of {count}: {name}")
            taken[name].append(take(name, inputs))
    return taken


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    given = _arguments()
    records, count = QUICK if given.quick else FULL
    records, count = given.records or records, given.rounds or count
    names = [name for name in MEASUREMENTS if name in given.only]
    names = [name for name in MEASUREMENTS if name in {*names, *(NEEDS.get(name, name) for name in names)}]
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=given.work) as work:
        inputs = Inputs(Path(work), records)
        _say(f"preparing {records:,} records")
        inputs.prepare()
        run = Run(
            command=f"python -m benches.run{' --quick' if given.quick else ''}",
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe(inputs.work),
            records=records,
            record_bytes=inputs.source.stat().st_size / records,
            rounds=count,
            measured=rounds(inputs, names, count),
        )
    LATEST.write_text(json.dumps(run.to_json(), indent=1), "utf-8")
    print(table(run))
    _say(f"all of it: {LATEST.relative_to(ROOT)}")
    if given.publish:
        PAGE.write_text(page(run), "utf-8")
        _say(f"published: {PAGE.relative_to(ROOT)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the records, two rounds")
    parser.add_argument("--records", type=int, help="how many records")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument(
        "--work", type=Path, help="folder on the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--publish", action="store_true", help="write docs/performance.md from this run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
