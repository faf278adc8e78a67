"""Pushes over HTTP against the running service, open loop, from a process of its own (`benches.load`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benches import records as made
from benches.scale import Scale
from benches.service import Service, free_port

BATCH: Final = 500

WARM_SECONDS: Final = 1.0
"""Pushed before the first timed request: a fresh process runs its code for the first time."""

MOST_LAG_SECONDS: Final = 1.0
SHORTFALL: Final = 0.98
"""A rate is held if so much of it arrived in its time, and the index was not further behind at its end."""


def command(port: int, rate: int, seconds: float, *, probing: bool = True, batch: int = BATCH) -> list[str]:
    """The client, as a command."""
    words = [sys.executable, "-m", "benches.load", "--port", str(port), "--rate", str(rate)]
    words += ["--seconds", str(seconds), "--batch", str(batch)]
    return [*words, "--warm", str(WARM_SECONDS)] if probing else [*words, "--no-probes"]


def latencies(folder: Path, scale: Scale) -> dict[str, Any]:
    """Acknowledgement and searchability at each rate, each with an empty index and a fresh service."""
    taken = {str(rate): attempt(folder / str(rate), rate, scale.rate_seconds) for rate in scale.rates}
    found = {rate: each for rate, each in taken.items() if "failed" not in each}
    failures = {rate: each["failed"] for rate, each in taken.items() if "failed" in each}
    records = sum(each["records"] for each in found.values())
    return {"records": records, "expected": records, "rates": found, "failures": failures}


def sustained(folder: Path, scale: Scale) -> dict[str, Any]:
    """The highest of the rates that is held in a short trial, then for the whole time.

    Trials halve the steps; where the long run does not hold what its trial did, the next lower step is run.
    """
    trials = {}
    steps = list(scale.steps)
    low, high = 0, len(steps)  # below `low` all are held, from `high` on none
    while low < high:
        middle = (low + high) // 2
        taken = attempt(folder / f"trial-{steps[middle]}", steps[middle], scale.trial_seconds)
        trials[str(steps[middle])] = taken
        low, high = (middle + 1, high) if held(taken) else (low, middle)
    found: dict[str, Any] = {}
    tried = []
    for rate in reversed(steps[: max(low, 1)]):
        found = attempt(folder / f"long-{rate}", rate, scale.sustained_seconds)
        tried.append(rate)
        if held(found) or len(tried) == 2:
            break
    if "failed" in found:
        raise RuntimeError(found["failed"])
    return {**found, "held": held(found), "tried": tried, "trials": trials, "expected": found["records"]}


def held(taken: dict[str, Any]) -> bool:
    return "failed" not in taken and bool(
        not taken["refused"]
        and taken["lag_s"] <= MOST_LAG_SECONDS
        and taken["rate"] >= SHORTFALL * taken["offered"]
    )


def attempt(folder: Path, rate: int, seconds: float) -> dict[str, Any]:
    """`one`, or why it came to nothing: one rate too many costs nothing of what the others gave."""
    try:
        return one(folder, rate, seconds)
    except subprocess.CalledProcessError as error:
        return {"failed": f"at {rate:,}/s the client ended with {error.returncode}"}
    except RuntimeError as error:
        return {"failed": f"at {rate:,}/s {error}"}


def one(folder: Path, rate: int, seconds: float) -> dict[str, Any]:
    """One rate, for some seconds, against a service of its own; every accepted record is counted after."""
    port = free_port()
    config = made.write_config(folder, pushed=True, port=port)
    with Service(config, port) as service:
        found = pushed(service, rate, seconds)
        service.wait_for(made.INDEX, found["records"])
    return {**found, "peak_mb": service.peak_bytes / 1e6}


def pushed(service: Service, rate: int, seconds: float) -> dict[str, Any]:
    """What the client saw, and what the service's processes spent on a record."""
    before = service.cpu()
    done = subprocess.run(command(service.port, rate, seconds), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if not found["records"]:
        raise RuntimeError(f"none of {rate:,} records a second was accepted: {found}")
    used = {name: value - before[name] for name, value in service.cpu().items()}
    used["client"] = found["client_cpu_s"]
    return {**found, "cpu_us": {name: value / found["records"] * 1e6 for name, value in used.items()}}
