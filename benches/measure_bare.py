"""The bare engine: ready lines into the product's own schema, with its threads, heap and commits."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from benches.records import INDEX, write_config
from headrace.index.tantivy import store
from headrace.index.tantivy.options import MEMORY, THREADS
from headrace.settings import load

LINES_PER_BATCH = 10_000
COMMIT_SECONDS = 1.0


def measure(folder: Path, documents: Path, *, records: int) -> dict[str, Any]:
    lines = documents.read_text("ascii").splitlines()
    index = _index(folder)
    writer = index.writer(heap_size=int(MEMORY), num_threads=THREADS)
    started = committed = time.perf_counter()
    cpu = time.process_time()
    commits = 0
    for at in range(0, len(lines), LINES_PER_BATCH):
        deque(map(writer.add_json, lines[at : at + LINES_PER_BATCH]), maxlen=0)
        if time.perf_counter() - committed >= COMMIT_SECONDS:
            writer.commit()
            commits, committed = commits + 1, time.perf_counter()
    writer.commit()
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    index.reload()
    counted = index.searcher().num_docs
    return {
        "records": counted,
        "expected": records,
        "seconds": seconds,
        "rate": counted / seconds,
        "commits": commits + 1,
        "cpu_us": cpu / counted * 1e6,
    }


def _index(folder: Path) -> Any:
    """An empty index exactly as the product would make it for the same configuration."""
    options = load(write_config(folder, folder / "unused.ndjson")).indexes[INDEX].options
    directory = folder / "bare"
    declared = options.declared()
    description = store.describe(INDEX, declared, options.key, options.dynamic_name, options.field_limit)
    store.create(directory, description)
    return store.open_engine(directory)
