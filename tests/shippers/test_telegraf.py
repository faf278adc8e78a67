"""Telegraf, built by hand since no package of it is at hand, writes through a service that is restarted and killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from services.running import free_port
from shippers.delivering import RECORDS, Shipper, delivered, headrace, recipe

PROGRAM = os.environ.get("HEADRACE_TELEGRAF", "")

# No `service` mark: CI does not have the program, and says so in docs/shippers.md.
pytestmark = pytest.mark.skipif(
    not PROGRAM,
    reason="HEADRACE_TELEGRAF names no program; docs/shippers.md says how it is built",
)


def telegraf(folder: Path, service_port: int) -> Shipper:
    folder.mkdir()
    port = free_port()
    config = folder / "telegraf.conf"
    config.write_text(recipe("Telegraf", {":8094": f":{port}", ":7223": f":{service_port}"}))
    return Shipper(folder, [PROGRAM, "--config", config], port)


def points(numbers: range) -> bytes:
    """A nanosecond each, in two days, so that there are two indexes."""
    day = 86_400_000_000_000
    line = 'logs,host=h number={n}i,message="so \\"{n}\\"" {at}\n'
    return b"".join(
        line.format(n=n, at=1_764_000_000_000_000_000 + n + n % 2 * day).encode() for n in numbers
    )


def number(document: dict[str, Any]) -> int:
    return int(document["logs"]["number"])


@pytest.mark.timeout(240)
def test_every_point_is_there_once_after_a_restart_and_a_kill(tmp_path: Path) -> None:
    """With its template, its sniffing and its ids; the template's types hold in the indexes of both days."""
    with headrace(tmp_path) as service:
        shipper = telegraf(tmp_path / "telegraf", service.port)
        try:
            numbers = delivered(
                service, shipper, lambda some: shipper.over_tcp(points(some)), "telegraf-*", number
            )
            assert list(range(RECORDS)) == numbers
            mappings = service.running.ask("/telegraf-*/_mapping")
            assert {"telegraf-2025.11.24", "telegraf-2025.11.25"} == set(mappings)
            for each in mappings.values():
                assert {"type": "keyword"} == each["mappings"]["properties"]["measurement_name"]
            assert 'so "7"' in {one["logs"]["message"] for one in service.documents("telegraf-*")}
        finally:
            shipper.stop()
