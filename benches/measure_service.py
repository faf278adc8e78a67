"""The running service: start to ready, peak memory while it indexes, search over HTTP, start again."""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benches import records as made
from benches.service import Service, free_port

HELP_RUNS: Final = 3

Body = dict[str, Any]


def measure(folder: Path, source: Path, *, records: int, searches: int) -> dict[str, Any]:
    port = free_port()
    config = made.write_config(folder, source, port=port)
    with Service(config, port) as service:
        began = time.perf_counter()
        service.wait_for(made.INDEX, records)
        indexed_after = service.ready_seconds + time.perf_counter() - began
        connection = service.connect()
        found = _ask(connection, "_count", {})["count"]
        latencies = {
            name: _latencies(connection, bodies, searches) for name, bodies in queries(records).items()
        }
    peak = service.peak_bytes
    with Service(config, port) as again:
        again.wait_for(made.INDEX, records)
    return {
        "records": found,
        "expected": records,
        "ready_empty_s": service.ready_seconds,
        "ready_full_s": again.ready_seconds,
        "indexed_after_s": indexed_after,
        "peak_mb": peak / 1e6,
        "help_s": _help_seconds(),
        "search_ms": latencies,
    }


def queries(records: int) -> dict[str, Iterator[Body]]:
    """Four kinds of search, each with other values at every request."""
    middle = list(itertools.islice(made.records(records), records // 2, records // 2 + 200))
    bigrams = [" ".join(record["message"].split()[3:5]) for record in middle]
    moments = [record["ts"] for record in middle]
    return {
        "term": ({"query": {"term": {"id": record["id"]}}} for record in itertools.cycle(middle)),
        "phrase": ({"query": {"match_phrase": {"message": text}}} for text in itertools.cycle(bigrams)),
        "bool, range, sort": (
            {
                "query": {
                    "bool": {
                        "must": [{"term": {"service": service}}, {"term": {"level": "error"}}],
                        "filter": [{"range": {"ts": {"lt": moment}}}],
                    }
                },
                "sort": [{"ts": "desc"}],
            }
            for moment, service in zip(itertools.cycle(moments), itertools.cycle(made.SERVICES))
        ),
        "terms aggregation": (
            {
                "size": 0,
                "query": {"range": {"status": {"gte": status}}},
                "aggs": {"by": {"terms": {"field": "service"}, "aggs": {"mean": {"avg": {"field": "dur"}}}}},
            }
            for status in itertools.cycle((200, 300, 400, 500))
        ),
    }


def _latencies(
    connection: http.client.HTTPConnection, bodies: Iterator[Body], count: int
) -> dict[str, float]:
    """Milliseconds on one kept connection, one request after the other; a search that finds nothing fails."""
    taken = []
    for body in itertools.islice(bodies, count):
        started = time.perf_counter()
        answer = _ask(connection, "_search", body)
        taken.append((time.perf_counter() - started) * 1000)
        if not answer["hits"]["total"]["value"]:
            raise RuntimeError(f"found nothing for {json.dumps(body)}")
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def _ask(connection: http.client.HTTPConnection, action: str, body: Body) -> Any:
    text = json.dumps(body) if body else None
    connection.request("POST", f"/{made.INDEX}/{action}", text, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{action} answered {answer.status}: {content[:500].decode(errors='replace')}")
    return json.loads(content)


def _help_seconds() -> float:
    taken = []
    for _ in range(HELP_RUNS):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "headrace.cli", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
