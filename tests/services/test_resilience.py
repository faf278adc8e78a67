"""The service with peers that are away, as an operator meets it: degraded, never dead, and forced by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.core.lock import RoleLock
from headrace.layout import index_directory
from hostile import BROKEN, Hostile, Request, Response, as_json, serving
from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
indexes:
  asked: { type: tantivy, memory: 32MB, fields: { n: integer, name: keyword, enriched: boolean } }
  plain: { type: tantivy, memory: 32MB, fields: { n: integer } }
pipelines:
  asks:
    source: { type: files, paths: ["*.ndjson"], format: ndjson, follow: true }
    transform:
      - http_lookup:
          url: SERVICE/{who}
          key: who
          add: [name]
          on_outage: POLICY
          timeout: 1s
          patience: 2s
    index: asked
  strict:
    source: { type: files, paths: ["*.ndjson"], format: ndjson, follow: true }
    transform:
      - validate: { n: { max: 10 } }
        on_reject: fail
    index: plain
  plain:
    source: { type: files, paths: ["*.ndjson"], format: ndjson, follow: true }
    index: plain
"""
LOOKUP = "lookup:asks.http_lookup"


def names(request: Request) -> Response:
    return as_json({"name": request.path.removeprefix("/").upper()})


@pytest.fixture
def peer() -> Iterator[Hostile]:
    with serving(names) as server:
        yield server


def configuration(peer: Hostile, policy: str = "hold") -> str:
    return CONFIGURATION.replace("SERVICE", peer.url).replace("POLICY", policy)


def write(folder: Path, first: int, count: int) -> None:
    with (folder / "in.ndjson").open("a") as out:
        for number in range(first, first + count):
            out.write(json.dumps({"n": number, "who": f"w{number % 7}"}) + "\n")


@contextmanager
def serving_all(folder: Path, configuration: str) -> Iterator[Running]:
    """Both processes at work: the ingester answers."""
    with service(folder, configuration) as running:
        running.until(lambda: running.raw("/api/pipelines")[0] == 200)
        yield running


def breaker(running: Running, name: str = LOOKUP) -> Any:
    return running.ask(f"/api/breakers/{name}")


def pipeline(running: Running, name: str) -> Any:
    return running.ask(f"/api/pipelines/{name}")


def count_of(running: Running, index: str, query: str) -> int:
    return int(running.ask(f"/{index}/_count?q={query}")["count"])


def test_a_lookup_service_down_degrades_and_holds_its_pipeline_and_nothing_else(
    tmp_path: Path, peer: Hostile
) -> None:
    """Two of three pipelines are in trouble; the third goes on, and every search answers."""
    write(tmp_path, 0, 100)
    peer.faults.extend([BROKEN] * 100_000)
    with serving_all(tmp_path, configuration(peer)) as running:
        running.until(lambda: running.count("plain") == 100)
        running.until(lambda: breaker(running)["state"] == "open")
        ready = running.ask("/health/ready")
        assert (running.raw("/health/ready")[0], ready["state"]) == (200, "degraded")
        assert f"breaker:{LOOKUP}" in ready["components"]
        assert "answered 500" in breaker(running)["last_error"]
        gauge = f'headrace_breaker_state{{process="ingester",dependency="{LOOKUP}",state="open"}} 1.0'
        assert gauge in running.raw("/metrics")[1].decode()

        running.until(lambda: "held, nothing is lost" in pipeline(running, "asks")["reason"])
        assert pipeline(running, "strict")["state"] == "failed"
        assert "on_reject: fail" in pipeline(running, "strict")["reason"]
        assert pipeline(running, "plain")["state"] == "ready"
        shown = {each["name"] for each in pipeline(running, "asks")["breakers"]}
        assert shown == {"source:asks", "index:asked", LOOKUP}
        assert running.count("asked") == 0

        write(tmp_path, 100, 100)
        running.until(lambda: running.count("plain") == 200)
        peer.faults.clear()
        running.until(lambda: running.count("asked") == 200)
        assert count_of(running, "asked", "name:W3") == len(range(3, 200, 7))
        running.until(lambda: breaker(running)["state"] == "closed")
        assert f"breaker:{LOOKUP}" not in running.ask("/health/ready")["components"]
        assert pipeline(running, "asks")["restarts"] == 0
    told = [event["event"] for event in running.events() if event.get("dependency") == LOOKUP]
    assert [name for name in told if name.startswith("breaker")][:1] == ["breaker.opened"]
    assert told[-1] in {"breaker.closed", "lookup.recovered"}


def test_records_that_were_kept_unenriched_are_found_by_their_mark(tmp_path: Path, peer: Hostile) -> None:
    write(tmp_path, 0, 50)
    peer.faults.extend([BROKEN] * 100_000)
    with serving_all(tmp_path, configuration(peer, "keep_marked")) as running:
        running.until(lambda: running.count("asked") == 50)
        assert count_of(running, "asked", "enriched:false") == 50
        peer.faults.clear()
        assert running.ask(f"/api/breakers/{LOOKUP}", {"force": None})["state"] == "closed"
        write(tmp_path, 50, 50)
        running.until(lambda: running.count("asked") == 100)
        assert count_of(running, "asked", "enriched:true") == 50


def test_records_that_were_rejected_are_dead_letters_with_that_reason(tmp_path: Path, peer: Hostile) -> None:
    write(tmp_path, 0, 50)
    peer.faults.extend([BROKEN] * 100_000)
    with serving_all(tmp_path, configuration(peer, "reject")) as running:
        running.until(lambda: pipeline(running, "asks")["dead_letters"] == 50)
        assert pipeline(running, "asks")["ledger"]["rejected"] == 50
        assert running.count("asked") == 0


def test_an_operator_forces_a_breaker_open_and_closed_and_lets_it_go(tmp_path: Path, peer: Hostile) -> None:
    write(tmp_path, 0, 10)
    with serving_all(tmp_path, configuration(peer)) as running:
        running.until(lambda: running.count("asked") == 10)
        forced = running.ask(f"/api/breakers/{LOOKUP}", {"force": "open"})
        assert (forced["name"], forced["state"], forced["forced"]) == (LOOKUP, "open", "open")
        assert forced in running.ask("/api/breakers")["breakers"]
        assert "held open by an operator" in str(running.ask("/health/ready")["reasons"])
        asked = len(peer.requests)
        with (tmp_path / "in.ndjson").open("a") as out:
            out.write('{"n": 10, "who": "somebody new"}\n')
        running.until(lambda: "held so by an operator" in pipeline(running, "asks")["reason"])
        assert (len(peer.requests), running.count("asked")) == (asked, 10)

        closed = running.ask(f"/api/breakers/{LOOKUP}", {"force": "closed"})
        assert (closed["state"], closed["forced"]) == ("closed", "closed")
        running.until(lambda: running.count("asked") == 11)
        let_go = running.ask(f"/api/breakers/{LOOKUP}", {"force": None})
        assert (let_go["state"], let_go["forced"]) == ("closed", None)

        status, body = running.raw("/api/breakers/lookup:asks.lookup", {"force": "open"})
        assert status == 404
        assert f"did you mean '{LOOKUP}'" in json.loads(body)["error"]["reason"]
        for wrong in ({"force": "ajar"}, {}, {"force": "open", "for": 5}):
            status, body = running.raw(f"/api/breakers/{LOOKUP}", wrong)
            assert (status, "the body must be" in json.loads(body)["error"]["reason"]) == (400, True)


def test_an_index_that_cannot_be_written_still_answers_searches(tmp_path: Path, peer: Hostile) -> None:
    """Its directory is somebody else's: its pipelines say so, its documents are found, the other index goes on."""
    write(tmp_path, 0, 50)
    with serving_all(tmp_path, configuration(peer)) as running:
        running.until(lambda: running.count("asked") == 50 == running.count("plain"))
    with RoleLock(index_directory(tmp_path / "data", "asked"), "writer"):
        write(tmp_path, 50, 50)
        with serving_all(tmp_path, configuration(peer)) as running:
            running.until(lambda: running.count("plain") == 100)
            running.until(lambda: running.ask("/health/ready")["state"] == "degraded")
            assert "index:asked" in str(running.ask("/health/ready")["reasons"])
            assert count_of(running, "asked", "name:W3") == len(range(3, 50, 7))
