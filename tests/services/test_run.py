"""The two processes as an operator meets them: start, answer, fail apart, drain, refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.running import free_port, is_alive, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
indexes:
  logs:
    type: tantivy
    memory: 32MB
    fields: { n: integer, word: keyword, text: text, time: date }
pipelines:
  logs:
    source: { type: files, paths: ["*.ndjson"], format: ndjson, follow: FOLLOW }
    transform:
      - validate: { n: { min: 0 } }
    index: logs
"""
ONCE = CONFIGURATION.replace("FOLLOW", "false")
FOLLOW = CONFIGURATION.replace("FOLLOW", "true")


def write(path: Path, first: int, count: int) -> None:
    with path.open("a") as out:
        for number in range(first, first + count):
            record = {"n": number, "word": f"w{number % 7}", "text": "the mill wheel turns"}
            out.write(json.dumps(record) + "\n")


def test_a_service_indexes_answers_and_starts_again_with_nothing_new(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 0, 500)
    write(tmp_path / "a.ndjson", -1, 1)
    for _ in range(2):
        with service(tmp_path, ONCE) as running:
            running.until_ready()
            running.until_finished()
            assert running.count("logs") == 500
            found = running.ask("/logs/_search?q=word:w3&size=1")
            assert found["hits"]["total"]["value"] == 71
            assert found == {**found, "timed_out": False}
            assert running.ask("/es/logs/_count")["count"] == 500
            (pipeline,) = running.ask("/api/pipelines")["pipelines"]
            assert pipeline["ledger"] == {"read": 501, "indexed": 500, "rejected": 1, "dropped": 0}
            assert pipeline["dead_letters"] == 1
        assert running.process.returncode == 0


def test_metrics_of_both_processes_are_one_page_that_adds_up(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 0, 200)
    with service(tmp_path, ONCE) as running:
        running.until_ready()
        running.until_finished()
        page = running.raw("/metrics")[1].decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    read = {"pipeline": "logs", "stage": "read", "outcome": "read", "process": "ingester"}
    assert samples["headrace_records_total", tuple(sorted(read.items()))] == 200
    flight = {"pipeline": "logs", "process": "ingester"}
    assert samples["headrace_in_flight_records", tuple(sorted(flight.items()))] == 0
    for process in ("ingester", "server"):
        assert samples["headrace_config_last_reload_success", (("process", process),)] == 1
    assert samples["headrace_in_flight_bytes", tuple(sorted(flight.items()))] == 0
    assert samples["headrace_ledger_imbalance_records", tuple(sorted(flight.items()))] == 0
    assert any(dict(labels).get("process") == "server" for _, labels in samples)


def test_followed_lines_are_searchable_soon_after_they_are_written(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 0, 10)
    with service(tmp_path, FOLLOW) as running:
        running.until(lambda: running.count("logs") == 10)
        write(tmp_path / "a.ndjson", 10, 5)
        write(tmp_path / "b.ndjson", 15, 5)
        running.until(lambda: running.count("logs") == 20)


def test_search_goes_on_while_the_ingester_is_away_and_it_comes_back(tmp_path: Path) -> None:
    """A killed ingester: search answers, readiness says degraded since when, the parent starts another."""
    write(tmp_path / "a.ndjson", 0, 50)
    with service(tmp_path, FOLLOW) as running:
        running.until_ready()
        running.until(lambda: running.count("logs") == 50)
        first = running.child("ingester")
        os.kill(first, signal.SIGSTOP)  # away, and not restarted yet
        try:
            running.until(lambda: "away" in str(running.ask("/health/ready")["reasons"]))
            assert running.raw("/health/ready")[0] == 200
            assert running.ask("/health/ready")["state"] == "degraded"
            assert running.raw("/api/pipelines")[0] == 503
            assert running.count("logs") == 50
        finally:
            os.kill(first, signal.SIGKILL)
        write(tmp_path / "a.ndjson", 50, 50)
        running.until(lambda: running.count("logs") == 100)
        assert running.child("ingester") != first


def test_a_killed_server_comes_back_and_ingestion_never_stops(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 0, 50)
    with service(tmp_path, FOLLOW) as running:
        running.until(lambda: running.count("logs") == 50)
        ingester, server = running.child("ingester"), running.child("server")
        os.kill(server, signal.SIGKILL)
        write(tmp_path / "a.ndjson", 50, 50)
        running.until(lambda: running.count("logs") == 100)
        assert running.child("ingester") == ingester
        assert running.child("server") != server


@pytest.mark.parametrize("role", ["ingester", "server"])
def test_a_crash_in_native_code_says_where_and_is_survived(tmp_path: Path, role: str) -> None:
    """The threads' places on standard error, then another process."""
    with service(tmp_path, FOLLOW) as running:
        running.until_ready()
        crashed = running.child(role)
        os.kill(crashed, signal.SIGSEGV)
        running.until(lambda: running.child(role) != crashed)
        words = running.words()
    assert "Fatal Python error: Segmentation fault" in words
    assert "most recent call first" in words
    assert [-signal.SIGSEGV] == [
        each["code"] for each in running.events() if each["event"] == "process.restarted"
    ]


def test_children_die_with_their_parent_however_it_dies(tmp_path: Path) -> None:
    with service(tmp_path, FOLLOW) as running:
        running.until_ready()
        children = [running.child(role) for role in ("ingester", "server")]
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + 10
        while any(is_alive(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(is_alive(pid) for pid in children)


def test_a_second_process_on_the_same_data_dir_is_refused_with_the_holder(tmp_path: Path) -> None:
    with service(tmp_path, FOLLOW) as running:
        running.until_ready()
        second = run_alone(tmp_path / "service.yaml", "ingester")
        assert second.returncode == 1
        holder = running.child("ingester")
        assert f"is in use: another ingester (process {holder}) holds it" in second.stderr
        running.until_ready()


def test_a_port_in_use_is_said_in_one_line_with_what_to_do(tmp_path: Path) -> None:
    with service(tmp_path, FOLLOW) as running:
        running.until_ready()
        second = run_alone(tmp_path / "service.yaml", "server")
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert (
            "Address already in use; stop what uses it, or choose another port (server.port, --port)"
            in second.stderr
        )


def test_an_unwritable_data_dir_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = tmp_path / "service.yaml"
    config.write_text(ONCE.replace("data_dir: data", "data_dir: file/data").replace("PORT", str(free_port())))
    refused = run_alone(config, "ingester")
    assert refused.returncode == 1
    assert "cannot write in" in refused.stderr
    assert "choose another data_dir" in refused.stderr


def test_a_configuration_that_cannot_be_used_ends_the_family_with_exit_2(tmp_path: Path) -> None:
    config = tmp_path / "service.yaml"
    config.write_text(ONCE.replace("type: files", "type: fils").replace("PORT", str(free_port())))
    ended = run(config)
    assert ended.returncode == 2
    assert "did you mean 'files'?" in ended.stderr
    assert ended.stderr.count("did you mean") == 1


@pytest.mark.parametrize(
    ("configuration", "arguments", "says"),
    [
        (ONCE + "memory: { limit: 100MB }\n", [], ": memory.limit: the worst case of "),
        (FOLLOW, ["--once"], ":12: pipelines.logs.source.follow: follow: true never ends, and a single pass"),
    ],
    ids=["too much memory", "a pass without an end"],
)
def test_what_cannot_be_run_as_asked_is_refused_with_its_line(
    tmp_path: Path, configuration: str, arguments: list[str], says: str
) -> None:
    write(tmp_path / "a.ndjson", 0, 5)
    with service(tmp_path, configuration, *arguments) as running:
        assert running.process.wait(timeout=20) == 2
        words = running.words()
    assert words.count(says) == 1, words


def test_an_index_whose_mapping_changed_is_refused_untouched_and_still_searched(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 0, 50)
    with service(tmp_path, ONCE) as running:
        running.until_finished()
    with service(tmp_path, ONCE.replace("word: keyword", "word: text")) as running:
        running.until_ready()
        ready = running.ask("/health/ready")
        assert ready["state"] == "degraded"
        assert "word" in str(ready["reasons"])
        assert running.count("logs") == 50


def test_a_pipeline_at_its_limit_goes_on_when_its_dead_letters_are_deleted(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", -9_000, 9_000)
    write(tmp_path / "a.ndjson", 0, 10)
    full = ONCE.replace("    index: logs", "    index: logs\n    dead_letter_limit: 3\n    batch_bytes: 64kB")
    with service(tmp_path, full) as running:
        running.until_ready()
        purged = 0

        def good_ones_are_there() -> bool:
            nonlocal purged
            purged += running.ask("/api/pipelines/logs/dead-letters", method="DELETE")["purged"]
            return running.count("logs") == 10

        running.until(good_ones_are_there)
        running.until_finished()
        left = running.ask("/api/pipelines")["pipelines"][0]["dead_letters"]
        assert purged + left == 9_000


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """With a drain that would take long: the pipeline is paused at its dead letter limit."""
    write(tmp_path / "a.ndjson", -9_000, 9_000)
    full = FOLLOW.replace(
        "    index: logs", "    index: logs\n    dead_letter_limit: 3\n    batch_bytes: 64kB"
    )
    with service(tmp_path, full) as running:
        running.until(lambda: running.ask("/health/ready")["state"] == "degraded")
        running.process.send_signal(signal.SIGTERM)
        running.until(lambda: any(event["event"] == "service.draining" for event in running.events()))
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(timeout=10)
        assert time.monotonic() - started < 5
        assert running.process.returncode == 1


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", "run", str(config), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def run_alone(config: Path, role: str) -> subprocess.CompletedProcess[str]:
    return run(config, "--only", role)
