"""Growth: what appending, pushing and memory are like once the index holds more and more.

At each size the last window of records is timed by itself, in a fresh process on the index that is there;
then a service on the same index takes pushes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benches import measure_pipeline
from benches import records as made
from benches.measure_push import pushed
from benches.scale import Scale
from benches.service import Service, free_port

PUSH_RATE: Final = 25_000


def measure(folder: Path, whole: Path, scale: Scale) -> dict[str, Any]:
    parts = folder / "parts"
    parts.mkdir(parents=True)
    port = free_port()
    config = made.write_config(folder, parts / "*.ndjson")
    serving = made.write_config(folder, pushed=True, port=port, name="serving.yaml")
    window = scale.growth[0]
    steps = []
    have = pushes = 0
    with whole.open("rb") as lines:
        for size in scale.growth:
            filling = size - have - window
            if filling:
                _append(parts / f"{size}-filling.ndjson", islice(lines, filling), config)
            appended = _append(parts / f"{size}-window.ndjson", islice(lines, window), config)
            have = size
            with Service(serving, port) as service:
                seen = pushed(service, PUSH_RATE, scale.rate_seconds / 2)
                pushes += seen["records"]
                service.wait_for(made.INDEX, have + pushes)
            steps.append({"size": size, **appended, "pushed": seen, "service_mb": service.peak_bytes / 1e6})
    return {"records": have, "expected": scale.growth[-1], "window": window, "steps": steps}


def _append(path: Path, lines: Any, config: Path) -> dict[str, Any]:
    with path.open("wb") as file:
        file.writelines(lines)
    command = [sys.executable, "-m", "benches.measure_growth", str(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    path.unlink()  # read and committed; ten million records twice would be half the disk
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="append what is new, in this process")
    parser.add_argument("config", type=Path)
    given = parser.parse_args()
    print(json.dumps(measure_pipeline.run(given.config, made.INDEX, made.PIPELINE)))


if __name__ == "__main__":
    main()
