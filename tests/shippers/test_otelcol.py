"""The OpenTelemetry Collector with its `elasticsearch` exporter, built by hand, through a restart and a kill."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from services.running import free_port
from shippers.delivering import Shipper, delivered, headrace, recipe, until

PROGRAM = os.environ.get("HEADRACE_OTELCOL", "")

# No `service` mark: CI does not have the program, and says so in docs/shippers.md.
pytestmark = pytest.mark.skipif(
    not PROGRAM,
    reason="HEADRACE_OTELCOL names no program; docs/shippers.md says how it is built",
)


def otelcol(folder: Path, service_port: int) -> Shipper:
    folder.mkdir()
    port = free_port()
    config = folder / "otelcol.yaml"
    changes = {":4318": f":{port}", ":7223": f":{service_port}", "service:\n": QUIET}
    config.write_text(recipe("OpenTelemetry Collector", changes))
    return Shipper(folder, [PROGRAM, "--config", config], port)


QUIET = "service:\n  telemetry: { metrics: { level: none } }\n"
"""Else it listens on a port of its own choice."""


def export(port: int, numbers: range) -> None:
    """Send log records as an application does, with OTLP over HTTP: what is answered with 503 is sent again."""
    records = [
        {
            "timeUnixNano": str(1_764_000_000_000_000_000 + number),
            "severityText": "INFO",
            "body": {"stringValue": f'so "{number}"'},
            "attributes": [{"key": "number", "value": {"intValue": str(number)}}],
        }
        for number in numbers
    ]
    body = {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/logs", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    until(lambda: _taken(request), lambda: f"{numbers} could not be exported")


def _taken(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return False
        raise AssertionError(error.read()) from error


def number(document: dict[str, Any]) -> int:
    return int(document["Attributes.number"])


@pytest.mark.timeout(240)
def test_every_record_is_there_after_a_restart_and_a_kill(tmp_path: Path) -> None:
    """At least once: it gives no ids, and the application repeats what was not answered with success."""
    with headrace(tmp_path) as service:
        shipper = otelcol(tmp_path / "otelcol", service.port)
        try:
            delivered(service, shipper, lambda some: export(shipper.port, some), "otel-logs", number)
        finally:
            shipper.stop()
