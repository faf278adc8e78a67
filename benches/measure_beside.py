"""One thing that a user would pick instead: how fast it takes records, how soon it finds them, and how fast.

Every kind is asked the same questions about the same records; `answers` must be equal for all of them.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, Final

from benches import memory
from benches import records as made
from benches.instead import Absent, Question, Store, create
from benches.load import quantiles
from benches.measure_real import Missing
from benches.scale import Scale

ADDED: Final = 500
ADDITIONS: Final = 20
MOST: Final = 300
ASKED: Final = 40
"""Different questions of each kind."""


def measure(kind: str, folder: Path, source: Path, scale: Scale) -> dict[str, Any]:
    try:
        store = create(kind, folder)
    except Absent as error:
        raise Missing(str(error)) from error
    try:
        started = time.perf_counter()
        store.load(source)
        seconds = time.perf_counter() - started
        taken, answers = searched(store, scale)
        fresh = freshness(store, scale.beside)
    finally:
        store.close()
    return {
        "records": scale.beside,
        "expected": scale.beside,
        "told": store.told,
        "rate": scale.beside / seconds,
        "search_ms": taken,
        "answers": answers,
        "fresh_ms": quantiles(fresh),
        "disk_bytes": memory.on_disk(folder),
        "input_bytes": source.stat().st_size,
    }


def searched(store: Store, scale: Scale) -> tuple[dict[str, Any], dict[str, int]]:
    """Latencies, and how many rows the different questions of each kind were answered with."""
    taken, answers = {}, {}
    for kind, asked in questions(scale.beside).items():
        answers[kind] = sum(store.ask(question) for question in asked)
        until = time.perf_counter() + scale.kind_seconds
        times: list[float] = []
        for question in itertools.cycle(asked):
            started = time.perf_counter()
            store.ask(question)
            now = time.perf_counter()
            times.append(now - started)
            if now > until or len(times) == MOST:
                break
        taken[kind] = quantiles(times)
    return taken, answers


def freshness(store: Store, beside: int) -> list[float]:
    """From the call that adds 500 records to finding the last of them, durable and all."""
    more = itertools.islice(made.records(beside + ADDED * ADDITIONS), beside, None)
    times = []
    for _ in range(ADDITIONS):
        records = list(itertools.islice(more, ADDED))
        last = Question("term", records[-1]["id"])
        started = time.perf_counter()
        store.add(records)
        while not store.ask(last):
            time.sleep(0.001)
        times.append(time.perf_counter() - started)
    return times


def questions(records: int) -> dict[str, list[Question]]:
    first = max(0, records // 2 - ASKED // 2)
    middle = list(itertools.islice(made.records(records), first, first + ASKED))
    services = itertools.cycle(made.SERVICES)
    return {
        "term": [Question("term", record["id"]) for record in middle],
        "phrase": [Question("phrase", " ".join(record["message"].split()[3:5])) for record in middle],
        "filter": [Question("filter", record["ts"], next(services)) for record in middle],
        "terms": [Question("terms", status) for status in (200, 300, 400, 500)],
    }
