"""A million records accepted while the index stands still: what all processes hold, then the drain.

The ingester is stopped by SIGSTOP: nothing is taken from the buffer, as with an engine that hangs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from benches import records as made
from benches.measure_push import BATCH, command
from benches.service import Service, free_port

RATE: Final = 50_000

POINTS: Final = 200
"""At most so many of the samples are kept for the plot."""


def measure(folder: Path, *, records: int) -> dict[str, Any]:
    port = free_port()
    config = made.write_config(folder, pushed=True, port=port)
    with Service(config, port) as service:
        ingester = service.ingester
        os.kill(ingester, signal.SIGSTOP)
        try:
            done = subprocess.run(
                command(port, RATE, records / RATE, probing=False, batch=min(BATCH, records)),
                stdout=subprocess.PIPE,
                check=True,
            )
            pushed = json.loads(done.stdout)
            stalled_peak = service.peak_bytes
        finally:
            os.kill(ingester, signal.SIGCONT)
        resumed = time.perf_counter()
        service.wait_for(made.INDEX, pushed["records"])
        drained = time.perf_counter() - resumed
        time.sleep(0.5)  # more than was accepted would be as wrong as less
        found = service.count(made.INDEX)
        samples = service.samples[:: max(1, len(service.samples) // POINTS)]
    return {
        "records": found,
        "expected": records,
        "accepted": pushed["records"],
        "lost": pushed["records"] - found,
        "refused": pushed["refused"],
        "ack_ms": pushed["ack_ms"],
        "stalled_peak_mb": stalled_peak / 1e6,
        "peak_mb": service.peak_bytes / 1e6,
        "drain_rate": found / drained,
        "samples": [(seconds, held / 1e6) for seconds, held in samples],
    }
