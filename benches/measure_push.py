"""Pushes over HTTP against the running service, open loop, from a process of its own (`benches.load`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benches import records as made
from benches.service import Service, free_port

RATES: Final = (10_000, 25_000, 50_000, 100_000)
SECONDS: Final = 10.0

SUSTAINED_RATE: Final = 80_000
SUSTAINED_SECONDS: Final = 60.0

BATCH: Final = 500


def latencies(folder: Path, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Acknowledgement and searchability at each rate, each with an empty index and a fresh service."""
    found = {str(rate): _one(folder / str(rate), rate, seconds) for rate in RATES}
    records = sum(each["records"] for each in found.values())
    return {"records": records, "expected": records, "rates": found}


def sustained(folder: Path, *, seconds: float = SUSTAINED_SECONDS) -> dict[str, Any]:
    """One rate for a minute; `lag_s` is how far searching is behind at its end."""
    return _one(folder, SUSTAINED_RATE, seconds)


def _one(folder: Path, rate: int, seconds: float) -> dict[str, Any]:
    port = free_port()
    config = made.write_config(folder, pushed=True, port=port)
    command = [sys.executable, "-m", "benches.load", "--port", str(port), "--rate", str(rate)]
    command += ["--seconds", str(seconds), "--batch", str(BATCH)]
    with Service(config, port) as service:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        service.wait_for(made.INDEX, found["records"])
    found["peak_mb"] = service.peak_bytes / 1e6
    return found
