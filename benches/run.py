"""Run the suite: `python -m benches.run [--quick] [--only NAME…]`, about ten minutes, or one.

Every measurement is a process of its own, with a time limit; one that fails is a row that says why, and the
others go on. A round takes each rate once, one after the other, so that a ratio compares neighbours in time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benches import memory
from benches.inputs import Inputs
from benches.machine import describe
from benches.measure import MEASUREMENTS
from benches.publish import publish
from benches.report import Run, table
from benches.scale import FULL, GROWTH, QUICK, SCALES, Scale

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = ROOT / "benches" / "results" / "latest.json"

PREPARED: Final = 60_000
"""Records made in a second, about."""

PATIENCE: Final = 4.0
"""A measurement is ended when it takes so many times as long as it should, and half a minute."""

OVERALL: Final = 2.0
"""No measurement begins once the run has taken so many times as long as it should."""

WORDS: Final = 300
"""Characters of a failure's last words that are kept."""


def take(name: str, inputs: Inputs, *, limit: float | None = None) -> dict[str, Any]:
    """One measurement in a process of its own; `failed` says why where it came to nothing."""
    words = [sys.executable, "-m", "benches.measure", name, "--work", str(inputs.work)]
    others = memory.others_seconds()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=said)
        try:
            answer, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return {"failed": f"ended after {limit:.0f} s, which is far longer than it should take"}
        finally:
            end(process)
        said.seek(0)
        # What is published names no folder of this machine.
        log = said.read().decode(errors="replace").strip().replace(str(inputs.work), "WORK")
        log = log.replace(sys.executable, "python").replace(str(ROOT), ".")
    if process.returncode:
        sys.stderr.write(f"{log}\n")
        return {"failed": _last_words(log) or f"ended with {process.returncode}"}
    found: dict[str, Any] = json.loads(answer)
    if "skipped" in found:
        return found
    if found["records"] != found["expected"] or found.get("documents") not in (None, found["expected"]):
        return {"failed": f"was to handle {found['expected']} records, and handled {found['records']}"}
    seconds = time.perf_counter() - started
    others = max(0.0, memory.others_seconds() - others) / seconds
    return {**found, "process_seconds": seconds, "others_cores": others}


def end(process: subprocess.Popen[bytes]) -> None:
    """A process and all that it started, stopped ones too: nothing of ours is left behind."""
    if process.poll() is None:
        for pid in reversed(memory.family(process.pid)):
            _signal(pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "{"))]
    return lines[-1].removeprefix("benches.measure_real.")[:WORDS] if lines else ""


class Suite:
    """The chosen measurements, in order, until all are taken or the time is over."""

    def __init__(self, inputs: Inputs, names: Sequence[str]) -> None:
        self._inputs = inputs
        self._scale = inputs.scale
        self._names = names
        self._until = time.perf_counter() + OVERALL * expected(self._scale, names) + 60
        self.taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def run(self) -> None:
        repeated = [name for name in self._names if MEASUREMENTS[name].every_round]
        for number in range(self._scale.rounds):
            for name in repeated:
                self._take(name, f"round {number + 1} of {self._scale.rounds}")
        for name in self._names:
            if name not in repeated:
                self._take(name, f"about {MEASUREMENTS[name].seconds(self._scale):.0f} s")
                self._inputs.fresh(name)  # an index of ten million documents is not kept for the next

    def _take(self, name: str, told: str) -> None:
        if time.perf_counter() > self._until:
            self.taken[name].append({"failed": "not begun: the time of the whole run was over"})
            return
        say(f"{name}, {told}")
        limit = PATIENCE * MEASUREMENTS[name].seconds(self._scale) + 30
        found = take(name, self._inputs, limit=limit)
        for fate in ("failed", "skipped"):
            if fate in found:
                say(f"  {name} {fate}: {found[fate]}")
        self.taken[name].append(found)


def expected(scale: Scale, names: Sequence[str]) -> float:
    """About how many seconds it all takes."""
    rounds = [scale.rounds if MEASUREMENTS[name].every_round else 1 for name in names]
    taking = sum(n * MEASUREMENTS[name].seconds(scale) for n, name in zip(rounds, names, strict=True))
    return taking + scale.most / PREPARED


def chosen(only: Sequence[str]) -> list[str]:
    """The measurements asked for, and those they go on with, in the order of a run."""
    wanted = {*only, *(MEASUREMENTS[name].needs for name in only)}
    return [name for name in MEASUREMENTS if name in wanted]


def command(words: Sequence[str]) -> str:
    """The command as anybody would give it: without the folder, which is this machine's."""
    told = list(words)
    if "--work" in told:
        at = told.index("--work")
        del told[at : at + 2]
    return " ".join(["python -m benches.run", *(word for word in told if not word.startswith("--work="))])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def scaled(given: argparse.Namespace) -> Scale:
    scale: Scale = SCALES[given.scale] if given.scale else QUICK if given.quick else FULL
    changes: dict[str, Any] = {"growth": GROWTH} if given.growth else {}
    changes |= {"records": given.records} if given.records else {}
    changes |= {"rounds": given.rounds} if given.rounds else {}
    return replace(scale, **changes)


def main() -> int:
    given = _arguments()
    scale = scaled(given)
    names = chosen(
        given.only or [name for name, each in MEASUREMENTS.items() if each.quick or not given.quick]
    )
    whole = scale == FULL and len(names) == len(MEASUREMENTS)
    seconds = expected(scale, names)
    say(f"about {_minutes(seconds)}, at most {_minutes(OVERALL * seconds + 60)} and one measurement more")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=given.work) as work:
        inputs = Inputs(Path(work))
        # An installed package has its bytecode; a checkout might not, where none is to be written.
        compileall.compile_dir(ROOT / "src", quiet=1)
        say(f"preparing {scale.most:,} records")
        inputs.prepare(scale)
        suite = Suite(inputs, names)
        began = time.perf_counter()
        suite.run()
        run = Run(
            command=command(sys.argv[1:]),
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe(inputs.work),
            records=scale.records,
            record_bytes=inputs.source.stat().st_size / scale.records,
            rounds=scale.rounds,
            measured=suite.taken,
            seconds=time.perf_counter() - began,
        )
    LATEST.write_text(json.dumps(run.to_json(), indent=1), "utf-8")
    print(table(run))
    say(f"all of it: {LATEST.relative_to(ROOT)}")
    if given.publish or (whole and not given.no_publish):
        publish(run)
    return int(any("failed" in one for each in suite.taken.values() for one in each) and given.strict)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records, one round, about a minute")
    parser.add_argument("--scale", choices=SCALES, help="the sizes by name (`tiny` only shows that it works)")
    parser.add_argument("--records", type=int, help="how many records a round reads")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument(
        "--growth",
        action="store_true",
        help="growth up to ten million documents: ten minutes more, and 10 GB",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASUREMENTS,
        default=[],
        metavar="NAME",
        help=f"some of: {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--work", type=Path, help="folder on the disk to measure (default: the temporary one)"
    )
    parser.add_argument(
        "--publish", action="store_true", help="write docs/performance.md, as a full run does by itself"
    )
    parser.add_argument("--no-publish", action="store_true", help="never write docs/performance.md")
    parser.add_argument("--strict", action="store_true", help="end with 1 where a measurement failed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
