"""Pushes to the service as users run it: what a stalled index costs, what an answer promises, what survives."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import headrace
from services.running import Running, service

SMALL = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
buffer: { max_bytes: 8MB, file_bytes: 1MB }
indexes:
  things: { type: tantivy, fields: { n: integer, word: keyword, late: boolean } }
pipelines:
  things:
    source: { type: http_push }
    transform:
      - validate: { n: { min: 0 } }
      - set: { late: "n > 100" }
    index: things
"""

MEGABYTE = 1 << 20


def bulk(running: Running, numbers: range, query: str = "") -> tuple[int, dict[str, str], Any]:
    """Documents that do not compress well, about 1 kB each."""
    lines = []
    for number in numbers:
        filler = os.urandom(400).hex()
        lines += ['{"index":{}}', json.dumps({"n": number, "word": f"w{number}", "filler": filler})]
    return running.push(f"/things/_bulk{query}", "\n".join(lines) + "\n")


def resident(pid: int) -> int:
    """Bytes of memory that are the process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


@pytest.mark.timeout(120)
def test_a_stalled_index_costs_disk_then_429_then_all_drains(tmp_path: Path) -> None:
    """The whole request is refused, with the time to come back; nothing accepted is lost, nothing doubled."""
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        assert bulk(running, range(100), "?refresh=true")[0] == 200
        ingester, server = running.child("ingester"), running.child("server")
        os.kill(ingester, signal.SIGSTOP)
        try:
            before, accepted, refused = resident(server), 100, None
            for first in range(100, 100_000, 500):
                status, headers, answer = bulk(running, range(first, first + 500))
                if status == 429:
                    refused = headers, answer
                    break
                assert status == 200, answer
                accepted += 500
            assert refused is not None, "it was never full"
            headers, answer = refused
            assert int(headers["retry-after"]) >= 1
            assert answer["error"]["type"] == "es_rejected_execution_exception"
            assert accepted > 5_000, "eight megabytes hold more than that"
            assert resident(server) - before < 64 * MEGABYTE
            assert running.ask("/api/buffer")["holder"]["subscriber"] == "things"
        finally:
            os.kill(ingester, signal.SIGCONT)
        running.until(lambda: running.count("things") == accepted, 60)
        running.until(lambda: bulk(running, range(accepted, accepted + 100))[0] == 200, 30)
        running.until(lambda: running.count("things") == accepted + 100)
        ledger = running.ask("/api/pipelines/things")["ledger"]
        assert (ledger["read"], ledger["indexed"]) == (accepted + 100, accepted + 100)


@pytest.mark.timeout(120)
def test_pipelines_name_who_holds_the_oldest_file(tmp_path: Path) -> None:
    """A subscriber that is behind, and nobody once it has passed all (PROTOCOL 14)."""
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        assert 200 == bulk(running, range(100))[0]
        running.until(lambda: running.count("things") == 100)
        shown = running.ask("/api/pipelines")
        assert running.ask("/api/buffer")["holder"] == shown["buffer"]["holder"]
        assert "things" in [each["name"] for each in shown["pipelines"]]
        ingester = running.child("ingester")
        os.kill(ingester, signal.SIGSTOP)
        try:
            assert 200 == bulk(running, range(100, 3_000))[0]
            assert "things" == running.ask("/api/buffer")["holder"]["subscriber"]
            assert 503 == running.raw("/api/pipelines")[0]
        finally:
            os.kill(ingester, signal.SIGCONT)
        running.until(lambda: running.raw("/api/pipelines")[0] == 200)
        holder = running.ask("/api/pipelines")["buffer"]["holder"]
        assert holder is None or "things" == holder["subscriber"]


@pytest.mark.timeout(120)
def test_what_an_answer_promises_is_kept(tmp_path: Path) -> None:
    """A token waits for its write; a document passes the pipeline's steps; a bad one costs itself alone."""
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        status, headers, answer = bulk(running, range(90, 110))
        assert (status, answer["errors"]) == (200, False)
        found = running.ask(f"/things/_search?q=late:true&after={headers['headrace-token']}&timeout=10s")
        assert found["hits"]["total"]["value"] == 9
        lines = '{"index":{}}\n{"n":-1}\n{"index":{}}\n{"n":1}\n'
        status, _, answer = running.push("/things/_bulk?refresh=wait_for", lines)
        assert [400, 201] == [item["index"]["status"] for item in answer["items"]]
        plain = running.push("/ingest/things?ack=indexed", '{"n":500}\n{"n":501}\n')
        assert (plain[0], plain[2]["accepted"]) == (200, 2), plain
        assert running.count("things") == 23


@pytest.mark.timeout(120)
def test_indexes_made_at_run_time_are_there_after_a_restart(tmp_path: Path) -> None:
    """With their documents, mappings and aliases; a deleted one leaves nothing behind."""
    mapping = {"mappings": {"properties": {"title": {"type": "text"}, "n": {"type": "long"}}}}
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        assert running.ask("/books", mapping, method="PUT")["acknowledged"]
        assert running.ask("/gone", {}, method="PUT")["acknowledged"]
        running.ask("/books/_doc/1?refresh=true", {"title": "The Mill on the Floss", "n": 1}, method="PUT")
        running.ask("/gone/_doc/1?refresh=true", {"n": 1}, method="PUT")
        running.ask("/books/_alias/novels", {}, method="PUT")
        assert running.ask("/gone", method="DELETE")["acknowledged"]
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        found = running.ask("/novels/_search?q=title:mill")["hits"]["hits"]
        assert ["books"] == [hit["_index"] for hit in found]
        assert running.raw("/gone/_search")[0] == 404
        with headrace.open(tmp_path / "data", name="books") as offline:  # its folder is called otherwise
            assert ["books"] == [hit["_index"] for hit in offline.answer({})["hits"]["hits"]]
        assert running.ask("/books/_doc/2?refresh=true", {"n": 2}, method="PUT")["result"] == "created"
        assert running.count("books") == 2
        running.until(lambda: len(list((tmp_path / "data" / "indexes").iterdir())) == 2)


@pytest.mark.timeout(120)
def test_more_indexes_are_written_to_in_turn_than_may_be_open_at_once(tmp_path: Path) -> None:
    """Idle ones make room within seconds, and none has to wait long."""
    with service(tmp_path, SMALL) as running:
        running.until_ready()
        for number in range(24):
            status, _, answer = running.push(
                f"/many-{number}/_bulk?refresh=wait_for", '{"index":{}}\n{"n":1}\n'
            )
            assert (status, answer["errors"]) == (200, False), answer
        assert running.ask("/many-*/_count")["count"] == 24
