"""`headrace demo`: a service with something in it, from nothing but the installed package."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from headrace.cli._access_log import event, events
from headrace.cli._showcase import Query, Service, show, watch

EVENTS = 200_000
PER_SECOND = 200

CONFIGURATION = """\
# Written by `headrace demo`. Try `headrace check demo.yaml`, then change something.
data_dir: ./data
server: {{ host: 127.0.0.1, port: {port} }}
indexes:
  access:
    type: tantivy
    fields:
      time: date
      client: ip
      country: keyword
      method: keyword
      path: keyword
      status: integer
      bytes: integer
      duration_ms: float
      agent: keyword
      message: text
      slow: boolean
pipelines:
  access:
    source: {{ type: files, paths: [events.ndjson], format: ndjson, follow: true }}
    transform:
      - validate: {{ status: {{ min: 100, max: 599 }}, path: {{ required: true }} }}
      - set: {{ slow: "duration_ms > 100" }}
    index: access
"""


@click.command("demo")
@click.argument(
    "directory", default="headrace-demo", type=click.Path(path_type=Path, file_okay=False), required=False
)
@click.option("--port", default=7223, show_default=True, help="Port to serve on.")
@click.option("--exit", "leave", is_flag=True, help="Stop after the queries instead of serving on.")
@click.pass_context
def demo(context: click.Context, directory: Path, port: int, leave: bool) -> None:
    """Index 200,000 made-up access-log events, then 200 a second, and serve them.

    Everything is kept in DIRECTORY (./headrace-demo if not given); started again, it goes on from there.
    """
    config = _prepare(directory, port)
    base = f"http://127.0.0.1:{port}"
    service = Service(config, base)
    stop = threading.Event()
    try:
        service.wait_until_up()
        watch(service, until=EVENTS)
        threading.Thread(target=_go_on, args=(directory / "events.ndjson", stop), daemon=True).start()
        show(service, _queries())
        click.secho(f"\nlook at it in a browser: {base}/   (Ctrl-C stops)", bold=True)
        context.exit(service.stop() if leave else service.stay())
    finally:
        stop.set()
        service.stop()


def _prepare(directory: Path, port: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "events.ndjson"
    if not log.exists():
        click.echo(f"writing {EVENTS:,} events to {log}", err=True)
        partial = log.with_suffix(".tmp")
        partial.write_text("".join(f"{line}\n" for line in events(EVENTS)), encoding="utf-8")
        partial.rename(log)
    config = directory / "demo.yaml"
    config.write_text(CONFIGURATION.format(port=port), encoding="utf-8")
    return config


def _go_on(log: Path, stop: threading.Event) -> None:
    """Append events as a busy site would, until told to stop."""
    dice = random.Random()  # noqa: S311
    with log.open("a", encoding="utf-8") as out:
        while not stop.wait(0.1):
            for _ in range(PER_SECOND // 10):
                out.write(event(dice, datetime.now(UTC)) + "\n")
            out.flush()


def _queries() -> list[Query]:
    newest = [{"time": "desc"}]
    by_path = {"terms": {"field": "path", "size": 5}, "aggs": {"mean_ms": {"avg": {"field": "duration_ms"}}}}
    return [
        Query(
            "the newest failures",
            "/access/_search",
            {"query": {"range": {"status": {"gte": 500}}}, "sort": newest, "size": 2},
        ),
        Query(
            "words in a message",
            "/access/_search",
            {"query": {"match": {"message": "payment timeout"}}, "size": 1},
        ),
        Query("pages, with their mean time", "/access/_search", {"size": 0, "aggs": {"pages": by_path}}),
        Query(
            "slow checkouts from Germany",
            "/access/_search",
            {
                "query": {"query_string": {"query": 'path:"/checkout" AND country:DE AND slow:true'}},
                "size": 2,
            },
        ),
        Query(
            "requests per hour",
            "/access/_search",
            {
                "size": 0,
                "aggs": {"hours": {"date_histogram": {"field": "time", "fixed_interval": "1h"}}},
            },
        ),
    ]
