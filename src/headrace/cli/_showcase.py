"""Runs a configuration as a service for a person to watch: progress, then queries and their answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from headrace.core.errors import Fatal

POLL_SECONDS = 0.1
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Query:
    """A request to try: what it asks in words, its path, its body, and where its answer is."""

    title: str
    path: str
    body: Mapping[str, object]

    def curl(self, base: str) -> str:
        return f"curl -s {base}{self.path} -H 'content-type: application/json' -d '{json.dumps(self.body)}'"


class Service:
    """`headrace run CONFIG` as a child process."""

    def __init__(self, config: Path, base: str) -> None:
        self.base = base
        # Told to stop, stop the service first: nothing of a demonstration is left behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headrace.cli", "--log-level", "warning", "run", str(config)]
        )

    def ask(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        """A JSON answer; raises OSError while there is none."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310  always http, always ours
            self.base + path, data=data, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            decoded: dict[str, object] = json.loads(answer.read())
            return decoded

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Fatal("the service did not start; its own words are above")
            try:
                self.ask("/api/pipelines")
            except OSError:
                time.sleep(POLL_SECONDS)
            else:
                return
        raise Fatal(f"the service did not answer on {self.base} within {START_SECONDS:.0f} s")

    def pipelines(self) -> list[dict[str, object]]:
        found = self.ask("/api/pipelines")["pipelines"]
        assert isinstance(found, list)
        return found

    def stay(self) -> int:
        """Wait for the service to end; Ctrl-C ends it in order."""
        try:
            return self._process.wait()
        except KeyboardInterrupt:
            return self.stop()

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait()


def watch(service: Service, *, until: int | None = None) -> dict[str, dict[str, int]]:
    """Draw a line per pipeline until all are finished (or have `until` records); their ledgers."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    started = time.monotonic()
    first: dict[str, int] = {}
    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=8, transient=not console.is_terminal) as live:
        while True:
            pipelines = service.pipelines()
            lines = []
            for pipeline in pipelines:
                name, read = str(pipeline["name"]), _ledger(pipeline)["read"]
                new = read - first.setdefault(name, read if pipeline["state"] == "finished" else 0)
                rate = new / max(1e-9, time.monotonic() - started)
                lines.append(f"{name:<10} {read:>9,} records  {rate:>9,.0f}/s  {pipeline['state']}")
                if pipeline["state"] == "failed":
                    raise Fatal(f"pipeline {name} failed: {pipeline['reason']}")
            live.update(Text("\n".join(lines)))
            if all(_is_done(pipeline, until) for pipeline in pipelines):
                return {str(pipeline["name"]): _ledger(pipeline) for pipeline in pipelines}
            time.sleep(POLL_SECONDS)


def _is_done(pipeline: Mapping[str, object], until: int | None) -> bool:
    if until is not None:
        return _ledger(pipeline)["read"] >= until
    return pipeline["state"] == "finished"


def _ledger(pipeline: Mapping[str, object]) -> dict[str, int]:
    ledger = pipeline["ledger"]
    assert isinstance(ledger, dict)
    return ledger


def show(service: Service, queries: Sequence[Query]) -> None:
    """Ask each query and print it with what it returned."""
    for number, query in enumerate(queries, 1):
        try:
            answer = service.ask(query.path, query.body)
        except urllib.error.HTTPError as error:
            raise Fatal(f"query {number} was refused: {error.read().decode()}") from error
        click.secho(f"\n{number}. {query.title}", bold=True)
        click.echo(f"   {query.curl(service.base)}")
        for line in _answer_lines(answer):
            click.echo(f"   → {line}")


def _answer_lines(answer: Mapping[str, object]) -> list[str]:
    hits = answer["hits"]
    assert isinstance(hits, dict)
    lines = [f"{hits['total']['value']:,} found in {answer['took']} ms"]
    lines += [json.dumps(hit["_source"], ensure_ascii=False)[:160] for hit in hits["hits"][:3]]
    aggregations = answer.get("aggregations")
    for name, result in aggregations.items() if isinstance(aggregations, dict) else ():
        for bucket in result.get("buckets", [])[:5]:
            key = bucket.get("key_as_string", bucket["key"])
            inner = {
                key: round(value["value"], 2)
                for key, value in bucket.items()
                if isinstance(value, dict) and isinstance(value.get("value"), int | float)
            }
            lines.append(f"{name} {key}: {bucket['doc_count']:,} {inner or ''}".rstrip())
    return lines
