"""The running service: start to ready with all documents, search at rest, search while records arrive."""

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
from benches.load import quantiles
from benches.measure_push import command
from benches.scale import Scale
from benches.service import Service, free_port

HELP_RUNS: Final = 5
STARTS: Final = 3
BUSY_RATE: Final = 25_000
MOST_SEARCHES: Final = 500
"""Of each kind at rest; fewer where the time is over before."""

MIDDLE: Final = 200

Body = dict[str, Any]


def measure(folder: Path, source: Path, scale: Scale) -> dict[str, Any]:
    records = scale.searched
    port = free_port()
    config = made.write_config(folder, source, pushed=True, port=port)
    with Service(config, port) as service:
        began = time.perf_counter()
        service.wait_for(made.INDEX, records)
        indexed_after = service.ready_seconds + time.perf_counter() - began
        peak = service.peak_bytes
        found = service.count(made.INDEX)
        idle = at_rest(service, records, scale.kind_seconds)
        full = started_again(config, port, service)
    with Service(config, port) as again:
        again.wait_for(made.INDEX, records)
        busy, pushed = while_pushed(again, records, scale.busy_seconds)
        again.wait_for(made.INDEX, records + pushed["records"])
    return {
        "records": found,
        "expected": records,
        "ready_empty_s": service.ready_seconds,
        "ready_full_s": statistics.median([again.ready_seconds, *full]),
        "indexed_after_s": indexed_after,
        "peak_mb": peak / 1e6,
        "help_s": _help_seconds(),
        "search_ms": idle,
        "busy_ms": busy,
        "pushed": pushed,
    }


def started_again(config: Path, port: int, service: Service) -> list[float]:
    """Seconds from start to ready, the documents being there; `service` is stopped first."""
    service.stop()
    found = []
    for _ in range(STARTS - 1):
        with Service(config, port) as again:
            found.append(again.ready_seconds)
    return found


def at_rest(service: Service, records: int, seconds: float) -> dict[str, Any]:
    """Each kind of search on one kept connection, one request after the other."""
    kinds = queries(records)  # first: the connection would be closed while these are made
    connection = service.connect()
    taken = {}
    for name, bodies in kinds.items():
        until = time.perf_counter() + seconds
        times: list[float] = []
        while len(times) < MOST_SEARCHES and (time.perf_counter() < until or not times):
            times.append(timed(connection, next(bodies)))
        taken[name] = {**quantiles(times), "searches": len(times)}
    return taken


def while_pushed(service: Service, records: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same, all kinds in turn, while records arrive: both sides are watched in the same seconds."""
    kinds = queries(records)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    connection = service.connect()
    client = subprocess.Popen(command(service.port, BUSY_RATE, seconds), stdout=subprocess.PIPE)
    try:
        while client.poll() is None:
            for name, bodies in kinds.items():
                times[name].append(timed(connection, next(bodies)))
        answer = client.communicate()[0]
    finally:
        client.kill()
        client.wait()
    if client.returncode:
        raise RuntimeError(f"the client that pushes ended with {client.returncode}: see above")
    searched = {name: {**quantiles(each), "searches": len(each)} for name, each in times.items()}
    return searched, json.loads(answer)


def queries(records: int) -> dict[str, Iterator[Body]]:
    """Five kinds of search, each with other values at every request."""
    first = max(0, min(records // 2, records - MIDDLE))
    middle = list(itertools.islice(made.records(records), first, first + MIDDLE))
    bigrams = [" ".join(record["message"].split()[3:5]) for record in middle]
    moments = [record["ts"] for record in middle]
    mean = {"mean": {"avg": {"field": "dur"}}}
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
            for moment, service in zip(itertools.cycle(moments), itertools.cycle(made.SERVICES), strict=False)
        ),
        "terms aggregation": (
            {
                "size": 0,
                "query": {"range": {"status": {"gte": status}}},
                "aggs": {"by": {"terms": {"field": "service"}, "aggs": mean}},
            }
            for status in itertools.cycle((200, 300, 400, 500))
        ),
        "date_histogram": (
            {
                "size": 0,
                "query": {"term": {"service": service}},
                "aggs": {"by": {"date_histogram": {"field": "ts", "fixed_interval": "10m"}, "aggs": mean}},
            }
            for service in itertools.cycle(made.SERVICES)
        ),
    }


AGGREGATIONS: Final = ("terms aggregation", "date_histogram")


def timed(connection: http.client.HTTPConnection, body: Body) -> float:
    """Seconds of one search; one that finds nothing is an error: it would be too fast."""
    started = time.perf_counter()
    answer = _ask(connection, "_search", body)
    taken = time.perf_counter() - started
    if not answer["hits"]["total"]["value"]:
        raise RuntimeError(f"found nothing for {json.dumps(body)}")
    return taken


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
