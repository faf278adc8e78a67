"""Lines of a file as parsed records, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benches.instead import BATCH, Record

COLUMNS = ("id", "ts", "level", "service", "status", "dur", "message")


def batches(source: Path) -> Iterator[list[Record]]:
    with source.open("rb") as file:
        while lines := list(islice(file, BATCH)):
            yield list(map(json.loads, lines))
