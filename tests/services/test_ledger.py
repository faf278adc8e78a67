"""The ledger of pushed operations in a running service: whatever was asked for counts once, over a kill too."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from headrace.index.tantivy.verify import verify
from headrace.layout import index_directory
from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
indexes:
  things: { type: tantivy, dynamic: strict, fields: { n: integer } }
pipelines:
  things:
    source: { type: http_push }
    transform:
      - where: "n >= 0"
    index: things
"""

OPERATIONS: list[tuple[dict[str, Any], dict[str, Any] | None, int]] = [
    ({"index": {"_id": "a"}}, {"n": 1}, 201),
    ({"update": {"_id": "a"}}, {"doc": {"n": 2}}, 200),
    ({"update": {"_id": "a"}}, {"doc": {"n": 2}}, 200),
    ({"create": {"_id": "a"}}, {"n": 3}, 409),
    ({"index": {"_id": "a", "if_seq_no": 9_999, "if_primary_term": 1}}, {"n": 3}, 409),
    ({"update": {"_id": "b"}}, {"doc": {"n": 1}, "doc_as_upsert": True}, 201),
    ({"update": {"_id": "none"}}, {"doc": {"n": 1}}, 404),
    ({"delete": {"_id": "a"}}, None, 200),
    ({"delete": {"_id": "a"}}, None, 404),
    ({"index": {"_id": "c"}}, {"n": "no number"}, 400),
    ({"index": {"_id": "d"}}, {"n": -1}, 200),
    ({"index": {}}, {"n": 4}, 201),
    ({"delete": {"_id": "b"}}, None, 200),
]
"""Each kind of outcome; the documents -1 are left out by a step."""

INDEXED, REJECTED, DROPPED = 6, 1, 6


def ask_for_everything(running: Running, query: str) -> list[int]:
    """All operations as one bulk; the status of each."""
    lines = [
        json.dumps(part) for action, body, _ in OPERATIONS for part in (action, body) if part is not None
    ]
    status, _, answer = running.push(f"/things/_bulk{query}", "\n".join(lines) + "\n")
    assert status == 200, answer
    return [next(iter(item.values()))["status"] for item in answer["items"]]


def ledger(running: Running, pipeline: str) -> dict[str, int]:
    found: dict[str, int] = running.ask(f"/api/pipelines/{pipeline}")["ledger"]
    return {name: found[name] for name in ("read", "indexed", "rejected", "dropped")}


def times(number: int) -> dict[str, int]:
    counts = {"indexed": INDEXED, "rejected": REJECTED, "dropped": DROPPED}
    return {"read": number * len(OPERATIONS), **{name: number * count for name, count in counts.items()}}


def imbalances(running: Running) -> list[str]:
    """What the metric says of each pipeline."""
    page = running.raw("/metrics")[1].decode().splitlines()
    return [line.rpartition(" ")[2] for line in page if line.startswith("headrace_ledger_imbalance_records")]


@pytest.mark.timeout(120)
def test_every_operation_counts_once_whatever_comes_of_it(tmp_path: Path) -> None:
    """read = indexed + rejected + dropped; after a kill and a replay too, and the index is sound."""
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        assert [status for *_, status in OPERATIONS] == ask_for_everything(running, "?refresh=true")
        assert times(1) == ledger(running, "things")
        killed = running.child("ingester")
        os.kill(killed, signal.SIGSTOP)
        status, _, answer = running.push("/things/_bulk", '{"index":{"_id":"e"}}\n{"n":1}\n')
        assert (200, False) == (status, answer["errors"])
        os.kill(killed, signal.SIGKILL)
        running.until(lambda: running.child("ingester") != killed)
        running.until_ready()
        ask_for_everything(running, "?refresh=true")
        expected = times(2)
        assert {**expected, "read": expected["read"] + 1, "indexed": expected["indexed"] + 1} == ledger(
            running, "things"
        )
        assert {"0.0"} == set(imbalances(running))
    report = verify(index_directory(tmp_path / "data", "things"))
    assert report.sound, report.problems


@pytest.mark.timeout(120)
def test_an_index_made_by_its_first_write_balances_after_an_update(tmp_path: Path) -> None:
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.ask("/shop/_doc/1?refresh=true", {"n": 1}, method="PUT")
        running.ask("/shop/_update/1?refresh=true", {"doc": {"n": 2}})
        expected = {"read": 2, "indexed": 2, "rejected": 0, "dropped": 0}
        assert expected == ledger(running, "push:shop")
        assert {"0.0"} == set(imbalances(running))
